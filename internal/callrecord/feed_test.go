package callrecord

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func next(t *testing.T, f *Feed) Event {
	t.Helper()
	e, err := f.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestFeedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Feeds
		if s.Watched() {
			t.Error("watched by nobody")
		}
		a, b := s.Subscribe(8), s.Subscribe(8)
		r := &Record{ID: NewID(time.Now())}
		for _, typ := range []EventType{Started, Answered, Ended} {
			s.Publish(Event{Type: typ, Record: r})
		}
		for _, f := range []*Feed{a, b} {
			for _, want := range []string{"started", "answered", "ended"} {
				if e := next(t, f); e.Type.String() != want || e.Record != r {
					t.Errorf("%s, wants %s", e.Type, want)
				}
			}
		}
		b.Close()
		s.Publish(Event{Type: Started, Record: r})
		s.Close()
		if e := next(t, a); e.Type != Started {
			t.Errorf("%s after Close", e.Type)
		}
		for _, f := range []*Feed{a, b, s.Subscribe(1)} {
			if _, err := f.Next(t.Context()); !errors.Is(err, ErrFeedClosed) {
				t.Errorf("%v after the end", err)
			}
		}
	})
}

// A slow reader loses events and is told how many; nobody waits for it.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Feeds
		f := s.Subscribe(3)
		for range 10 {
			s.Publish(Event{Type: Started})
		}
		for range 2 {
			next(t, f)
		}
		s.Publish(Event{Type: Ended})
		seen := []EventType{next(t, f).Type}
		gap := next(t, f)
		seen = append(seen, gap.Type, next(t, f).Type)
		if seen[0] != Started || seen[1] != Gap || seen[2] != Ended || gap.Missed != 7 || f.Missed() != 7 {
			t.Errorf("%v, missed %d of %d", seen, gap.Missed, f.Missed())
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := f.Next(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%v from an empty feed", err)
		}
	})
}
