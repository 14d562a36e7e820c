// Package event holds what happened as data: events, their names and order,
// and the Hub that makes them out of changes of endpoints, bindings and calls.
// It delivers nothing and knows no file, no SQL and no HTTP.
package event

import (
	"fmt"
	"strings"
)

// Type names what happened.
type Type string

// The types. The ends of bindings are named as location does.
const (
	EndpointCreated            Type = "endpoint.created"
	EndpointUpdated            Type = "endpoint.updated"
	EndpointDeleted            Type = "endpoint.deleted"
	EndpointRegistered         Type = "endpoint.registered"
	EndpointRefreshed          Type = "endpoint.refreshed" // only when the server tells refreshes
	EndpointUnregistered       Type = "endpoint.unregistered"
	EndpointExpired            Type = "endpoint.expired"
	EndpointReplaced           Type = "endpoint.replaced"
	EndpointFlowLost           Type = "endpoint.flow_lost"
	EndpointCredentialsChanged Type = "endpoint.credentials_changed"

	CallStarted  Type = "call.started"
	CallAnswered Type = "call.answered"
	CallEnded    Type = "call.ended"

	// StreamGap stands for events that are not kept any more, or were never
	// made because there were too many. No filter holds it back.
	StreamGap Type = "stream.gap"
)

// Types are all types one can ask for.
var Types = [...]Type{EndpointCreated, EndpointUpdated, EndpointDeleted, EndpointRegistered, EndpointRefreshed, EndpointUnregistered,
	EndpointExpired, EndpointReplaced, EndpointFlowLost, EndpointCredentialsChanged, CallStarted, CallAnswered, CallEnded}

// Event is one event as it is kept and delivered. It is not changed once made.
type Event struct {
	ID      ID
	Type    Type
	Account string // auth_id of the owner; "" concerns everybody
	Main    string // auth_id of its main account, which hears of it too
	Key     uint64 // events with the same key come in order: the endpoint's id, or a call's
	Seq     int64  // account.Change.Seq, of the last change of a commit; else 0
	Foreign bool   // another server delivers it to webhooks
	Body    []byte // the envelope as JSON
}

// For reports whether an account hears of the event.
func (e *Event) For(authID string) bool {
	return e.Account == authID || e.Main == authID || e.Account == ""
}

// Gap returns an event that stands for those before the given one.
func Gap(first ID, account string) Event {
	e := Event{ID: first.Before(), Type: StreamGap, Account: account}
	e.Body = append(e.appendHead(nil, e.ID.Time()), "{}}"...)
	return e
}

// Filter selects types; the zero Filter selects all.
type Filter struct{ patterns []string }

// ParseFilter reads patterns: a type, or "endpoint.*", "call.*" or "*". The
// error names the pattern that selects nothing.
func ParseFilter(patterns []string) (Filter, error) {
	for _, p := range patterns {
		known := false
		for _, t := range Types {
			known = known || matches(p, t)
		}
		if !known {
			return Filter{}, fmt.Errorf("no event is called %q", p)
		}
	}
	return Filter{patterns}, nil
}

// Match reports whether the filter selects the type.
func (f Filter) Match(t Type) bool {
	if len(f.patterns) == 0 || t == StreamGap {
		return true
	}
	for _, p := range f.patterns {
		if matches(p, t) {
			return true
		}
	}
	return false
}

func matches(pattern string, t Type) bool {
	if family, all := strings.CutSuffix(pattern, "*"); all {
		return strings.HasPrefix(string(t), family) && (family == "" || strings.HasSuffix(family, "."))
	}
	return pattern == string(t)
}
