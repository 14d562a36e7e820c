package client

import (
	"context"
	"time"
)

// Webhook is a server of the account's that events are delivered to.
type Webhook struct {
	ID             string     `json:"webhook_id"`
	URL            string     `json:"url"`
	Events         []string   `json:"events"` // such as endpoint.registered or call.*
	Enabled        bool       `json:"enabled"`
	DisabledReason *string    `json:"disabled_reason"` // why the server disabled it
	CreatedAt      time.Time  `json:"created_at"`
	LastSuccessAt  *time.Time `json:"last_success_at"`
	LastError      *string    `json:"last_error"` // nil when the last delivery arrived
	Secret         string     `json:"secret"`     // in clear at creation, redacted afterwards
}

// WebhookPatch is a new webhook, of which URL is needed, or a change of one; nil
// leaves a field at its default or as it is.
type WebhookPatch struct {
	URL     *string  `json:"url,omitempty"`
	Events  []string `json:"events,omitempty"` // default: all
	Enabled *bool    `json:"enabled,omitempty"`
}

// Webhooks lists the account's webhooks, oldest first.
func (c *Client) Webhooks(ctx context.Context) ([]Webhook, error) {
	var out struct {
		Objects []Webhook `json:"objects"`
	}
	err := c.do(ctx, "GET", c.path("Webhook"), nil, nil, &out)
	return out.Objects, err
}

// Webhook returns one webhook.
func (c *Client) Webhook(ctx context.Context, id string) (w Webhook, err error) {
	err = c.do(ctx, "GET", c.path("Webhook", id), nil, nil, &w)
	return w, err
}

// CreateWebhook has events delivered from now on. The answer holds the secret in
// clear, which is not shown again.
func (c *Client) CreateWebhook(ctx context.Context, spec WebhookPatch) (w Webhook, err error) {
	err = c.do(ctx, "POST", c.path("Webhook"), nil, spec, &w)
	return w, err
}

// UpdateWebhook changes the fields that are set.
func (c *Client) UpdateWebhook(ctx context.Context, id string, patch WebhookPatch) error {
	return c.do(ctx, "POST", c.path("Webhook", id), nil, patch, nil)
}

// DeleteWebhook ends a webhook.
func (c *Client) DeleteWebhook(ctx context.Context, id string) error {
	return c.do(ctx, "DELETE", c.path("Webhook", id), nil, nil, nil)
}

// Redeliver has one event delivered again.
func (c *Client) Redeliver(ctx context.Context, webhook, event string) error {
	return c.redeliver(ctx, webhook, map[string]string{"event_id": event})
}

// RedeliverAfter has everything after an event delivered again, in order.
func (c *Client) RedeliverAfter(ctx context.Context, webhook, event string) error {
	return c.redeliver(ctx, webhook, map[string]string{"after": event})
}

func (c *Client) redeliver(ctx context.Context, webhook string, what map[string]string) error {
	return c.do(ctx, "POST", c.bare("Webhook", webhook, "redeliver"), nil, what, nil)
}
