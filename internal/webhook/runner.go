package webhook

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"onhook/internal/event"
)

// runner delivers to one webhook. Its events are spread over lanes by their
// keys, so that those of one endpoint stay in order.
type runner struct {
	d      *Deliverer
	hook   Webhook
	stream Stream
	ctx    context.Context // until stop
	cancel context.CancelFunc
	busy   sync.WaitGroup

	mu      sync.Mutex
	window  []*delivery // under way, in order
	extras  int         // of those asked for again
	lanes   [lanes]lane
	room    chan struct{} // told when the window has room again
	parked  bool          // the stream has nothing
	done    event.ID
	saved   event.ID
	savedAt time.Time
	res     Result
	dirty   bool      // res is not saved
	since   time.Time // when the first of the window failed first, before a restart
}

type lane struct {
	queue   []*delivery
	running bool
	began   time.Time // when its delivery failed first; zero: it has not
}

// delivery is one event under way.
type delivery struct {
	event event.Event
	extra bool // asked for again, beside the order
	done  bool
}

// start begins to deliver what comes after done, or after the webhook was made
// when that is zero.
func (d *Deliverer) start(ctx context.Context, w Webhook, done event.ID) *runner {
	r := &runner{d: d, hook: w, room: make(chan struct{}, 1), res: w.Result, since: w.FailingSince, savedAt: time.Now()}
	r.ctx, r.cancel = context.WithCancel(ctx)
	if done == (event.ID{}) {
		done = w.StartedAfter
	}
	r.done, r.saved = done, done
	filter, err := event.ParseFilter(w.Events)
	if err != nil { // of a type that this version does not know: the rest goes on
		d.cfg.Logger.Warn("a webhook asks for events that are unknown here", "webhook_id", w.ID, "error", err)
	}
	r.stream = d.cfg.Events.Subscribe(w.Owner, filter, &done)
	r.busy.Go(r.run)
	return r
}

// stop ends the runner and waits for it. What is under way comes again.
func (r *runner) stop() {
	r.cancel()
	r.stream.End()
	r.busy.Wait()
}

func (r *runner) run() {
	for {
		r.park(false)
		e, ok, err := r.stream.Take()
		switch {
		case err != nil && r.ctx.Err() == nil:
			r.d.cfg.Logger.Warn("a webhook's events cannot be read", "webhook_id", r.hook.ID, "error", err)
			if !r.wait(firstPause) {
				return
			}
		case err != nil:
			return
		case ok && e.Foreign: // whoever made it delivers it
		case ok:
			if !r.begin(e) {
				return
			}
		default:
			r.park(true)
			select {
			case <-r.stream.Wake():
			case <-r.ctx.Done():
				return
			}
		}
	}
}

func (r *runner) park(parked bool) {
	r.mu.Lock()
	r.parked = parked
	r.mu.Unlock()
}

// wait is false when the runner ends first.
func (r *runner) wait(pause time.Duration) bool {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.ctx.Done():
		return false
	}
}

// begin puts an event under way, when there is room for it.
func (r *runner) begin(e event.Event) bool {
	for {
		r.mu.Lock()
		if len(r.window) < maxWindow {
			dl := &delivery{event: e}
			r.window = append(r.window, dl)
			r.enqueue(dl)
			r.mu.Unlock()
			return true
		}
		r.mu.Unlock()
		select {
		case <-r.room:
		case <-r.ctx.Done():
			return false
		}
	}
}

// extra puts an event under way that was asked for again.
func (r *runner) extra(e event.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil {
		return ErrDisabled
	}
	if r.extras >= maxExtra {
		return ErrBusy
	}
	r.extras++
	r.enqueue(&delivery{event: e, extra: true})
	return nil
}

// enqueue gives a delivery to its lane. r.mu is held.
func (r *runner) enqueue(dl *delivery) {
	l := &r.lanes[dl.event.Key%lanes]
	l.queue = append(l.queue, dl)
	if !l.running {
		l.running = true
		r.busy.Go(func() { r.drain(l) })
	}
}

