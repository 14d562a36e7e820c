package webhook

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"onhook/internal/account"
	"onhook/internal/event"
)

// Stream is one subscriber's events, in order.
type Stream interface {
	Take() (e event.Event, ok bool, err error)
	Wake() <-chan struct{}
	Drained() bool // nothing waits to be taken
	End()
}

// Events is where events come from.
type Events interface {
	Subscribe(account string, filter event.Filter, after *event.ID) Stream
	Last() event.ID
	// Find returns an event that the account may see, if it is still kept.
	Find(account string, id event.ID) (e event.Event, ok bool, err error)
}

// Delivery is one event on its way to one target.
type Delivery struct {
	URL     string
	EventID string
	Body    []byte
	Token   string // of the owner
	Parent  string // token of the owner's main account; "" when it is one
	Secret  string // the webhook's
}

// Config is what a Deliverer works with. All but Logger must be set.
type Config struct {
	Store  Store
	Events Events
	Origin string // names the log of the events
	// Post makes one attempt and returns the HTTP status of the answer. A
	// failure's text is shown to the account.
	Post func(ctx context.Context, d Delivery) (status int, err error)
	// Tokens returns the auth tokens of an account and of its main account;
	// "" for the latter when it is one.
	Tokens func(ctx context.Context, authID string) (own, parent string, err error)
	Logger *slog.Logger
}

// How events are delivered.
const (
	lanes        = 4                // deliveries to one target at a time
	maxWindow    = 256              // events of one webhook that may be under way
	maxExtra     = 100              // of those asked for again
	firstPause   = time.Second      // after a failure; then twice as long each time
	longestPause = 10 * time.Minute // a little less or more: not all at once
	giveUp       = 24 * time.Hour   // of failing, after which a webhook is disabled

	refreshEvery = 10 * time.Second // to read webhooks again that could not be read
	saveEvery    = time.Second
	idleEvery    = 5 * time.Minute // from one time an idle webhook's place is kept to the next
)

// Deliverer delivers events to webhooks: each at least once, those of one
// endpoint in order, over restarts too. A slow target holds up nobody else.
type Deliverer struct {
	cfg    Config
	wake   chan struct{}
	saveMu sync.Mutex

	mu      sync.Mutex
	runners map[string]*runner

	delivered, failed, disabled atomic.Uint64
}

// NewDeliverer makes a Deliverer; Run brings it to life.
func NewDeliverer(cfg Config) *Deliverer {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Deliverer{cfg: cfg, wake: make(chan struct{}, 1), runners: map[string]*runner{}}
	cfg.Store.SubscribeWebhooks(d.changed)
	return d
}

// changed has Run look what webhooks there are.
func (d *Deliverer) changed() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Run delivers until ctx ends.
func (d *Deliverer) Run(ctx context.Context) error {
	refresh, save := time.NewTicker(refreshEvery), time.NewTicker(saveEvery)
	defer refresh.Stop()
	defer save.Stop()
	d.refresh(ctx)
	for {
		select {
		case <-d.wake:
			d.refresh(ctx)
		case <-refresh.C:
			d.refresh(ctx)
		case <-save.C:
			d.save(ctx)
		case <-ctx.Done():
			d.mu.Lock()
			all := d.runners
			d.mu.Unlock()
			for _, r := range all {
				r.stop()
			}
			d.save(context.WithoutCancel(ctx))
			return nil
		}
	}
}

