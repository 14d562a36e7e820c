package api

import (
	"errors"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"onhook/internal/account"
	"onhook/internal/callrecord"
)

// recordsJSON is a page of call records, in the shape that clients of call
// records know.
type recordsJSON struct {
	AccountID  string         `json:"account_id"`
	Count      int            `json:"count"`
	Data       []callJSON     `json:"data"`
	Pagination paginationJSON `json:"pagination"`
	Success    bool           `json:"success"`
}

type paginationJSON struct {
	Page    int  `json:"page"`
	PerPage int  `json:"per_page"`
	Total   int  `json:"total"`
	Pages   int  `json:"pages"`
	HasNext bool `json:"has_next"`
	HasPrev bool `json:"has_prev"`
}

// maxPage keeps the rows left out at the start within what a database counts.
const maxPage = 1_000_000

// listRecords answers GET on …/cdr.
func (h *handler) listRecords(r *request) (reply, error) {
	q := newQuery(r)
	page, perPage := q.integer("page", 1), q.integer("per_page", account.DefaultLimit)
	if page < 1 || page > maxPage {
		q.malformed["page"] = "Must be 1 or more"
	}
	if perPage < 1 || perPage > account.MaxLimit {
		q.malformed["per_page"] = "Must be 1 to 100"
	}
	query := recordQuery(&q)
	format := q.text("format")
	if format.Set && format.Value != "csv" && format.Value != "json" {
		q.malformed["format"] = "Must be json or csv"
	}
	if wrong := q.rest(); wrong != nil {
		return reply{}, &account.Invalid{Fields: wrong}
	}
	if format.Value == "csv" || !format.Set && wantsCSV(r.Header.Get("Accept")) {
		return h.exportRecords(r, query)
	}
	query.Limit, query.Offset = perPage, (page-1)*perPage
	records, total, err := h.Records.Records(r.Context(), r.scope.AuthID, query)
	if err != nil {
		return reply{}, err
	}
	pages := (total + perPage - 1) / perPage
	out := recordsJSON{AccountID: r.scope.AuthID, Count: len(records), Data: make([]callJSON, len(records)), Success: true,
		Pagination: paginationJSON{Page: page, PerPage: perPage, Total: total, Pages: pages, HasNext: page < pages, HasPrev: page > 1}}
	for i, record := range records {
		out.Data[i] = callJSON{record: record, now: record.End}
	}
	return reply{status: http.StatusOK, body: out}, nil
}

// retrieveRecord answers GET on …/cdr/{call_uuid}.
func (h *handler) retrieveRecord(r *request) (reply, error) {
	if err := r.onlyQuery("representation"); err != nil {
		return reply{}, err
	}
	id, ok := callrecord.ParseID(r.params["call_uuid"])
	if !ok {
		return reply{}, callNotFound(r)
	}
	record, err := h.Records.Record(r.Context(), r.scope.AuthID, id)
	if errors.Is(err, callrecord.ErrNotFound) {
		return reply{}, callNotFound(r)
	}
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusOK, body: callJSON{r.id, record, record.End}}, nil
}

// recordQuery reads the filters of a list of records.
func recordQuery(q *queryReader) (out callrecord.Query) {
	out.From, out.To = party(q, "from"), party(q, "to")
	out.Start, out.End = timeParameter(q, "start", false), timeParameter(q, "end", true)
	if id := q.text("endpoint_id"); id.Set {
		var ok bool
		if out.Endpoint, ok = account.ParseEndpointID(id.Value); !ok {
			q.malformed["endpoint_id"] = "Must be an endpoint_id"
		}
	}
	if cause := q.text("hangup_cause"); cause.Set {
		if code, err := strconv.Atoi(cause.Value); err == nil {
			out.Causes = []int{code}
		} else {
			out.Causes = callrecord.CausesOf(cause.Value)
		}
	}
	return out
}

// party reads a number or address. A plus sign that was not escaped has become a
// space.
func party(q *queryReader, name string) string {
	text := q.text(name).Value
	if digits, ok := strings.CutPrefix(text, " "); ok {
		return "+" + digits
	}
	return text
}

// timeLayouts are the forms of ISO 8601 that a time may have; without a zone it
// is UTC.
var timeLayouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05", "2006-01-02T15:04", time.DateOnly}

// timeParameter reads a time. The end of a day or a moment is after it.
func timeParameter(q *queryReader, name string, end bool) time.Time {
	text := q.text(name)
	if !text.Set {
		return time.Time{}
	}
	value := strings.Replace(text.Value, " ", "+", strings.Count(text.Value, "T")) // "…T10:00:00+02:00", unescaped
	for _, layout := range timeLayouts {
		t, err := time.Parse(layout, value)
		switch {
		case err != nil:
			continue
		case !end:
			return t.UTC()
		case layout == time.DateOnly:
			return t.AddDate(0, 0, 1)
		}
		return t.UTC().Add(time.Millisecond)
	}
	q.malformed[name] = "Must be a time such as 2026-01-31T12:00:00Z, or a date"
	return time.Time{}
}

// wantsCSV reports whether a client asks for CSV before JSON.
func wantsCSV(accept string) bool {
	for part := range strings.SplitSeq(accept, ",") {
		switch kind, _, err := mime.ParseMediaType(part); {
		case err != nil:
		case kind == "text/csv":
			return true
		case kind == "application/json":
			return false
		}
	}
	return false
}
