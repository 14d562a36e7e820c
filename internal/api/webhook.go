package api

import (
	"context"
	"errors"
	"net/http"

	"onhook/internal/account"
	"onhook/internal/event"
	"onhook/internal/webhook"
)

// Webhooks is what the API asks of webhooks.
type Webhooks interface {
	Create(ctx context.Context, owner account.Account, spec webhook.Spec) (webhook.Webhook, error)
	Webhook(ctx context.Context, owner account.Account, id string) (webhook.Webhook, error)
	Webhooks(ctx context.Context, owner account.Account) ([]webhook.Webhook, error)
	Update(ctx context.Context, owner account.Account, id string, spec webhook.Spec) (webhook.Webhook, error)
	Delete(ctx context.Context, owner account.Account, id string) error
	Redeliver(w webhook.Webhook, id event.ID) error
	RedeliverAfter(ctx context.Context, w webhook.Webhook, id event.ID) error
}

type webhookJSON struct {
	APIID          string   `json:"api_id,omitempty"` // a list's envelope has its own
	WebhookID      string   `json:"webhook_id"`
	URL            string   `json:"url"`
	Events         []string `json:"events"`
	Enabled        bool     `json:"enabled"`
	DisabledReason *string  `json:"disabled_reason"`
	CreatedAt      string   `json:"created_at"`
	LastSuccessAt  *string  `json:"last_success_at"`
	LastError      *string  `json:"last_error"`
	Secret         string   `json:"secret"`
}

type webhooksJSON struct {
	APIID   string        `json:"api_id"`
	Objects []webhookJSON `json:"objects"`
}

func newWebhookJSON(w webhook.Webhook) webhookJSON {
	out := webhookJSON{WebhookID: w.ID, URL: w.URL, Events: w.Events, Enabled: w.Enabled, DisabledReason: orNull(w.DisabledReason),
		CreatedAt: timestamp(w.CreatedAt), LastError: orNull(w.LastError), Secret: redacted}
	if !w.LastSuccessAt.IsZero() {
		out.LastSuccessAt = orNull(timestamp(w.LastSuccessAt))
	}
	return out
}

// webhookSpec reads the fields of a creation or an update.
func webhookSpec(f *fields) webhook.Spec {
	s := webhook.Spec{URL: f.text("url"), Events: f.texts("events"), Enabled: f.boolean("enabled")}
	s.Malformed = f.rest()
	return s
}

// createWebhook answers POST on …/Webhook/. The secret is shown here alone.
func (h *handler) createWebhook(r *request) (reply, error) {
	if err := r.onlyQuery("representation"); err != nil {
		return reply{}, err
	}
	f, err := h.readFields(r)
	if err != nil {
		return reply{}, err
	}
	w, err := h.Webhooks.Create(r.Context(), r.scope, webhookSpec(f))
	if errors.Is(err, webhook.ErrTooMany) {
		return fail(http.StatusConflict, "the account has as many webhooks as it may have: delete one first"), nil
	}
	if err != nil {
		return reply{}, err
	}
	out := newWebhookJSON(w)
	out.APIID, out.Secret = r.id, w.Secret
	return reply{status: http.StatusCreated, body: out}, nil
}

// listWebhooks answers GET on …/Webhook/.
func (h *handler) listWebhooks(r *request) (reply, error) {
	if err := r.onlyQuery("representation"); err != nil {
		return reply{}, err
	}
	all, err := h.Webhooks.Webhooks(r.Context(), r.scope)
	if err != nil {
		return reply{}, err
	}
	out := webhooksJSON{APIID: r.id, Objects: []webhookJSON{}}
	for _, w := range all {
		out.Objects = append(out.Objects, newWebhookJSON(w))
	}
	return reply{status: http.StatusOK, body: out}, nil
}

// noWebhook gives "not found" the answer that names the webhook.
func noWebhook(r *request, err error) error {
	if !errors.Is(err, account.ErrNotFound) {
		return err
	}
	return &refusal{status: http.StatusNotFound, body: errorJSON{Error: "Webhook not found", WebhookID: r.params["webhook_id"]}}
}

// retrieveWebhook answers GET on an item.
func (h *handler) retrieveWebhook(r *request) (reply, error) {
	w, err := h.Webhooks.Webhook(r.Context(), r.scope, r.params["webhook_id"])
	if err != nil {
		return reply{}, noWebhook(r, err)
	}
	out := newWebhookJSON(w)
	out.APIID = r.id
	return reply{status: http.StatusOK, body: out}, nil
}

// updateWebhook answers POST, PUT and PATCH on an item.
func (h *handler) updateWebhook(r *request) (reply, error) {
	f, err := h.readFields(r)
	if err != nil {
		return reply{}, err
	}
	f.pass("api_id", "webhook_id", "disabled_reason", "created_at", "last_success_at", "last_error", "secret") // clients send back what they read
	if _, err := h.Webhooks.Update(r.Context(), r.scope, r.params["webhook_id"], webhookSpec(f)); err != nil {
		return reply{}, noWebhook(r, err)
	}
	return reply{status: http.StatusAccepted, body: messageJSON{APIID: r.id, Message: "changed"}}, nil
}

// deleteWebhook answers DELETE on an item.
func (h *handler) deleteWebhook(r *request) (reply, error) {
	if err := h.Webhooks.Delete(r.Context(), r.scope, r.params["webhook_id"]); err != nil {
		return reply{}, noWebhook(r, err)
	}
	return reply{status: http.StatusNoContent}, nil
}

// redeliver answers POST on …/redeliver: one event again, or all after one.
func (h *handler) redeliver(r *request) (reply, error) {
	f, err := h.readFields(r)
	if err != nil {
		return reply{}, err
	}
	w, err := h.Webhooks.Webhook(r.Context(), r.scope, r.params["webhook_id"])
	if err != nil {
		return reply{}, noWebhook(r, err)
	}
	one, oneSet := f.eventID("event_id")
	after, afterSet := f.eventID("after")
	if !oneSet && !afterSet || oneSet && afterSet {
		f.wrong("event_id", "Send either event_id, for one event, or after, for all that follow one")
	}
	if bad := f.rest(); bad != nil {
		return reply{}, &account.Invalid{Fields: bad}
	}
	if oneSet {
		err = h.Webhooks.Redeliver(w, one)
	} else {
		err = h.Webhooks.RedeliverAfter(r.Context(), w, after)
	}
	switch {
	case errors.Is(err, account.ErrNotFound):
		return reply{}, &refusal{status: http.StatusNotFound, body: errorJSON{Error: "Event not found, or not kept any more", EventID: one.String()}}
	case errors.Is(err, webhook.ErrDisabled):
		return fail(http.StatusConflict, "the webhook is disabled: enable it first"), nil
	case errors.Is(err, webhook.ErrBusy):
		return tooMany("too many events wait to be delivered again, try again later", retryStreams), nil
	case err != nil:
		return reply{}, err
	}
	return reply{status: http.StatusAccepted, body: messageJSON{APIID: r.id, Message: "queued"}}, nil
}

// eventID takes a field that is an event's id.
func (f *fields) eventID(name string) (id event.ID, there bool) {
	text := f.text(name)
	if !text.Set {
		return id, f.malformed[name] != ""
	}
	id, err := event.ParseID(text.Value)
	if err != nil {
		f.wrong(name, "Must be the id of an event")
	}
	return id, true
}
