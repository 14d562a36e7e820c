package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"onhook/client"
)

// webhookCommand manages what events are delivered to.
type webhookCommand struct {
	List      webhookList      `cmd:"" help:"List webhooks and how their deliveries go."`
	Create    webhookCreate    `cmd:"" help:"Have events delivered to a URL."`
	Update    webhookUpdate    `cmd:"" help:"Change a webhook, or enable it again."`
	Delete    webhookDelete    `cmd:"" help:"End a webhook."`
	Redeliver webhookRedeliver `cmd:"" help:"Have events delivered again."`
}

type webhookList struct{ remote }

// Run is onhook webhook list.
func (c *webhookList) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		all, err := api.Webhooks(ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			return m.writeJSON(all)
		}
		rows := make([][]string, len(all))
		for i, w := range all {
			trouble := orDash(w.LastError)
			if w.DisabledReason != nil {
				trouble = *w.DisabledReason
			}
			rows[i] = []string{w.ID, strconv.FormatBool(w.Enabled), strings.Join(w.Events, ","), when(w.LastSuccessAt), w.URL, trouble}
		}
		return m.table("WEBHOOK_ID ENABLED EVENTS LAST_SUCCESS URL TROUBLE", rows)
	})
}

type webhookCreate struct {
	remote
	Target string   `arg:"" name:"target" help:"An http or https URL."`
	Events []string `placeholder:"TYPE" help:"Only these, such as endpoint.registered or call.*; all when absent."`
}

// Run is onhook webhook create.
func (c *webhookCreate) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		w, err := api.CreateWebhook(ctx, client.WebhookPatch{URL: &c.Target, Events: c.Events})
		if err != nil {
			return err
		}
		if c.JSON {
			return m.writeJSON(w)
		}
		_, err = fmt.Fprintf(m.Stdout, "webhook_id  %s\nsecret      %s\nThis secret is shown once: keep it.\n", w.ID, w.Secret)
		return err
	})
}

type webhookArg struct {
	Webhook string `arg:"" name:"webhook-id" help:"WH_…"`
}

type webhookUpdate struct {
	remote
	webhookArg
	Target  *string  `placeholder:"URL" help:"Where events go from now on."`
	Events  []string `placeholder:"TYPE" help:"Only these from now on."`
	Enabled *bool    `negatable:"" help:"An enabled one goes on where it stopped."`
}

// Run is onhook webhook update.
func (c *webhookUpdate) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		if c.Target == nil && c.Events == nil && c.Enabled == nil {
			return errors.New("nothing to change: name a field, as onhook webhook update --help lists them")
		}
		if err := api.UpdateWebhook(ctx, c.Webhook, client.WebhookPatch{URL: c.Target, Events: c.Events, Enabled: c.Enabled}); err != nil {
			return err
		}
		return m.done(c.JSON, "changed", c.Webhook)
	})
}

type webhookDelete struct {
	remote
	webhookArg
}

// Run is onhook webhook delete.
func (c *webhookDelete) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		if err := api.DeleteWebhook(ctx, c.Webhook); err != nil {
			return err
		}
		return m.done(c.JSON, "deleted", c.Webhook)
	})
}

type webhookRedeliver struct {
	remote
	webhookArg
	Event string `placeholder:"ID" xor:"which" help:"This event."`
	After string `placeholder:"ID" xor:"which" help:"All that follow this event."`
}

// Run is onhook webhook redeliver.
func (c *webhookRedeliver) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		var err error
		switch {
		case c.Event != "":
			err = api.Redeliver(ctx, c.Webhook, c.Event)
		case c.After != "":
			err = api.RedeliverAfter(ctx, c.Webhook, c.After)
		default:
			err = errors.New("which events? --event ID for one, --after ID for all that follow one")
		}
		if err != nil {
			return err
		}
		return m.done(c.JSON, "queued for", c.Webhook)
	})
}
