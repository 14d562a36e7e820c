package callrecord

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"time"

	"onhook/internal/account"
)

// ID is a call's UUID, the same in X-Onhook-Call-Id, logs and events. It is of
// version 7 (RFC 9562 5.7): it begins with the time of the call, so that the IDs
// of calls sort by their beginnings.
type ID [16]byte

// NewID makes the ID of a call that begins now.
func NewID(now time.Time) (id ID) {
	rand.Read(id[6:]) // never fails: crypto/rand ends the program instead
	id.putTime(now)
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id
}

// FirstID is what sorts before every ID of a call that begins at t or later.
func FirstID(t time.Time) (id ID) {
	id.putTime(t)
	return id
}

func (id *ID) putTime(t time.Time) {
	ms := uint64(max(t.UnixMilli(), 0))
	binary.BigEndian.PutUint16(id[:], uint16(ms>>32))
	binary.BigEndian.PutUint32(id[2:], uint32(ms))
}

// Time is when the call began, to the millisecond.
func (id ID) Time() time.Time {
	ms := int64(binary.BigEndian.Uint16(id[:]))<<32 | int64(binary.BigEndian.Uint32(id[2:]))
	return time.UnixMilli(ms).UTC()
}

func (id ID) String() string {
	var b [36]byte
	return string(id.Append(b[:0]))
}

// Append appends the text form.
func (id ID) Append(dst []byte) []byte {
	var b [36]byte
	hex.Encode(b[0:8], id[0:4])
	hex.Encode(b[9:13], id[4:6])
	hex.Encode(b[14:18], id[6:8])
	hex.Encode(b[19:23], id[8:10])
	hex.Encode(b[24:36], id[10:16])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return append(dst, b[:]...)
}

// ParseID reads the form that String writes, in either case.
func ParseID(s string) (id ID, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return ID{}, false
	}
	digits := s[0:8] + s[9:13] + s[14:18] + s[19:23] + s[24:36]
	n, err := hex.Decode(id[:], []byte(digits))
	return id, err == nil && n == len(id)
}

// Direction says how a call went, as seen by the account of the record.
type Direction string

// The directions.
const (
	Outbound Direction = "outbound" // its endpoint called somebody else
	Inbound  Direction = "inbound"  // somebody else called its endpoint
	Internal Direction = "internal" // one of its endpoints called another
)

// Status is the state of a call, or how it came out.
type Status string

// The statuses; a live call is Ringing or InProgress, a finished one the rest.
const (
	Ringing    Status = "ringing"
	InProgress Status = "in-progress"
	Completed  Status = "completed"
	Busy       Status = "busy"
	Failed     Status = "failed"
	Timeout    Status = "timeout"
	NoAnswer   Status = "no-answer"
	Cancelled  Status = "cancel"
	Unknown    Status = "unknown" // its end was never seen
)

// Record is what one account sees of one call. A Record that has been published
// is never changed.
type Record struct {
	ID        ID
	Account   string             // auth_id of the account or sub-account whose record it is
	Main      string             // auth_id of its main account
	Endpoint  account.EndpointID // the account's endpoint in the call, the caller where both are
	Peer      account.EndpointID // the called endpoint of an Internal call, else 0
	Direction Direction

	From       string // URI without parameters
	To         string // what was dialled
	CallerName string

	Start  time.Time // to the millisecond, UTC, as all times here
	Answer time.Time // zero: never answered
	End    time.Time // zero: live

	Status  Status
	Cause   Cause // zero: live
	Source  Source
	SIPCode int    // the INVITE's final status, 0 before it
	Reason  string // code of a refusal or of an end of ours, such as permission.allow_phones

	Codec       string // first audio codec of the answer
	Trunk       string
	Application string
	UserAgent   string // of the caller
	Transport   string // the caller's: udp, tcp, tls, ws, wss
	Legs        []Leg
}

// Leg is one device that was called.
type Leg struct {
	To      string // address-of-record or number
	Contact string // URI of the device
	Start   time.Time
	Answer  time.Time // zero: it did not answer
	End     time.Time // zero: live
	SIPCode int       // its final status, 0 before it
}

// Live reports whether the call is not over.
func (r *Record) Live() bool { return r.End.IsZero() }

// Duration is the time from the first ring to the end, or to now for a live call.
func (r *Record) Duration(now time.Time) time.Duration { return r.until(now).Sub(r.Start) }

// Billed is the time from the answer to the end, or to now for a live call; 0
// for a call that was not answered.
func (r *Record) Billed(now time.Time) time.Duration {
	if r.Answer.IsZero() {
		return 0
	}
	return r.until(now).Sub(r.Answer)
}

func (r *Record) until(now time.Time) time.Time {
	if r.Live() {
		return now
	}
	return r.End
}

// Concerns reports whether an endpoint takes part in the call.
func (r *Record) Concerns(id account.EndpointID) bool { return r.Endpoint == id || r.Peer == id }