// refresh starts and stops runners until they are those of the store.
func (d *Deliverer) refresh(ctx context.Context) {
	hooks, err := d.cfg.Store.Webhooks(ctx)
	if err != nil {
		if ctx.Err() == nil {
			d.cfg.Logger.Warn("webhooks cannot be read, those that are known go on", "error", err)
		}
		return
	}
	wanted := map[string]Webhook{}
	for _, w := range hooks {
		if w.Enabled {
			wanted[w.ID] = w
		}
	}
	d.mu.Lock()
	var ended []*runner
	fresh := false
	for id, r := range d.runners {
		if w, there := wanted[id]; !there || !r.serves(w) {
			ended = append(ended, r)
			delete(d.runners, id)
		}
	}
	for id := range wanted {
		fresh = fresh || d.runners[id] == nil
	}
	d.mu.Unlock()
	for _, r := range ended {
		r.stop()
		d.saveThose(ctx, []*runner{r})
	}
	if !fresh {
		return
	}
	done, err := d.cfg.Store.WebhookProgress(ctx, d.cfg.Origin)
	if err != nil {
		d.cfg.Logger.Warn("webhooks cannot be begun yet", "error", err)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, w := range wanted {
		if d.runners[id] == nil {
			d.runners[id] = d.start(ctx, w, done[id])
		}
	}
}

// save keeps how far the webhooks have come.
func (d *Deliverer) save(ctx context.Context) {
	d.mu.Lock()
	all := make([]*runner, 0, len(d.runners))
	for _, r := range d.runners {
		all = append(all, r)
	}
	d.mu.Unlock()
	d.saveThose(ctx, all)
}

func (d *Deliverer) saveThose(ctx context.Context, all []*runner) {
	d.saveMu.Lock()
	defer d.saveMu.Unlock()
	last := d.cfg.Events.Last()
	var list []Progress
	var saved []*runner
	for _, r := range all {
		if p, changed := r.progress(last); changed {
			list, saved = append(list, p), append(saved, r)
		}
	}
	if len(list) == 0 {
		return
	}
	if err := d.cfg.Store.SaveWebhookProgress(ctx, d.cfg.Origin, list); err != nil {
		if ctx.Err() == nil {
			d.cfg.Logger.Warn("the progress of webhooks cannot be kept yet", "error", err)
		}
		for _, r := range saved {
			r.unsaved()
		}
	}
}

// disable gives a webhook up; false when that has to wait.
func (d *Deliverer) disable(ctx context.Context, id, reason string) bool {
	_, err := d.cfg.Store.UpdateWebhook(ctx, id, func(w *Webhook) error {
		w.Enabled, w.DisabledReason = false, reason
		return nil
	})
	if err != nil && !errors.Is(err, account.ErrNotFound) {
		if ctx.Err() == nil {
			d.cfg.Logger.Warn("a webhook cannot be disabled yet", "webhook_id", id, "error", err)
		}
		return false
	}
	d.disabled.Add(1)
	return true
}

// ErrBusy: too many events were asked for again.
var ErrBusy = errors.New("too many events wait to be delivered again")

// ErrDisabled: the webhook is disabled.
var ErrDisabled = errors.New("the webhook is disabled")

// Redeliver has one event delivered again, beside all others. It is
// account.ErrNotFound when it is not kept any more, or not the owner's.
func (d *Deliverer) Redeliver(w Webhook, id event.ID) error {
	e, ok, err := d.cfg.Events.Find(w.Owner, id)
	if err != nil {
		return err
	}
	if !ok {
		return account.ErrNotFound
	}
	d.mu.Lock()
	r := d.runners[w.ID]
	d.mu.Unlock()
	if r == nil {
		return ErrDisabled
	}
	return r.extra(e)
}

// RedeliverAfter has everything after an event delivered again, in order.
func (d *Deliverer) RedeliverAfter(ctx context.Context, w Webhook, id event.ID) error {
	d.mu.Lock()
	r := d.runners[w.ID]
	delete(d.runners, w.ID)
	d.mu.Unlock()
	if r == nil {
		return ErrDisabled
	}
	r.stop()
	d.saveMu.Lock()
	err := d.cfg.Store.SaveWebhookProgress(ctx, d.cfg.Origin, []Progress{{ID: w.ID, Done: id, Result: r.result()}})
	d.saveMu.Unlock()
	d.changed() // begins it again, there or where it was
	return err
}

// Stats are the Deliverer's figures for the metrics.
type Stats struct {
	Webhooks  int    // enabled ones
	Waiting   int    // events under way
	Failing   int    // webhooks whose last attempt failed
	Delivered uint64 // attempts that succeeded
	Failed    uint64 // attempts that did not
	Disabled  uint64 // webhooks given up
}

// Stats returns the present figures.
func (d *Deliverer) Stats() Stats {
	s := Stats{Delivered: d.delivered.Load(), Failed: d.failed.Load(), Disabled: d.disabled.Load()}
	d.mu.Lock()
	defer d.mu.Unlock()
	s.Webhooks = len(d.runners)
	for _, r := range d.runners {
		r.mu.Lock()
		s.Waiting += len(r.window)
		if r.res.LastError != "" {
			s.Failing++
		}
		r.mu.Unlock()
	}
	return s
}

// serves reports whether a runner does what a webhook asks for.
func (r *runner) serves(w Webhook) bool {
	return r.hook.URL == w.URL && r.hook.Secret == w.Secret && slices.Equal(r.hook.Events, w.Events)
}
