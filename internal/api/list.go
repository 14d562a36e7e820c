package api

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"onhook/internal/account"
)

type metaJSON struct {
	Limit      int     `json:"limit"`
	Offset     int     `json:"offset"`
	TotalCount int     `json:"total_count"`
	Next       *string `json:"next"`
	Previous   *string `json:"previous"`
}

type listJSON struct {
	APIID   string   `json:"api_id"`
	Meta    metaJSON `json:"meta"`
	Objects []any    `json:"objects"`
}

// listEndpoints answers GET on the collection.
func (h *handler) listEndpoints(r *request) (reply, error) {
	q := h.endpointQuery(r.URL.Query())
	page, total, err := h.Service.Endpoints(r.Context(), r.scope, q)
	if err != nil {
		return reply{}, err
	}
	apps, err := h.applications(r.Context(), page)
	if err != nil {
		return reply{}, err
	}
	out := listJSON{APIID: r.id, Meta: r.meta("Endpoint", q.Limit, q.Offset, total), Objects: make([]any, 0, len(page))}
	for _, e := range page {
		bindings := h.Registrations.Bindings(e.ID)
		if r.profile == profileSlim {
			out.Objects = append(out.Objects, slimEndpoint(e, apps, len(bindings) > 0))
		} else {
			out.Objects = append(out.Objects, fullEndpoint(e, apps, bindings))
		}
	}
	return reply{status: http.StatusOK, body: out}, nil
}

// queryReader takes query parameters out as they are understood, as fields
// does with a body's.
type queryReader struct {
	values    url.Values
	malformed map[string]string
}

func (q *queryReader) text(name string) (o account.Optional[string]) {
	texts, there := q.values[name]
	delete(q.values, name)
	if !there {
		return o
	}
	if len(texts) > 1 {
		q.malformed[name] = "Given more than once"
		return o
	}
	return account.Some(texts[0])
}

func (q *queryReader) boolean(name string) (o account.Optional[bool]) {
	text := q.text(name)
	switch {
	case !text.Set:
		return o
	case strings.EqualFold(text.Value, "true"): // Python writes True
		return account.Some(true)
	case strings.EqualFold(text.Value, "false"):
		return account.Some(false)
	}
	q.malformed[name] = "Must be true or false"
	return o
}

func (q *queryReader) integer(name string, def int) int {
	text := q.text(name)
	if !text.Set {
		return def
	}
	n, err := strconv.Atoi(text.Value)
	if err != nil {
		q.malformed[name] = "Must be a whole number"
		return def
	}
	return n
}

// page takes the parameters of one page of a list.
func (q *queryReader) page() (limit, offset int) {
	limit, offset = q.integer("limit", account.DefaultLimit), q.integer("offset", 0)
	if limit < 1 || limit > account.MaxLimit {
		q.malformed["limit"] = "Must be a number from 1 to 100"
	}
	if offset < 0 {
		q.malformed["offset"] = "Must be a number of at least 0"
	}
	return limit, offset
}

// onPage cuts one page out of a list.
func onPage[T any](all []T, limit, offset int) []T {
	all = all[min(offset, len(all)):]
	return all[:min(limit, len(all))]
}

func (q *queryReader) match(field string) account.Match {
	return account.Match{
		Exact:      q.text(field + "__exact"),
		Contains:   q.text(field + "__contains"),
		StartsWith: q.text(field + "__startswith"),
	}
}

// rest returns every complaint, after naming the parameters nobody took.
func (q *queryReader) rest() map[string]string {
	for name := range q.values {
		if wordPattern.MatchString(name) {
			q.malformed[name] = "Unknown query parameter"
		} else {
			q.malformed["query"] = "Has an unknown parameter whose name is no plain word"
		}
	}
	if len(q.malformed) == 0 {
		return nil
	}
	return q.malformed
}

func (h *handler) endpointQuery(values url.Values) account.EndpointQuery {
	q := queryReader{values: maps.Clone(values), malformed: make(map[string]string)}
	q.text("representation") // read by chooseProfile
	out := account.EndpointQuery{
		Limit:  q.integer("limit", account.DefaultLimit),
		Offset: q.integer("offset", 0),

		Username:          q.match("username"),
		Alias:             q.match("alias"),
		Application:       q.text("application_id__exact"),
		ApplicationIsNull: q.boolean("application_id__isnull"),
		SubAccount:        q.text("sub_account"),
		Registered:        q.boolean("sip_registered"),
	}
	out.Malformed = q.rest()
	return out
}

// onlyQuery refuses query parameters other than the named ones: a client that
// misspells dry_run must not create what it meant to check.
func (r *request) onlyQuery(names ...string) error {
	q := queryReader{values: r.URL.Query(), malformed: make(map[string]string)}
	maps.DeleteFunc(q.values, func(name string, _ []string) bool { return slices.Contains(names, name) })
	if wrong := q.rest(); wrong != nil {
		return &account.Invalid{Fields: wrong}
	}
	return nil
}

// meta describes a page of a collection of the account's. next and previous are paths that keep the filters
// and the prefix the client used.
func (r *request) meta(collection string, limit, offset, total int) metaJSON {
	return r.metaOf("/v1/Account/"+r.scope.AuthID+"/"+collection+"/", limit, offset, total)
}

// metaOf describes a page of the collection at a path.
func (r *request) metaOf(path string, limit, offset, total int) metaJSON {
	m := metaJSON{Limit: limit, Offset: offset, TotalCount: total}
	link := func(offset int) *string {
		q := r.URL.Query()
		q.Set("limit", strconv.Itoa(limit))
		q.Set("offset", strconv.Itoa(offset))
		link := r.prefix + path + "?" + q.Encode()
		return &link
	}
	if total-offset > limit {
		m.Next = link(offset + limit)
	}
	if offset > 0 {
		m.Previous = link(max(0, offset-limit))
	}
	if r.profile == profileSlim { // these clients require strings
		for _, p := range []**string{&m.Next, &m.Previous} {
			if *p == nil {
				*p = new(string)
			}
		}
	}
	return m
}
