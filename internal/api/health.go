package api

import (
	_ "embed"
	"net/http"
	"sync"

	"onhook/internal/apidoc"
)

//go:embed openapi.yaml
var openapiDocument []byte

type healthJSON struct {
	APIID   string   `json:"api_id"`
	Status  string   `json:"status"`
	Reasons []string `json:"reasons,omitempty"`
}

// healthz says that the process serves HTTP.
func (h *handler) healthz(r *request) (reply, error) {
	return reply{status: http.StatusOK, body: healthJSON{APIID: r.id, Status: "ok"}, quiet: true}, nil
}

// readyz says whether the server takes work, and if not, why.
func (h *handler) readyz(r *request) (reply, error) {
	var err error
	if h.Ready != nil {
		err = h.Ready()
	}
	if err == nil {
		return reply{status: http.StatusOK, body: healthJSON{APIID: r.id, Status: "ready"}, quiet: true}, nil
	}
	rep := unavailable("")
	rep.body = healthJSON{APIID: r.id, Status: "not ready", Reasons: reasons(err)}
	rep.quiet = true
	return rep, nil
}

// reasons takes joined errors apart.
func reasons(err error) []string {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []string{err.Error()}
	}
	var all []string
	for _, e := range joined.Unwrap() {
		all = append(all, reasons(e)...)
	}
	return all
}

func (h *handler) metrics(*request) (reply, error) {
	return reply{status: http.StatusOK, handler: h.Metrics, quiet: true}, nil
}

func (h *handler) openapi(*request) (reply, error) {
	return reply{status: http.StatusOK, raw: openapiDocument, quiet: true,
		header: map[string]string{"Content-Type": "application/yaml"}}, nil
}

// docsPage is the document as a page for people.
var docsPage = sync.OnceValues(func() ([]byte, error) { return apidoc.Render(openapiDocument) })

func (h *handler) docs(*request) (reply, error) {
	page, err := docsPage()
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusOK, raw: page, quiet: true, header: map[string]string{
		"Content-Type":            "text/html; charset=utf-8",
		"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
	}}, nil
}
