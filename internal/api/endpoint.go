package api

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"time"

	"onhook/internal/account"
)

// createEndpoint answers POST on the collection.
func (h *handler) createEndpoint(r *request) (reply, error) {
	if err := r.onlyQuery("representation"); err != nil {
		return reply{}, err
	}
	f, err := h.readFields(r)
	if err != nil {
		return reply{}, err
	}
	spec, named := endpointSpec(f, false)
	e, err := h.Service.CreateEndpoint(r.Context(), r.scope, spec)
	if err != nil {
		return reply{}, named.rename(err)
	}
	if r.profile == profileSlim {
		return reply{status: http.StatusCreated, body: slimCreatedJSON{e.Alias, e.ID.String(), e.Username}}, nil
	}
	return reply{status: http.StatusCreated, body: createdJSON{
		APIID: r.id, Message: "created", EndpointID: e.ID.String(), Username: e.Username,
		Alias: e.Alias, SIPURI: sipURI(e), ResourceURI: resourceURI(e)}}, nil
}

// endpoint finds the endpoint the path names.
func (h *handler) endpoint(r *request) (account.Endpoint, error) {
	id, ok := account.ParseEndpointID(r.params["endpoint_id"])
	if !ok {
		return account.Endpoint{}, noEndpoint(r, account.ErrNotFound)
	}
	e, err := h.Service.Endpoint(r.Context(), r.scope, id)
	return e, noEndpoint(r, err)
}

// noEndpoint gives "not found" the answer that names the endpoint.
func noEndpoint(r *request, err error) error {
	if !errors.Is(err, account.ErrNotFound) {
		return err
	}
	return &refusal{status: http.StatusNotFound, body: errorJSON{
		Error: "Endpoint not found", EndpointID: r.params["endpoint_id"]}}
}

// retrieveEndpoint answers GET on an item.
func (h *handler) retrieveEndpoint(r *request) (reply, error) {
	e, err := h.endpoint(r)
	if err != nil {
		return reply{}, err
	}
	return h.whole(r, http.StatusOK, e)
}

// whole answers with everything there is of an endpoint.
func (h *handler) whole(r *request, status int, e account.Endpoint) (reply, error) {
	apps, err := h.applications(r.Context(), []account.Endpoint{e})
	if err != nil {
		return reply{}, err
	}
	bindings := h.Registrations.Bindings(e.ID)
	if r.profile == profileSlim {
		slim := slimEndpoint(e, apps, len(bindings) > 0)
		if slim.Application == nil {
			slim.Application = new(string) // these clients require a string here
		}
		return reply{status: status, body: slim}, nil
	}
	full := fullEndpoint(e, apps, bindings)
	full.APIID = r.id
	if len(bindings) > 0 {
		full.SIPRegistration = newRegistrationJSON(bindings[0])
	}
	return reply{status: status, body: full}, nil
}

// putEndpoint answers PUT on …/by-username/{username}: the endpoint of that name
// shall be as the body says, whether there is one or not. The same request
// again changes nothing.
func (h *handler) putEndpoint(r *request) (reply, error) {
	if err := r.onlyQuery("representation"); err != nil {
		return reply{}, err
	}
	f, err := h.readFields(r)
	if err != nil {
		return reply{}, err
	}
	username := r.params["username"]
	if v, there := f.values["username"]; !there {
		f.add("username", value{text: username})
	} else if text, ok := v.string(); !ok || text != username {
		f.wrong("username", "Must be the one in the path")
	}
	twin := &fields{values: maps.Clone(f.values), malformed: maps.Clone(f.malformed)}
	f.pass("password_overlap") // of an update alone
	spec, named := endpointSpec(f, false)
	patch, _ := endpointPatch(twin)
	patch.Malformed = spec.Malformed
	if sentence := twin.malformed["password_overlap"]; sentence != "" {
		return reply{}, &account.Invalid{Fields: map[string]string{"password_overlap": sentence}}
	}
	spec.Username, patch.Username = account.Some(username), account.Optional[string]{}
	e, created, err := h.Service.PutEndpoint(r.Context(), r.scope, spec, patch)
	if err != nil {
		return reply{}, named.rename(err)
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return h.whole(r, status, e)
}

// updateEndpoint answers POST, PUT and PATCH on an item.
func (h *handler) updateEndpoint(r *request) (reply, error) {
	id, ok := account.ParseEndpointID(r.params["endpoint_id"])
	if !ok {
		return reply{}, noEndpoint(r, account.ErrNotFound)
	}
	f, err := h.readFields(r)
	if err != nil {
		return reply{}, err
	}
	if err := h.takeReadOnly(r, f); err != nil {
		return reply{}, err
	}
	patch, named := endpointPatch(f)
	if _, err := h.Service.UpdateEndpoint(r.Context(), r.scope, id, patch); err != nil {
		return reply{}, named.rename(noEndpoint(r, err))
	}
	if r.profile == profileSlim {
		return reply{status: http.StatusAccepted, body: "changed"}, nil
	}
	return reply{status: http.StatusAccepted, body: messageJSON{APIID: r.id, Message: "changed"}}, nil
}

// takeReadOnly takes what a client sends back that it read but that is no
// field of an endpoint: what changes by itself is passed over, what never
// changes must be unchanged.
func (h *handler) takeReadOnly(r *request, f *fields) error {
	for _, name := range [...]string{"api_id", "updated_at", "sip_registered", "sip_contact",
		"sip_expires", "sip_user_agent", "sip_registration"} {
		f.take(name)
	}
	var present account.Endpoint
	for name, of := range map[string]func(account.Endpoint) string{
		"sip_uri": sipURI, "resource_uri": resourceURI,
		"created_at": func(e account.Endpoint) string { return timestamp(e.CreatedAt) },
	} {
		v, ok := f.take(name)
		if !ok {
			continue
		}
		if present.ID == 0 {
			var err error
			if present, err = h.endpoint(r); err != nil {
				return err
			}
		}
		if s, ok := v.string(); !ok || s != of(present) {
			f.wrong(name, "cannot be changed after creation")
		}
	}
	return nil
}

// deleteEndpoint answers DELETE on an item.
func (h *handler) deleteEndpoint(r *request) (reply, error) {
	id, ok := account.ParseEndpointID(r.params["endpoint_id"])
	if !ok {
		return reply{}, noEndpoint(r, account.ErrNotFound)
	}
	if err := h.Service.DeleteEndpoint(r.Context(), r.scope, id); err != nil {
		return reply{}, noEndpoint(r, err)
	}
	return reply{status: http.StatusNoContent}, nil
}

// applications fetches the applications that the endpoints have attached.
func (h *handler) applications(ctx context.Context, endpoints []account.Endpoint) (map[string]account.Application, error) {
	seen := make(map[string]bool)
	var ids []string
	for _, e := range endpoints {
		if e.Application != "" && !seen[e.Application] {
			seen[e.Application] = true
			ids = append(ids, e.Application)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	return h.Service.Applications(ctx, ids)
}

// timestamp writes ISO 8601 UTC in whole seconds.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
