package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"

	"onhook/internal/account"
)

// reply is a whole answer, made before its first byte is written.
type reply struct {
	status  int
	body    any // marshalled to JSON; nil: no body
	header  map[string]string
	raw     []byte                // instead of body, with its own Content-Type in header
	handler http.Handler          // instead of everything: writes the answer itself
	stream  func(context.Context) // instead of a body: writes it for as long as the client stays
	quiet   bool                  // probes: logged at debug level only
}

// errorJSON is the body of every error. api_id is filled in by write.
type errorJSON struct {
	APIID      string  `json:"api_id"`
	Error      string  `json:"error"`
	EndpointID string  `json:"endpoint_id,omitempty"`
	BindingID  string  `json:"binding_id,omitempty"`
	AppID      string  `json:"app_id,omitempty"`
	BanID      string  `json:"ban_id,omitempty"`
	CallUUID   string  `json:"call_uuid,omitempty"`
	WebhookID  string  `json:"webhook_id,omitempty"`
	EventID    string  `json:"event_id,omitempty"`
	Trunk      string  `json:"trunk,omitempty"`
	Number     string  `json:"number,omitempty"`
	Username   *string `json:"username,omitempty"`
	Details    any     `json:"details,omitempty"` // field → sentence; for bulk index → field → sentence
}

// refusal is an error that knows its answer.
type refusal struct {
	status int
	body   errorJSON
}

func (e *refusal) Error() string { return e.body.Error }

func fail(status int, sentence string) reply {
	return reply{status: status, body: errorJSON{Error: sentence}}
}

const (
	invalidParameters = "invalid request parameters"
	usernameExists    = "username already exists"
	retryAfterSeconds = 2
)

// errorReply turns an error into its answer. cause is what the log must tell,
// nil when the client alone is concerned.
func errorReply(err error) (rep reply, cause error) {
	var (
		invalid  *account.Invalid
		conflict *account.Conflict
		refused  *refusal
	)
	switch {
	case errors.As(err, &refused):
		return reply{status: refused.status, body: refused.body}, nil
	case errors.As(err, &invalid):
		body := errorJSON{Error: invalidParameters, Details: invalid.Fields}
		if len(invalid.Items) > 0 {
			body.Details = invalid.Items
		}
		return reply{status: http.StatusBadRequest, body: body}, nil
	case errors.As(err, &conflict):
		return reply{status: http.StatusConflict, body: conflictJSON(conflict)}, nil
	case errors.Is(err, account.ErrUnauthorized):
		rep = fail(http.StatusUnauthorized, "invalid credentials")
		// RFC 9110 15.5.2: a 401 names a way to authenticate.
		rep.header = map[string]string{"WWW-Authenticate": `Basic realm="onhook", charset="UTF-8"`}
		return rep, nil
	case errors.Is(err, account.ErrMainOnly):
		return fail(http.StatusForbidden, "only a main account may do this"), nil
	case errors.Is(err, account.ErrNameTaken):
		return fail(http.StatusConflict, "application name already exists"), nil
	case errors.Is(err, account.ErrNotEmpty):
		return fail(http.StatusConflict, "the sub-account still owns endpoints: delete them first, or add ?cascade=true"), nil
	case errors.Is(err, account.ErrNotFound):
		return fail(http.StatusNotFound, "not found"), nil
	case errors.Is(err, account.ErrUnavailable):
		return unavailable("the server cannot store changes at the moment, try again later"), err
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return unavailable("the request took too long, try again later"), err
	}
	return fail(http.StatusInternalServerError, "internal error"), err
}

func conflictJSON(c *account.Conflict) errorJSON {
	if c.Items == nil {
		return errorJSON{Error: usernameExists, Username: &c.Username}
	}
	details := make(map[int]map[string]string, len(c.Items))
	for i := range c.Items {
		details[i] = map[string]string{"username": usernameExists}
	}
	return errorJSON{Error: usernameExists, Details: details}
}

func unavailable(sentence string) reply {
	rep := fail(http.StatusServiceUnavailable, sentence)
	rep.header = map[string]string{"Retry-After": strconv.Itoa(retryAfterSeconds)}
	return rep
}

// encode writes a body as it is sent.
func encode(body any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body); err != nil {
		panic(err) // our own types always marshal
	}
	return b.Bytes()
}

// tooMany refuses what the account may do again later.
func tooMany(sentence string, seconds int) reply {
	rep := fail(http.StatusTooManyRequests, sentence)
	rep.header = map[string]string{"Retry-After": strconv.Itoa(seconds)}
	return rep
}

// write sends the reply.
func (h *handler) write(r *request, rep reply) {
	if e, ok := rep.body.(errorJSON); ok {
		e.APIID = r.id
		rep.body = e
	}
	header := r.w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	for name, value := range rep.header {
		header.Set(name, value)
	}
	out := rep.raw
	if rep.body != nil {
		out = encode(rep.body)
		header.Set("Content-Type", "application/json")
		header.Set("Cache-Control", "no-store")
	}
	if rep.status != http.StatusNoContent && rep.stream == nil {
		header.Set("Content-Length", strconv.Itoa(len(out)))
	}
	r.w.WriteHeader(rep.status)
	if r.Method == http.MethodHead {
		return
	}
	if _, err := r.w.Write(out); err != nil && len(out) > 0 {
		h.log.LogAttrs(r.Context(), slog.LevelDebug, "answer not delivered",
			slog.String("api_id", r.id), slog.Any("error", err))
	}
}
