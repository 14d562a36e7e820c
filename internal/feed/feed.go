// Package feed hands events to any number of readers, each through a bounded
// queue of its own. Whoever publishes never waits: what a slow reader has no
// room for is lost to it, and it is told how much. It knows no events.
package feed

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
)

// Event is what a feed carries.
type Event[E any] interface {
	// Gap makes, of whatever event, the one that stands for so many lost ones.
	Gap(missed int) E
}

// Feeds are the readers of one kind of events. The zero Feeds is ready.
type Feeds[E Event[E]] struct {
	mu     sync.Mutex // for changes of list
	closed bool
	list   atomic.Pointer[[]*Feed[E]]
}

// Feed is one reader's queue.
type Feed[E Event[E]] struct {
	feeds *Feeds[E]

	mu     sync.Mutex
	ring   []E
	head   int
	count  int
	missed int // lost since the newest event in the ring
	total  uint64
	told   uint64 // events so far, the lost ones included
	closed bool
	wake   chan struct{}
}

// ErrClosed is what Next returns after Close, of the feed or of all.
var ErrClosed = errors.New("feed is closed")

// Subscribe begins a feed of all events from now on that holds up to buffer
// events for a slow reader; further ones are lost and a gap stands for them.
// The caller closes it.
func (s *Feeds[E]) Subscribe(buffer int) *Feed[E] {
	f := &Feed[E]{feeds: s, ring: make([]E, max(buffer, 2)), wake: make(chan struct{}, 1)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		f.closed = true
		return f
	}
	list := append(slices.Clone(s.load()), f)
	s.list.Store(&list)
	return f
}

func (s *Feeds[E]) load() []*Feed[E] {
	if list := s.list.Load(); list != nil {
		return *list
	}
	return nil
}

// Watched reports whether anybody reads: whoever publishes need not make events
// for nobody.
func (s *Feeds[E]) Watched() bool { return len(s.load()) > 0 }

// Publish hands events to every reader.
func (s *Feeds[E]) Publish(events ...E) {
	list := s.load()
	for i := range events {
		for _, f := range list {
			f.push(&events[i])
		}
	}
}

// Close ends every feed; readers still get what is in them.
func (s *Feeds[E]) Close() {
	s.mu.Lock()
	s.closed = true
	list := s.load()
	s.list.Store(nil)
	s.mu.Unlock()
	for _, f := range list {
		f.end()
	}
}

// Next waits for the next event. After Close it delivers what is there, then
// ErrClosed.
func (f *Feed[E]) Next(ctx context.Context) (E, error) {
	for {
		f.mu.Lock()
		e, ok := f.take()
		closed := f.closed
		f.mu.Unlock()
		if ok {
			return e, nil
		}
		if closed {
			return e, ErrClosed
		}
		select {
		case <-f.wake:
		case <-ctx.Done():
			return e, ctx.Err()
		}
	}
}

// Take appends all events that are there to dst, without waiting, and returns
// how many there have been in all, the lost ones included. Wake tells when it
// is worth while.
func (f *Feed[E]) Take(dst []E) (events []E, told uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for e, ok := f.take(); ok; e, ok = f.take() {
		dst = append(dst, e)
	}
	return dst, f.told
}

// take removes the oldest event. f.mu is held.
func (f *Feed[E]) take() (e E, ok bool) {
	var none E
	switch {
	case f.count > 0:
		e, f.ring[f.head] = f.ring[f.head], none
		f.head = (f.head + 1) % len(f.ring)
		f.count--
	case f.missed > 0:
		e = none.Gap(f.missed)
		f.missed = 0
	default:
		return none, false
	}
	return e, true
}

// Wake is ready when an event has come since it was last received from, or the
// feed is closed. It is for the one reader that uses Take.
func (f *Feed[E]) Wake() <-chan struct{} { return f.wake }

// Told returns how many events there have been so far: where, in their order,
// something else happened.
func (f *Feed[E]) Told() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.told
}

// Missed returns how many events this feed has lost in all.
func (f *Feed[E]) Missed() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.total
}

// Close ends the feed.
func (f *Feed[E]) Close() {
	s := f.feeds
	s.mu.Lock()
	rest := slices.DeleteFunc(slices.Clone(s.load()), func(other *Feed[E]) bool { return other == f })
	s.list.Store(&rest)
	s.mu.Unlock()
	f.end()
}

func (f *Feed[E]) end() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.signal()
}

func (f *Feed[E]) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *Feed[E]) push(e *E) {
	f.mu.Lock()
	f.told++
	room := len(f.ring) - f.count
	if f.missed > 0 && room >= 2 {
		f.put((*e).Gap(f.missed))
		f.missed, room = 0, room-1
	}
	if f.missed > 0 || room == 0 || f.closed {
		f.missed++
		f.total++
	} else {
		f.put(*e)
	}
	f.mu.Unlock()
	f.signal()
}

func (f *Feed[E]) put(e E) {
	f.ring[(f.head+f.count)%len(f.ring)] = e
	f.count++
}
