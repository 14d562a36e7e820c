package callrecord

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// EventType says what happened to a call.
type EventType uint8

// The events of a call. One that was refused before it went anywhere has Ended
// alone.
const (
	Started  EventType = iota + 1 // it is on its way to the callee
	Answered                      // by the first 2xx
	Ended                         // for whatever reason
	Gap                           // not a call's: Missed events were lost here because the reader was slow
)

var eventNames = [...]string{Started: "started", Answered: "answered", Ended: "ended", Gap: "gap"}

func (t EventType) String() string {
	if int(t) < len(eventNames) {
		return eventNames[t]
	}
	return ""
}

// Event is one change of a call, told once to each account that it concerns.
// The events of one call come in order.
type Event struct {
	Type   EventType
	Record *Record // so far; shared by all readers, nil for a Gap
	At     time.Time
	Missed int // of a Gap
}

// Feeds hands events to any number of readers without ever waiting for one.
// The zero Feeds is ready.
type Feeds struct {
	mu     sync.Mutex // for changes of list
	closed bool
	list   atomic.Pointer[[]*Feed]
}

// Feed is a bounded queue of events for one reader.
type Feed struct {
	feeds *Feeds

	mu     sync.Mutex
	ring   []Event
	head   int
	count  int
	missed int // lost since the newest event in the ring
	total  uint64
	closed bool
	wake   chan struct{}
}

// ErrFeedClosed is what Next returns after Close, of the feed or of all.
var ErrFeedClosed = errors.New("callrecord: feed is closed")

// Subscribe begins a feed of all events from now on that holds up to buffer
// events for a slow reader; further ones are lost and a Gap stands for them.
// The caller closes it.
func (s *Feeds) Subscribe(buffer int) *Feed {
	f := &Feed{feeds: s, ring: make([]Event, max(buffer, 2)), wake: make(chan struct{}, 1)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		f.closed = true
		return f
	}
	list := append(append([]*Feed(nil), s.load()...), f)
	s.list.Store(&list)
	return f
}

func (s *Feeds) load() []*Feed {
	if list := s.list.Load(); list != nil {
		return *list
	}
	return nil
}

// Watched reports whether anybody reads: whoever publishes need not make events
// for nobody.
func (s *Feeds) Watched() bool { return len(s.load()) > 0 }

// Publish hands an event to every reader. It never waits.
func (s *Feeds) Publish(e Event) {
	for _, f := range s.load() {
		f.push(&e)
	}
}

// Close ends every feed; readers still get what is in them.
func (s *Feeds) Close() {
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
// ErrFeedClosed.
func (f *Feed) Next(ctx context.Context) (Event, error) {
	for {
		f.mu.Lock()
		if f.count > 0 {
			e := f.ring[f.head]
			f.ring[f.head] = Event{}
			f.head = (f.head + 1) % len(f.ring)
			f.count--
			f.mu.Unlock()
			return e, nil
		}
		if f.missed > 0 {
			e := Event{Type: Gap, Missed: f.missed, At: time.Now().UTC()}
			f.missed = 0
			f.mu.Unlock()
			return e, nil
		}
		closed := f.closed
		f.mu.Unlock()
		if closed {
			return Event{}, ErrFeedClosed
		}
		select {
		case <-f.wake:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

// Missed returns how many events this feed has lost in all.
func (f *Feed) Missed() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.total
}

// Close ends the feed.
func (f *Feed) Close() {
	s := f.feeds
	s.mu.Lock()
	var rest []*Feed
	for _, other := range s.load() {
		if other != f {
			rest = append(rest, other)
		}
	}
	s.list.Store(&rest)
	s.mu.Unlock()
	f.end()
}

func (f *Feed) end() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.signal()
}

func (f *Feed) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *Feed) push(e *Event) {
	f.mu.Lock()
	room := len(f.ring) - f.count
	if f.missed > 0 && room >= 2 {
		f.put(Event{Type: Gap, Missed: f.missed, At: e.At})
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

func (f *Feed) put(e Event) {
	f.ring[(f.head+f.count)%len(f.ring)] = e
	f.count++
}
