package api

import (
	"net/http"
	"time"

	"onhook/internal/account"
)

// Traces is what the API asks of the recorded attempts of an endpoint, newest
// first. Credentials and media keys are masked in all of it.
type Traces interface {
	Attempts(id account.EndpointID) []Attempt
	Text(id account.EndpointID) []byte // for people
	PCAP(id account.EndpointID) []byte // for Wireshark
}

// Attempt is one attempt to register, call, be called or send a message.
type Attempt struct {
	ID        string
	Kind      string // register, call or message
	StartedAt time.Time
	Outcome   string // pending, succeeded or failed
	Reason    string
	Sentence  string
	Messages  []AttemptMessage
	Omitted   int // messages that were too many to keep
}

// AttemptMessage is one SIP message of an attempt.
type AttemptMessage struct {
	At        string `json:"at"`   // ISO 8601 with the fraction
	From      string `json:"from"` // host:port
	To        string `json:"to"`
	Transport string `json:"transport"`
	Text      string `json:"text"`
}

type traceJSON struct {
	APIID    string        `json:"api_id"`
	Attempts []attemptJSON `json:"attempts"`
}

type attemptJSON struct {
	ID        string           `json:"id"`
	Kind      string           `json:"kind"`
	StartedAt string           `json:"started_at"`
	Outcome   string           `json:"outcome"`
	Reason    *string          `json:"reason"`
	Sentence  *string          `json:"sentence"`
	Omitted   int              `json:"omitted"`
	Messages  []AttemptMessage `json:"messages"`
}

// trace answers GET on …/Trace/.
func (h *handler) trace(r *request) (reply, error) {
	if err := r.onlyQuery("representation", "format"); err != nil {
		return reply{}, err
	}
	e, err := h.endpoint(r)
	if err != nil {
		return reply{}, err
	}
	switch r.URL.Query().Get("format") {
	case "", "json":
	case "text":
		return reply{status: http.StatusOK, raw: h.Traces.Text(e.ID), header: map[string]string{"Content-Type": "text/plain; charset=utf-8"}}, nil
	case "pcap":
		return reply{status: http.StatusOK, raw: h.Traces.PCAP(e.ID), header: map[string]string{
			"Content-Type": "application/vnd.tcpdump.pcap", "Content-Disposition": `attachment; filename="` + e.ID.String() + `.pcap"`}}, nil
	default:
		return reply{}, &account.Invalid{Fields: map[string]string{"format": "Must be json, text or pcap"}}
	}
	out := traceJSON{APIID: r.id, Attempts: []attemptJSON{}}
	for _, a := range h.Traces.Attempts(e.ID) {
		out.Attempts = append(out.Attempts, attemptJSON{ID: a.ID, Kind: a.Kind, StartedAt: timestamp(a.StartedAt), Outcome: a.Outcome,
			Reason: orNull(a.Reason), Sentence: orNull(a.Sentence), Omitted: a.Omitted, Messages: a.Messages})
	}
	return reply{status: http.StatusOK, body: out}, nil
}
