package callrecord

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"onhook/internal/account"
)

// shelf is a Store in memory that fails when told to.
type shelf struct {
	Store
	mu      sync.Mutex
	fail    error
	poison  ID
	batches []int
	saved   []ID
	pruned  int
	old     int
}

func (s *shelf) SaveRecords(_ context.Context, records []*Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	for _, r := range records {
		if r.ID == s.poison {
			return errors.New("it does not fit")
		}
	}
	s.batches = append(s.batches, len(records))
	for _, r := range records {
		s.saved = append(s.saved, r.ID)
	}
	return nil
}

func (s *shelf) DeleteRecords(_ context.Context, _ time.Time, limit int) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(limit, s.old)
	s.old -= n
	s.pruned += n
	return n, nil
}

func (s *shelf) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func id(n int) ID { return ID{0: 1, 14: byte(n >> 8), 15: byte(n)} }

func put(o *Outbox, from, to int) {
	for i := from; i < to; i++ {
		o.Put([]*Record{{ID: id(i), Account: "a"}, {ID: id(i), Account: "b"}})
	}
}

func inOutbox(t *testing.T, c OutboxConfig, f func(o *Outbox, s *shelf)) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		c.Store, c.Logger = s, slog.New(slog.DiscardHandler)
		o := NewOutbox(c)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- o.Run(ctx) }()
		f(o, s)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Records go out together, the two of one call never apart.
func TestOutboxBatches(t *testing.T) {
	var told []ID
	inOutbox(t, OutboxConfig{Saved: func(ids []ID) { told = append(told, ids...) }}, func(o *Outbox, s *shelf) {
		o.Put([]*Record{{ID: id(9999)}})
		put(o, 0, 600)
		time.Sleep(time.Second)
		if got := fmt.Sprint(s.batches); got != "[501 500 200]" {
			t.Errorf("batches of %s", got)
		}
		if st := o.Stats(); st.Saved != 1201 || st.Waiting != 0 || len(told) != 601 {
			t.Errorf("%+v, told of %d calls", st, len(told))
		}
	})
}

// A Store that cannot be written to loses nothing that fits.
func TestOutboxWaits(t *testing.T) {
	inOutbox(t, OutboxConfig{Capacity: 10}, func(o *Outbox, s *shelf) {
		s.set(func() { s.fail = fmt.Errorf("%w: disk full", account.ErrUnavailable) })
		put(o, 0, 7)
		time.Sleep(time.Minute)
		if st := o.Stats(); st.Waiting != 10 || st.Dropped != 4 {
			t.Errorf("%+v", st)
		}
		s.set(func() { s.fail = nil })
		time.Sleep(lastRetry)
		if st := o.Stats(); st.Saved != 10 || st.Waiting != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// A record that the Store refuses does not hold up the others.
func TestOutboxPoison(t *testing.T) {
	inOutbox(t, OutboxConfig{}, func(o *Outbox, s *shelf) {
		s.poison = id(3)
		put(o, 0, 6)
		time.Sleep(time.Second)
		if st := o.Stats(); st.Saved != 10 || st.Dropped != 2 || st.Waiting != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// What waits when the work ends is for Flush.
func TestOutboxFlush(t *testing.T) {
	var o *Outbox
	var s *shelf
	inOutbox(t, OutboxConfig{}, func(running *Outbox, store *shelf) {
		o, s = running, store
		put(o, 0, 3)
	})
	if len(s.saved) != 0 {
		t.Fatal("saved too early to show anything")
	}
	o.Flush(t.Context())
	if len(s.saved) != 6 {
		t.Errorf("%d records", len(s.saved))
	}
}

func TestOutboxPrunes(t *testing.T) {
	inOutbox(t, OutboxConfig{Retention: time.Hour}, func(_ *Outbox, s *shelf) {
		s.set(func() { s.old = 1200 })
		time.Sleep(pruneEvery + time.Minute)
		if s.pruned != 1200 {
			t.Errorf("%d were deleted", s.pruned)
		}
	})
}

func TestCausesOf(t *testing.T) {
	if got := fmt.Sprint(CausesOf("normal_clearing"), CausesOf("nonsense")); got != "[4000 4010 4020] []" {
		t.Error(got)
	}
}
