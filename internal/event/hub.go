package event

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"onhook/internal/account"
	"onhook/internal/callrecord"
	"onhook/internal/location"
)

// Log keeps events and hands them on. The Hub is its only writer.
type Log interface {
	// Last returns the youngest ID that was ever kept, and the greatest Seq.
	Last() (ID, int64)
	// Append keeps events, whose IDs increase, and hands them on. It survives
	// the end of the process; Sync makes it survive that of the machine. The
	// events and their bodies are the caller's again when it returns.
	Append(events []Event) error
	Sync() error
}

// Outbox holds the changes whose events are not safe yet, in commit order.
type Outbox interface {
	// PendingChanges returns the changes numbered above after, in the order of
	// their numbers; about limit of them, but all with the same number.
	PendingChanges(ctx context.Context, after int64, limit int) ([]account.Change, error)
	// DropChanges forgets the changes numbered up to seq.
	DropChanges(ctx context.Context, seq int64) error
}

// Config says what a Hub works on. Outbox may be nil, the rest must be set.
type Config struct {
	Log      Log
	Bindings *location.Feed
	Calls    *callrecord.Feed
	Outbox   Outbox
	// Endpoint finds an endpoint that has bindings: its ids, owner and names.
	Endpoint func(account.EndpointID) (account.Endpoint, bool)
	// Data appends what an event of an endpoint shows, as JSON: the endpoint and
	// either the binding or the names of the changed fields.
	Data func(ctx context.Context, dst []byte, e *account.Endpoint, b *location.Binding, changed []string) []byte
	// CallData appends what an event of a call that happened at that time shows.
	CallData func(dst []byte, r *callrecord.Record, at time.Time) []byte

	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: nothing is logged
}

// Bounds of the Hub.
const (
	maxQueue  = 8192                   // changes that wait to become events
	maxBatch  = 512                    // events written at once
	syncEvery = 20 * time.Millisecond  // from one Sync to the next at least
	dropEvery = time.Second            // from one word to the outbox to the next
	retry     = 500 * time.Millisecond // when the log cannot be written
	gather    = 2 * time.Millisecond   // from taking what bindings and calls tell to taking more, so that a storm is written in batches
	maxText   = 1 << 20                // bytes of bodies that are kept for the next batch
	maxSpare  = 2048                   // places of a queue that are kept for the next one
)

// Hub makes events. What happened to one endpoint becomes events in the order
// in which it happened.
type Hub struct {
	cfg  Config
	wake chan struct{}

	mu      sync.Mutex
	queue   []told
	spare   []told                                  // an empty queue
	leaving map[account.EndpointID]account.Endpoint // deleted, and their last events on the way
	left    uint64                                  // changes left to the outbox so far
	behind  bool                                    // some of them are there still
	gap     bool                                    // something was lost since the last event

	// What Run alone uses.
	ids      *IDs
	bindings []location.Event // taken in this round
	calls    []callrecord.Event
	taken    uint64           // events of bindings that have been taken
	seq      int64            // of the last change that became an event
	safe     int64            // of the last one that is synced
	dropped  int64            // of the last one that the outbox was told
	dirty    bool             // something is appended and not synced
	of       account.Endpoint // whose binding is told: one place for all of them
	batch    []Event          // made, not appended
	text     []byte           // the bodies of batch; an array it outgrew stays theirs
	dropAt   time.Time        // when the outbox was told

	made, lost, failures atomic.Uint64
}

// told is a change that shall become an event.
type told struct {
	account.Change
	after uint64 // so many of the bindings' events came before it
}

// NewHub makes a Hub that continues where the log ends. Run brings it to life.
func NewHub(cfg Config) *Hub {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	last, seq := cfg.Log.Last()
	return &Hub{cfg: cfg, ids: NewIDs(last), seq: seq, safe: seq, behind: cfg.Outbox != nil, wake: make(chan struct{}, 1),
		leaving: map[account.EndpointID]account.Endpoint{}}
}

// Leaving must be called before anything is done about the deletion of an
// endpoint, so that the ends of its bindings still find it; Changed follows.
func (h *Hub) Leaving(e account.Endpoint) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.leaving) < maxQueue {
		h.leaving[e.ID] = e
	}
}

