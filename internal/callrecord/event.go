package callrecord

import (
	"time"

	"onhook/internal/feed"
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

// Gap stands for missed events.
func (Event) Gap(missed int) Event { return Event{Type: Gap, Missed: missed, At: time.Now().UTC()} }

// Feeds hands events to any number of readers; Feed is one reader's.
type (
	Feeds = feed.Feeds[Event]
	Feed  = feed.Feed[Event]
)
