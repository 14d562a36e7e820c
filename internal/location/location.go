// Package location knows where devices are: the bindings between an endpoint's
// address-of-record and the contacts it registered (RFC 3261 10), in a sharded
// memory index with expiry, made durable through a Journal. It knows no SIP
// message, no SQL and no socket; a flow is a plain value to it.
package location

import (
	"time"

	"onhook/internal/sip"
)

// Key identifies an address-of-record: the endpoint's id.
type Key uint64

// State says how sure we are that a binding's device can be reached.
type State uint8

// The states of a binding.
const (
	Reachable State = iota
	Suspect         // restored after a restart and not heard of since, or its probes went unanswered
)

func (s State) String() string {
	if s == Suspect {
		return "suspect"
	}
	return "reachable"
}

// Binding is one contact of an address-of-record.
type Binding struct {
	ID           string // binding_id, unique within the server
	Contact      string // the whole Contact URI, as registered
	Params       string // the Contact's other parameters as written (feature tags), from their first ';', without expires and q
	Q            uint16 // thousandths: 1000 is the default, 1.0
	InstanceID   string // +sip.instance without quotes and brackets, "" when absent
	RegID        uint32 // RFC 5626 reg-id, 0 when absent
	CallID       string
	CSeq         uint32
	Flow         sip.Flow // where the REGISTER came from, and the way back
	FlowBound    bool     // ends with its connection; false: the Contact is dialled when the connection is gone
	BehindNAT    bool     // of UDP: the Contact is not the host it came from, so that only the flow leads to the device
	Path         string   // Path values joined by ", " (RFC 3327), "" when none
	UserAgent    string
	Previous     bool   // registered with the password before the present one
	GRUUs        uint32 // sealed in the temporary GRUUs that hold; 0: none were given out
	RegisteredAt time.Time
	LastSeen     time.Time
	Expires      time.Time
	State        State

	misses     uint8 // probes not answered since it was last heard of, missesSuspect at most
	graceUntil int64 // unix ms when a lost binding ends unless its device returns; 0: not lost
}

// Lost reports whether the binding's connection is gone and the binding only
// waits for its device to return.
func (b *Binding) Lost() bool { return b.graceUntil != 0 }

// Connected reports whether the binding has a connection to send on. It is
// false for UDP, which has none.
func (b *Binding) Connected() bool { return b.Flow.Conn != 0 }

// endsAt is when the binding ends by itself, in unix ms.
func (b *Binding) endsAt() int64 {
	end := b.Expires.UnixMilli()
	if b.graceUntil != 0 && b.graceUntil < end {
		return b.graceUntil
	}
	return end
}