// Changed takes in one committed change. It does not block.
func (h *Hub) Changed(c account.Change) {
	c.At = h.cfg.Now()
	h.mu.Lock()
	full := len(h.queue) >= maxQueue
	switch {
	case c.Seq != 0 && h.cfg.Outbox != nil && (full || h.behind):
		h.behind = true
		h.left++
	case full:
		h.lost.Add(1)
		h.gap = true
	default:
		h.queue = append(h.queue, told{c, h.cfg.Bindings.Told()})
	}
	h.mu.Unlock()
	h.signal()
}

func (h *Hub) signal() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// Run makes events until ctx ends, and then those of what had happened by then;
// the owner ends the sources first.
func (h *Hub) Run(ctx context.Context) error {
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	pause := time.NewTimer(gather)
	defer pause.Stop()
	bindings, calls := h.cfg.Bindings.Wake(), h.cfg.Calls.Wake()
	for {
		var due <-chan time.Time // nothing to sync: no wake-ups
		if h.dirty || h.dropped < h.safe {
			due = tick.C
		}
		select {
		case <-h.wake:
		case <-bindings: // a lone one becomes an event at once
			bindings, calls = nil, nil
			pause.Reset(gather)
		case <-calls:
			bindings, calls = nil, nil
			pause.Reset(gather)
		case <-pause.C:
			bindings, calls = h.cfg.Bindings.Wake(), h.cfg.Calls.Wake()
			continue
		case <-due:
			h.sync(ctx, false)
		case <-ctx.Done():
			last := context.WithoutCancel(ctx)
			h.round(last)
			h.sync(last, true)
			return nil
		}
		h.round(ctx)
	}
}

// round turns everything that has happened into events.
func (h *Hub) round(ctx context.Context) {
	for ctx.Err() == nil {
		// The bindings are taken first: what was told before the last of them
		// is in the queue then.
		var upTo uint64
		h.bindings, upTo = h.cfg.Bindings.Take(h.bindings[:0])
		h.calls, _ = h.cfg.Calls.Take(h.calls[:0])
		h.mu.Lock()
		queue := h.queue
		h.queue, h.spare = h.spare, nil
		behind, gap := h.behind, h.gap
		h.gap = false
		h.mu.Unlock()
		rest := h.merge(ctx, queue, h.bindings)
		for i := range h.calls {
			h.call(ctx, &h.calls[i])
		}
		if gap {
			h.missed(ctx, h.cfg.Now())
		}
		h.taken = upTo
		h.flush(ctx)
		h.mu.Lock()
		if len(rest) > 0 { // told after bindings that were not taken yet
			h.queue = append(rest, h.queue...)
		} else if clear(queue); cap(queue) <= maxSpare {
			h.spare = queue[:0]
		}
		h.mu.Unlock()
		more := behind && h.catchUp(ctx)
		if !more && len(rest) == 0 {
			break
		}
	}
	clear(h.bindings)
	clear(h.calls)
}

// merge makes events of both in the order in which they happened, and returns
// what was told after the last of the bindings.
func (h *Hub) merge(ctx context.Context, queue []told, bindings []location.Event) []told {
	at := h.taken
	for i := range bindings {
		for len(queue) > 0 && queue[0].after <= at {
			h.make(ctx, &queue[0].Change)
			queue = queue[1:]
		}
		h.binding(ctx, &bindings[i])
		at += uint64(max(bindings[i].Missed, 1))
	}
	for len(queue) > 0 && queue[0].after <= at {
		h.make(ctx, &queue[0].Change)
		queue = queue[1:]
	}
	return queue
}

// catchUp makes events of changes that only the outbox has; false when there
// are no more, or that has to wait.
func (h *Hub) catchUp(ctx context.Context) bool {
	h.mu.Lock()
	left := h.left
	h.mu.Unlock()
	pending, err := h.cfg.Outbox.PendingChanges(ctx, h.seq, maxBatch)
	if err != nil {
		if ctx.Err() == nil {
			h.cfg.Logger.Error("stored changes cannot be read, their events come later", "error", err)
			time.AfterFunc(retry, h.signal)
		}
		return false
	}
	for i := range pending {
		h.make(ctx, &pending[i])
	}
	h.flush(ctx)
	if len(pending) > 0 {
		return true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.behind = h.left != left
	return h.behind
}

// Stats are the Hub's figures for the metrics.
type Stats struct {
	Made     uint64 // events
	Lost     uint64 // events that could not be made: too many waited
	Failures uint64 // times the log could not be written
	Queued   int
}

// Stats returns the present figures.
func (h *Hub) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	return Stats{Made: h.made.Load(), Lost: h.lost.Load(), Failures: h.failures.Load(), Queued: len(h.queue)}
}
