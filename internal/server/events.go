package server

import (
	"context"
	"fmt"
	"time"

	"onhook/internal/account"
	"onhook/internal/api"
	"onhook/internal/event"
	"onhook/internal/eventlog"
	"onhook/internal/location"
)

// feedBuffer is how many events of bindings may wait to be written: what a
// storm of registrations brings while the disk takes its time.
const feedBuffer = 16_384

// callBuffer is how many events of calls may wait.
const callBuffer = 4096

// buildEvents opens the event log and makes the hub that fills it.
func (s *Server) buildEvents() error {
	log, err := eventlog.Open(eventlog.Config{Dir: s.cfg.EventsPath(), Keep: s.cfg.Events.Keep, MaxBytes: int64(s.cfg.Events.MaxMegabytes) << 20,
		Logger: s.logger.With("package", "eventlog")})
	if err != nil {
		return fmt.Errorf("events %s: %w", s.cfg.EventsPath(), err)
	}
	s.events = log
	s.store.KeepChanges(log.Origin())
	s.hub = event.NewHub(event.Config{
		Log: log, Outbox: s.store, Bindings: s.path.index.Subscribe(feedBuffer), Calls: s.calls.Subscribe(callBuffer), Endpoint: s.path.eventEndpoint,
		Data: (&eventData{path: s.path, accounts: s.accounts}).of, CallData: api.AppendCallEvent,
		Logger: s.logger.With("package", "event"),
	})
	s.buildWebhooks()
	return nil
}

// eventEndpoint is what events need to know of an endpoint, from memory.
func (p *path) eventEndpoint(id account.EndpointID) (account.Endpoint, bool) {
	e, ok := p.directory.ByID(id)
	return account.Endpoint{ID: e.ID, Owner: e.Owner, Main: e.Main, Username: e.Username, Domain: e.Domain, Alias: e.Alias,
		Application: e.Application}, ok
}

// eventData makes the data of endpoints' events, for the hub alone.
type eventData struct {
	path     *path
	accounts *account.Service
	apps     map[string]*account.Application // by app_id; whose they are never changes
}

// maxEventApps bounds what eventData remembers.
const maxEventApps = 4096

func (d *eventData) of(ctx context.Context, dst []byte, e *account.Endpoint, b *location.Binding, changed []string) []byte {
	return api.AppendEndpointEvent(dst, e, d.application(ctx, e.Application), d.path.index.Registered(location.Key(e.ID)), b, changed)
}

// application finds the endpoint's application, whose owner is in its path; nil
// for none.
func (d *eventData) application(ctx context.Context, id string) *account.Application {
	if id == "" {
		return nil
	}
	if app := d.apps[id]; app != nil {
		return app
	}
	found, err := d.accounts.Applications(ctx, []string{id})
	app, ok := found[id]
	if err != nil || !ok {
		return nil // the event comes without it: it must not wait for the database
	}
	if len(d.apps) >= maxEventApps || d.apps == nil {
		d.apps = map[string]*account.Application{}
	}
	d.apps[id] = &app
	return &app
}

// eventStreams gives the log the shape that api asks for.
type eventStreams struct{ log *eventlog.Log }

func (e eventStreams) Subscribe(authID string, filter event.Filter, after *event.ID) api.EventStream {
	return e.log.Subscribe(authID, filter, after)
}

// retainEvents is how often old events are looked for.
const retainEvents = time.Minute

// saveUses stores when keys were used.
func (s *Server) saveUses(ctx context.Context) {
	if err := s.accounts.SaveUses(ctx); err != nil && ctx.Err() == nil {
		s.logger.Warn("when keys were used cannot be stored yet", "error", err)
	}
}

// sweepEvents removes old events while no new ones come, and old answers to
// requests with an Idempotency-Key, and stores when keys were used.
func (s *Server) sweepEvents(ctx context.Context) error {
	tick := time.NewTicker(retainEvents)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
			defer cancel()
			s.saveUses(last)
			return nil
		case <-tick.C:
			s.events.Retain()
			s.saveUses(ctx)
			if err := s.store.DropAnswers(ctx, time.Now()); err != nil && ctx.Err() == nil {
				s.logger.Warn("old answers cannot be dropped yet", "error", err)
			}
		}
	}
}
