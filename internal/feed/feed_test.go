package feed

import (
	"context"
	"errors"
	"slices"
	"testing"
)

// number is an event; negative ones are gaps.
type number int

func (number) Gap(missed int) number { return number(-missed) }

// take returns what is there by now.
func take(t *testing.T, f *Feed[number]) (got []number) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for {
		e, err := f.Next(ctx)
		if err != nil {
			return got
		}
		got = append(got, e)
	}
}

func expect(t *testing.T, got []number, want ...number) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Every reader gets every event, in order, until it or all are closed.
func TestInOrder(t *testing.T) {
	var s Feeds[number]
	if s.Watched() {
		t.Error("watched by nobody")
	}
	a, b := s.Subscribe(8), s.Subscribe(8)
	s.Publish(1, 2)
	s.Publish(3)
	expect(t, take(t, a), 1, 2, 3)
	all, told := b.Take([]number{0})
	if expect(t, all, 0, 1, 2, 3); told != 3 || b.Told() != 3 {
		t.Errorf("told %d, %d", told, b.Told())
	}
	b.Close()
	if !s.Watched() {
		t.Error("not watched")
	}
	s.Publish(4)
	s.Close()
	s.Publish(5)
	if s.Watched() {
		t.Error("watched after the end")
	}
	expect(t, take(t, a), 4)
	for _, f := range []*Feed[number]{a, b, s.Subscribe(1)} {
		if _, err := f.Next(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("%v after the end", err)
		}
	}
}

// A slow reader loses events and is told how many, in their place.
func TestSlowReader(t *testing.T) {
	var s Feeds[number]
	f := s.Subscribe(3)
	for n := range number(10) {
		s.Publish(n + 1)
	}
	for _, want := range []number{1, 2} {
		if e, err := f.Next(t.Context()); err != nil || e != want {
			t.Errorf("%v, %v, want %v", e, err, want)
		}
	}
	s.Publish(11)
	expect(t, take(t, f), 3, -7, 11)
	s.Publish(12, 13, 14, 15)
	all, told := f.Take(nil)
	if expect(t, all, 12, 13, 14, -1); told != 15 || f.Missed() != 8 {
		t.Errorf("%d told, %d missed", told, f.Missed())
	}
}

// Whoever waits is woken, by an event and by the end.
func TestWaiting(t *testing.T) {
	var s Feeds[number]
	f, g := s.Subscribe(3), s.Subscribe(3)
	got := make(chan []number)
	go func() {
		var all []number
		for {
			e, err := f.Next(context.WithoutCancel(t.Context()))
			if err != nil {
				got <- all
				return
			}
			all = append(all, e)
		}
	}()
	s.Publish(1)
	<-g.Wake()
	f.Close()
	g.Close()
	<-g.Wake()
	expect(t, <-got, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Subscribe(1).Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v from an empty feed", err)
	}
}
