package location

import (
	"context"
	"errors"
	"sync"
	"time"
)

// EventType says what happened to a binding.
type EventType uint8

// The events of a binding. All but Registered, Refreshed and Gap end it.
const (
	Registered         EventType = iota + 1
	Refreshed                    // only with Config.RefreshEvents
	Unregistered                 // the device asked for it
	Deactivated                  // the API ended it; the device may return
	Expired                      // its time was over
	Replaced                     // another binding took its place
	FlowLost                     // its connection is gone and the device did not return
	CredentialsChanged           // the endpoint's password changed or the endpoint was deleted
	Gap                          // not a binding's: Missed events were lost here because the reader was slow
)

var eventNames = [...]string{Registered: "registered", Refreshed: "refreshed", Unregistered: "unregistered",
	Deactivated: "deactivated", Expired: "expired", Replaced: "replaced", FlowLost: "flow_lost", CredentialsChanged: "credentials_changed", Gap: "gap"}

func (t EventType) String() string {
	if int(t) < len(eventNames) {
		return eventNames[t]
	}
	return ""
}

// Reason is the event a binding ends with.
type Reason = EventType

// Event is one change of a binding. It is told once the change is durable, so
// the events of one address-of-record come in order. An end that nobody asked
// for (Expired, FlowLost) is told even when the journal fails.
type Event struct {
	Type    EventType
	Key     Key
	Binding Binding
	At      time.Time
	Missed  int // of a Gap
}

// Feed is a bounded queue of events for one reader.
type Feed struct {
	index *Index

	mu     sync.Mutex
	ring   []Event
	head   int
	count  int
	missed int // lost since the newest event in the ring
	total  uint64
	told   uint64 // events of the index so far, the lost ones included
	closed bool
	wake   chan struct{}
}

// ErrFeedClosed is what Next returns after Close, of the feed or of the index.
var ErrFeedClosed = errors.New("location: feed is closed")

// Subscribe begins a feed of all events from now on that holds up to buffer
// events for a slow reader; further ones are lost and a Gap stands for them.
// The caller closes it.
func (x *Index) Subscribe(buffer int) *Feed {
	f := &Feed{index: x, ring: make([]Event, max(buffer, 2)), wake: make(chan struct{}, 1)}
	x.feedMu.Lock()
	defer x.feedMu.Unlock()
	if x.feedsClosed {
		f.closed = true
		return f
	}
	feeds := append([]*Feed(nil), *x.feeds.Load()...)
	feeds = append(feeds, f)
	x.feeds.Store(&feeds)
	return f
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
			e := Event{Type: Gap, Missed: f.missed, At: f.index.now()}
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

// Take appends all events that are there to dst, without waiting, and returns
// how many there have been in all, the lost ones included. Wake tells when it
// is worth while.
func (f *Feed) Take(dst []Event) (events []Event, told uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for ; f.count > 0; f.count-- {
		dst = append(dst, f.ring[f.head])
		f.ring[f.head] = Event{}
		f.head = (f.head + 1) % len(f.ring)
	}
	if f.missed > 0 {
		dst = append(dst, Event{Type: Gap, Missed: f.missed, At: f.index.now()})
		f.missed = 0
	}
	return dst, f.told
}

// Wake is ready when an event has come since it was last received from, or the
// feed is closed. It is for the one reader that uses Take.
func (f *Feed) Wake() <-chan struct{} { return f.wake }

// Told returns how many events there have been so far: where, in their order,
// something else happened.
func (f *Feed) Told() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.told
}

// Missed returns how many events this feed has lost in all.
func (f *Feed) Missed() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.total
}

// Close ends the feed.
func (f *Feed) Close() {
	x := f.index
	x.feedMu.Lock()
	var rest []*Feed
	for _, other := range *x.feeds.Load() {
		if other != f {
			rest = append(rest, other)
		}
	}
	x.feeds.Store(&rest)
	x.feedMu.Unlock()
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
	f.told++
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

func (x *Index) watched() bool { return len(*x.feeds.Load()) > 0 }

func (x *Index) publish(events []Event) {
	if len(events) == 0 {
		return
	}
	feeds := *x.feeds.Load()
	for i := range events {
		for _, f := range feeds {
			f.push(&events[i])
		}
	}
}

func (x *Index) closeFeeds() {
	x.feedMu.Lock()
	x.feedsClosed = true
	feeds := *x.feeds.Swap(&[]*Feed{})
	x.feedMu.Unlock()
	for _, f := range feeds {
		f.end()
	}
}
