package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"onhook/internal/account"
)

type bulkCreatedJSON struct {
	APIID   string            `json:"api_id"`
	Message string            `json:"message"`
	Objects []bulkElementJSON `json:"objects"`
}

type bulkElementJSON struct {
	Username   string `json:"username"`
	EndpointID string `json:"endpoint_id"`
}

// createEndpoints answers POST on …/Endpoint/bulk: all of them or none. A dry
// run answers 200 and lists nothing, for nothing was made.
func (h *handler) createEndpoints(r *request) (reply, error) {
	if err := r.onlyQuery("representation", "dry_run"); err != nil {
		return reply{}, err
	}
	q := queryReader{values: r.URL.Query(), malformed: make(map[string]string)}
	dryRun := q.boolean("dry_run").Value
	if len(q.malformed) > 0 {
		return reply{}, &account.Invalid{Fields: q.malformed}
	}
	specs, names, err := h.readBulk(r)
	if err != nil {
		return reply{}, err
	}
	created, err := h.Service.CreateEndpoints(r.Context(), r.scope, specs, dryRun)
	if err != nil {
		return reply{}, bulkError(err, names)
	}
	out := bulkCreatedJSON{APIID: r.id, Message: "created", Objects: []bulkElementJSON{}}
	if dryRun {
		out.Message = "checked, nothing created"
		return reply{status: http.StatusOK, body: out}, nil
	}
	for _, e := range created {
		out.Objects = append(out.Objects, bulkElementJSON{e.Username, e.ID.String()})
	}
	return reply{status: http.StatusCreated, body: out}, nil
}

// readBulk reads {"objects":[…]}.
func (h *handler) readBulk(r *request) ([]account.EndpointSpec, []written, error) {
	mediaType, _, err := mediaType(r.Request)
	if err == nil && mediaType != "application/json" {
		err = &refusal{status: http.StatusUnsupportedMediaType, body: errorJSON{Error: "send application/json, not compressed"}}
	}
	if err != nil {
		return nil, nil, err
	}
	body, err := h.readBody(r, maxBulkBody)
	if err != nil {
		return nil, nil, err
	}
	f, err := jsonBody(body)
	if err != nil {
		return nil, nil, err
	}
	elements, ok := f.array("objects")
	if ok && (len(elements) < 1 || len(elements) > account.MaxBulk) {
		f.wrong("objects", fmt.Sprintf("Must hold 1 to %d endpoints", account.MaxBulk))
	}
	if wrong := f.rest(); wrong != nil {
		return nil, nil, &account.Invalid{Fields: wrong}
	}
	specs, names := make([]account.EndpointSpec, len(elements)), make([]written, len(elements))
	for i, raw := range elements {
		specs[i], names[i] = bulkSpec(raw)
	}
	return specs, names, nil
}

func bulkSpec(raw json.RawMessage) (account.EndpointSpec, written) {
	f, err := jsonFields(raw)
	if err != nil {
		return account.EndpointSpec{Malformed: map[string]string{"body": "Must be a JSON object"}}, "application"
	}
	return endpointSpec(f, true)
}

// bulkError keys every complaint by index, a single conflict too.
func bulkError(err error, names []written) error {
	var invalid *account.Invalid
	var conflict *account.Conflict
	switch {
	case errors.As(err, &invalid):
		for i, item := range invalid.Items {
			_ = names[i].rename(&account.Invalid{Fields: item})
		}
	case errors.As(err, &conflict) && conflict.Items == nil:
		return &account.Conflict{Username: conflict.Username, Items: map[int]string{conflict.Index: conflict.Username}}
	}
	return err
}
