package location

import (
	"time"

	"onhook/internal/feed"
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

// Gap stands for missed events.
func (Event) Gap(missed int) Event { return Event{Type: Gap, Missed: missed, At: time.Now().UTC()} }

// Feed is one reader's events.
type Feed = feed.Feed[Event]

// Subscribe begins a feed of all events from now on, as feed.Feeds does.
func (x *Index) Subscribe(buffer int) *Feed { return x.feeds.Subscribe(buffer) }
