package api

import (
	"bytes"
	"net/http"
	"slices"
	"time"

	"onhook/internal/account"
	"onhook/internal/callrecord"
)

// Calls is what the API asks of the calls in progress.
type Calls interface {
	// Live returns the records so far of the account's own calls.
	Live(authID string) []*callrecord.Record
	// LiveCall returns the records so far of one call, one for each account that
	// it concerns; none when there is no such call.
	LiveCall(id callrecord.ID) []*callrecord.Record
	// End ends a call on both sides; false when there is no such call any more.
	End(id callrecord.ID) bool
}

// liveCallsJSON lists calls in progress; calls names them all for clients that
// ask for nothing more.
type liveCallsJSON struct {
	APIID   string     `json:"api_id"`
	Calls   []string   `json:"calls"`
	Meta    metaJSON   `json:"meta"`
	Objects []callJSON `json:"objects"`
}

// listCalls answers GET on …/Call/.
func (h *handler) listCalls(r *request) (reply, error) {
	q := newQuery(r)
	live(&q)
	limit, offset := q.page()
	if wrong := q.rest(); wrong != nil {
		return reply{}, &account.Invalid{Fields: wrong}
	}
	all := h.Calls.Live(r.scope.AuthID)
	slices.SortFunc(all, func(a, b *callrecord.Record) int { return bytes.Compare(b.ID[:], a.ID[:]) }) // newest first
	page := onPage(all, limit, offset)
	out := liveCallsJSON{APIID: r.id, Calls: make([]string, len(all)), Meta: r.meta("Call", limit, offset, len(all)), Objects: make([]callJSON, len(page))}
	for i, record := range all {
		out.Calls[i] = record.ID.String()
	}
	now := time.Now()
	for i, record := range page {
		out.Objects[i] = callJSON{record: record, now: now}
	}
	return reply{status: http.StatusOK, body: out}, nil
}

// retrieveCall answers GET on …/Call/{call_uuid}/.
func (h *handler) retrieveCall(r *request) (reply, error) {
	q := newQuery(r)
	live(&q)
	if wrong := q.rest(); wrong != nil {
		return reply{}, &account.Invalid{Fields: wrong}
	}
	record := h.liveCall(r)
	if record == nil {
		return reply{}, callNotFound(r)
	}
	return reply{status: http.StatusOK, body: callJSON{r.id, record, time.Now()}}, nil
}

// endCall answers DELETE on …/Call/{call_uuid}/.
func (h *handler) endCall(r *request) (reply, error) {
	if record := h.liveCall(r); record == nil || !h.Calls.End(record.ID) {
		return reply{}, callNotFound(r)
	}
	return reply{status: http.StatusNoContent}, nil
}

// newQuery begins to read a request's query.
func newQuery(r *request) queryReader {
	q := queryReader{values: r.URL.Query(), malformed: make(map[string]string)}
	q.text("representation") // read by chooseProfile
	return q
}

// live takes the filter that only live calls pass.
func live(q *queryReader) {
	if status := q.text("status"); status.Set && status.Value != "live" {
		q.malformed["status"] = "Must be live; finished calls are under cdr"
	}
}

// liveCall finds the record of a live call that the path's account may see: its
// own, or else that of a sub-account; nil when there is none.
func (h *handler) liveCall(r *request) (found *callrecord.Record) {
	id, ok := callrecord.ParseID(r.params["call_uuid"])
	if !ok {
		return nil
	}
	for _, record := range h.Calls.LiveCall(id) {
		if record.Account == r.scope.AuthID {
			return record
		}
		if record.Main == r.scope.AuthID && found == nil {
			found = record
		}
	}
	return found
}

func callNotFound(r *request) error {
	return &refusal{status: http.StatusNotFound, body: errorJSON{Error: "Call not found", CallUUID: r.params["call_uuid"]}}
}
