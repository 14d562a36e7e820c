package callrecord

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"onhook/internal/account"
)

// OutboxConfig is what an Outbox is made of.
type OutboxConfig struct {
	Store     Store
	Retention time.Duration // how long records are kept; 0: for ever
	Capacity  int           // records that may wait for the Store; 0 means 100,000
	// Saved is told the IDs of calls whose records the Store has now, or never
	// will have; nil: nobody.
	Saved  func(ids []ID)
	Logger *slog.Logger
}

// Outbox carries records to a Store, in batches and off the way of calls. While
// the Store cannot be written to, records wait; more than fit are counted as
// dropped, and whoever journals calls still has them.
type Outbox struct {
	OutboxConfig
	mu      sync.Mutex
	waiting []*Record
	wake    chan struct{}
	saved   atomic.Uint64
	dropped atomic.Uint64
}

const (
	batch       = 500
	gather      = 100 * time.Millisecond // how long a batch waits for more
	firstRetry  = time.Second
	lastRetry   = 30 * time.Second
	pruneEvery  = 10 * time.Minute
	pruneBatch  = 500
	pruneBreath = 50 * time.Millisecond // between batches, for others to write
)

// NewOutbox makes an Outbox; Run does its work.
func NewOutbox(c OutboxConfig) *Outbox {
	if c.Capacity == 0 {
		c.Capacity = 100_000
	}
	return &Outbox{OutboxConfig: c, wake: make(chan struct{}, 1)}
}

// Put takes the records of one call. It never waits.
func (o *Outbox) Put(records []*Record) {
	o.mu.Lock()
	room := len(o.waiting)+len(records) <= o.Capacity
	if room {
		o.waiting = append(o.waiting, records...)
	}
	o.mu.Unlock()
	if !room {
		o.dropped.Add(uint64(len(records)))
		return
	}
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// OutboxStats are counts since the start, and what waits at present.
type OutboxStats struct {
	Saved, Dropped uint64
	Waiting        int
}

// Stats returns the counts.
func (o *Outbox) Stats() OutboxStats {
	o.mu.Lock()
	defer o.mu.Unlock()
	return OutboxStats{Saved: o.saved.Load(), Dropped: o.dropped.Load(), Waiting: len(o.waiting)}
}

// Run saves what is put and deletes what is too old, until ctx ends. What waits
// then is for Flush.
func (o *Outbox) Run(ctx context.Context) error {
	prune := time.NewTicker(pruneEvery)
	defer prune.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-prune.C:
			o.prune(ctx)
			continue
		case <-o.wake:
		}
		if pause(ctx, gather) {
			o.Flush(ctx)
		}
	}
}

// Flush saves what waits, and tries again and again until it succeeds or ctx
// ends.
func (o *Outbox) Flush(ctx context.Context) {
	retry := firstRetry
	for {
		records := o.next()
		if len(records) == 0 {
			return
		}
		err := o.Store.SaveRecords(ctx, records)
		switch {
		case err == nil:
			o.done(records, len(records))
			retry = firstRetry
			continue
		case ctx.Err() != nil:
			return
		case !errors.Is(err, account.ErrUnavailable):
			o.oneByOne(ctx, records)
			continue
		}
		if retry == firstRetry {
			o.Logger.Warn("call records cannot be written at present and wait", "waiting", o.Stats().Waiting, "error", err)
		}
		if !pause(ctx, retry) {
			return
		}
		retry = min(2*retry, lastRetry)
	}
}

// oneByOne saves the good ones of a batch that the Store refuses.
func (o *Outbox) oneByOne(ctx context.Context, records []*Record) {
	for i, r := range records {
		err := o.Store.SaveRecords(ctx, records[i:i+1])
		if errors.Is(err, account.ErrUnavailable) || ctx.Err() != nil {
			return // the rest waits on
		}
		saved := 1
		if err != nil {
			saved = 0
			o.dropped.Add(1)
			o.Logger.Error("a call record cannot be stored", "call_id", r.ID.String(), "error", err)
		}
		o.done(records[i:i+1], saved)
	}
}

// next are the oldest records; the two of one call are not parted.
func (o *Outbox) next() []*Record {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := min(batch, len(o.waiting))
	if n > 0 && n < len(o.waiting) && o.waiting[n].ID == o.waiting[n-1].ID {
		n++
	}
	return o.waiting[:n:n]
}

// done takes away the oldest records, which are dealt with.
func (o *Outbox) done(records []*Record, saved int) {
	o.saved.Add(uint64(saved))
	if o.Saved != nil {
		ids := make([]ID, 0, len(records))
		for _, r := range records {
			if n := len(ids); n == 0 || ids[n-1] != r.ID {
				ids = append(ids, r.ID)
			}
		}
		o.Saved(ids)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.waiting[:len(records)])
	if o.waiting = o.waiting[len(records):]; len(o.waiting) == 0 {
		o.waiting = nil
	}
}

// prune deletes records whose time is over, a few at a time.
func (o *Outbox) prune(ctx context.Context) {
	if o.Retention == 0 {
		return
	}
	for {
		n, err := o.Store.DeleteRecords(ctx, time.Now().Add(-o.Retention), pruneBatch)
		if err != nil && ctx.Err() == nil {
			o.Logger.Warn("old call records cannot be deleted at present", "error", err)
		}
		if err != nil || n < pruneBatch || !pause(ctx, pruneBreath) {
			return
		}
	}
}

// pause reports false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
