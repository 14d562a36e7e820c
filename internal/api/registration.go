package api

import (
	"net/http"

	"onhook/internal/location"
)

// bindingJSON is one binding in the Registration resource.
type bindingJSON struct {
	BindingID    string  `json:"binding_id"`
	Contact      string  `json:"contact"`
	Received     string  `json:"received"`
	Transport    string  `json:"transport"`
	Path         *string `json:"path"`
	UserAgent    *string `json:"user_agent"`
	InstanceID   *string `json:"instance_id"`
	RegID        *uint32 `json:"reg_id"`
	RegisteredAt string  `json:"registered_at"`
	Expires      string  `json:"expires"`
	LastSeen     string  `json:"last_seen"`
	State        string  `json:"state"`
	Secret       string  `json:"secret"` // which secret it was registered with
}

type bindingsJSON struct {
	APIID       string        `json:"api_id"`
	MaxContacts int           `json:"max_contacts"`
	ExpiresAt   *string       `json:"expires_at"`
	Objects     []bindingJSON `json:"objects"`
}

// listBindings answers GET on …/Registration/.
func (h *handler) listBindings(r *request) (reply, error) {
	e, err := h.endpoint(r)
	if err != nil {
		return reply{}, err
	}
	out := bindingsJSON{APIID: r.id, MaxContacts: e.MaxContacts, Objects: []bindingJSON{}}
	if !e.ExpiresAt.IsZero() {
		out.ExpiresAt = orNull(timestamp(e.ExpiresAt))
	}
	for _, b := range h.Registrations.Bindings(e.ID) {
		out.Objects = append(out.Objects, newBindingJSON(b))
	}
	return reply{status: http.StatusOK, body: out}, nil
}

// endBindings answers DELETE on …/Registration/.
func (h *handler) endBindings(r *request) (reply, error) {
	e, err := h.endpoint(r)
	if err != nil {
		return reply{}, err
	}
	if err := h.Registrations.EndAll(r.Context(), e.ID); err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusNoContent}, nil
}

// endBinding answers DELETE on …/Registration/{binding_id}/.
func (h *handler) endBinding(r *request) (reply, error) {
	e, err := h.endpoint(r)
	if err != nil {
		return reply{}, err
	}
	found, err := h.Registrations.End(r.Context(), e.ID, r.params["binding_id"])
	if err != nil {
		return reply{}, err
	}
	if !found {
		return reply{}, &refusal{status: http.StatusNotFound, body: errorJSON{
			Error: "Registration not found", BindingID: r.params["binding_id"]}}
	}
	return reply{status: http.StatusNoContent}, nil
}

// secretOf says which secret a binding was registered with.
func secretOf(b *location.Binding) string {
	if b.Previous {
		return "previous"
	}
	return "current"
}

func newBindingJSON(b location.Binding) bindingJSON {
	out := bindingJSON{
		BindingID: b.ID, Contact: b.Contact, Received: b.Received(), Transport: b.Flow.Transport.Param(),
		Path: orNull(b.Path), UserAgent: orNull(b.UserAgent), InstanceID: orNull(b.InstanceID),
		RegisteredAt: timestamp(b.RegisteredAt), Expires: timestamp(b.Expires), LastSeen: timestamp(b.LastSeen),
		State: b.State.String(), Secret: secretOf(&b),
	}
	if b.RegID != 0 {
		out.RegID = &b.RegID
	}
	return out
}