// drain delivers what is in a lane, one after the other.
func (r *runner) drain(l *lane) {
	for {
		r.mu.Lock()
		if len(l.queue) == 0 || r.ctx.Err() != nil {
			l.running = false
			r.mu.Unlock()
			return
		}
		dl := l.queue[0]
		l.queue = l.queue[1:]
		r.mu.Unlock()
		if r.deliver(l, dl) {
			r.finish(l, dl)
		}
	}
}

// deliver tries until the event has arrived; false when the runner ends first.
func (r *runner) deliver(l *lane, dl *delivery) bool {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := r.attempt(dl)
		if err == nil {
			return true
		}
		if r.ctx.Err() != nil {
			return false
		}
		if time.Since(r.failed(l, dl, err)) >= giveUp &&
			r.d.disable(r.ctx, r.hook.ID, fmt.Sprintf("an event could not be delivered for %v: %v", giveUp, err)) {
			<-r.ctx.Done() // refresh brings it
			return false
		}
		if !r.wait(pause - pause/10 + rand.N(pause/5)) {
			return false
		}
	}
}

// failed takes in that an attempt failed and returns since when they do.
func (r *runner) failed(l *lane, dl *delivery, err error) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l.began.IsZero() {
		l.began = time.Now()
		if len(r.window) > 0 && r.window[0] == dl && !r.since.IsZero() {
			l.began = r.since // a restart does not begin the day anew
		}
	}
	r.res.LastError, r.dirty = err.Error(), true
	r.res.FailingSince = r.failingSince()
	return l.began
}

// failingSince is when the first of the deliveries that fail did so first. r.mu
// is held.
func (r *runner) failingSince() time.Time {
	first := r.since
	for i := range r.lanes {
		if at := r.lanes[i].began; !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

// attempt delivers an event once. The error is for the account to read.
func (r *runner) attempt(dl *delivery) error {
	own, parent, err := r.d.cfg.Tokens(r.ctx, r.hook.Owner)
	if err != nil {
		if r.ctx.Err() == nil {
			r.d.cfg.Logger.Warn("a webhook's events cannot be signed", "webhook_id", r.hook.ID, "error", err)
		}
		return fmt.Errorf("the delivery could not be signed")
	}
	status, err := r.d.cfg.Post(r.ctx, Delivery{URL: r.hook.URL, EventID: dl.event.ID.String(), Body: dl.event.Body,
		Token: own, Parent: parent, Secret: r.hook.Secret})
	if err == nil && (status < 200 || status > 299) {
		err = fmt.Errorf("answered with status %d", status)
	}
	if err != nil {
		r.d.failed.Add(1)
		return err
	}
	r.d.delivered.Add(1)
	return nil
}

// finish takes in that an event has arrived.
func (r *runner) finish(l *lane, dl *delivery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	dl.done = true
	l.began = time.Time{}
	if dl.extra {
		r.extras--
	} else if r.window[0] == dl {
		r.since = time.Time{}
	}
	r.res.LastSuccessAt, r.dirty = time.Now().UTC().Truncate(time.Second), true
	if r.res.FailingSince = r.failingSince(); r.res.FailingSince.IsZero() {
		r.res.LastError = ""
	}
	for len(r.window) > 0 && r.window[0].done {
		r.done = r.window[0].event.ID
		r.window[0] = nil
		r.window = r.window[1:]
	}
	select {
	case r.room <- struct{}{}:
	default:
	}
}

func (r *runner) result() Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.res
}

// progress returns what is to be kept, if anything is. last is the youngest
// event there was before: an idle webhook has nothing to do with any up to it.
func (r *runner) progress(last event.ID) (p Progress, changed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	idle := r.parked && len(r.window) == 0 && now.Sub(r.savedAt) >= idleEvery && r.stream.Drained()
	if idle && last.Compare(r.done) > 0 {
		r.done = last
	}
	if r.done == r.saved && !r.dirty {
		return p, false
	}
	r.saved, r.savedAt, r.dirty = r.done, now, false
	return Progress{ID: r.hook.ID, Done: r.done, Result: r.res}, true
}

// unsaved takes back that progress was kept.
func (r *runner) unsaved() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dirty = true
}
