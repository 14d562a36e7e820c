package server

import (
	"context"
	"errors"
	"net/url"

	"onhook/internal/callback"
	"onhook/internal/event"
	"onhook/internal/eventlog"
	"onhook/internal/webhook"
)

// buildWebhooks makes what delivers events.
func (s *Server) buildWebhooks() {
	s.outgoing = callback.New(callback.Config{AllowNetworks: s.cfg.Callbacks.AllowNetworks, Prefix: s.cfg.Callbacks.SignaturePrefix})
	log := webhookEvents{s.events}
	s.delivery = webhook.NewDeliverer(webhook.Config{Store: s.store, Events: log, Origin: s.events.Origin(),
		Post: s.deliver, Tokens: s.tokens, Logger: s.logger.With("package", "webhook")})
	s.webhooks = webhook.NewService(s.store, s.outgoing.Check, log.Last, nil)
}

// deliver makes one attempt at a delivery. What it says about a failure is for
// the account to read.
func (s *Server) deliver(ctx context.Context, d webhook.Delivery) (status int, err error) {
	status, err = s.outgoing.Post(ctx, callback.Request{URL: d.URL, EventID: d.EventID, Body: d.Body,
		Keys: callback.Keys{Account: d.Token, Parent: d.Parent, Webhook: d.Secret}})
	var failed *url.Error
	switch {
	case errors.Is(err, callback.ErrForbidden):
		return 0, callback.ErrForbidden // not where the name leads: that would map our network
	case errors.As(err, &failed) && failed.Timeout():
		return 0, errors.New("no answer within 10 seconds")
	case errors.As(err, &failed):
		return 0, failed.Err
	}
	return status, err
}

// tokens returns what an account's callbacks are signed with.
func (s *Server) tokens(ctx context.Context, authID string) (own, parent string, err error) {
	a, err := s.store.Account(ctx, authID)
	if err != nil {
		return "", "", err
	}
	if own, err = s.store.Token(ctx, authID); err != nil || a.Parent == "" {
		return own, "", err
	}
	parent, err = s.store.Token(ctx, a.Parent)
	return own, parent, err
}

// webhookEvents gives the log the shape that webhook asks for.
type webhookEvents struct{ *eventlog.Log }

func (e webhookEvents) Subscribe(authID string, filter event.Filter, after *event.ID) webhook.Stream {
	return e.Log.Subscribe(authID, filter, after)
}

func (e webhookEvents) Last() event.ID {
	last, _ := e.Log.Last()
	return last
}

// webhooks gives both parts the shape that api asks for.
type webhooks struct {
	*webhook.Service
	deliverer *webhook.Deliverer
}

func (w webhooks) Redeliver(hook webhook.Webhook, id event.ID) error {
	return w.deliverer.Redeliver(hook, id)
}

func (w webhooks) RedeliverAfter(ctx context.Context, hook webhook.Webhook, id event.ID) error {
	return w.deliverer.RedeliverAfter(ctx, hook, id)
}
