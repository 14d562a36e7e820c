// Package siptrace keeps the last attempts of each endpoint to register, to
// call and to be called: the messages as they came and went, with credentials
// masked, in bounded memory. It says what became of an attempt and, where it is
// known, why. It sends nothing and decides nothing.
package siptrace

import (
	"hash/maphash"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"onhook/internal/sip"
)

// Kind is what an attempt was for.
type Kind string

// The kinds of attempts.
const (
	Register Kind = "register"
	Call     Kind = "call"
	Message  Kind = "message"
)

// Entry is one message of an attempt.
type Entry struct {
	At        time.Time
	From, To  netip.AddrPort
	Transport sip.Transport
	Text      []byte // masked; not to be changed
}

// Attempt is one attempt with what became of it.
type Attempt struct {
	ID       string
	Kind     Kind
	Started  time.Time
	Messages []Entry
	Omitted  int // messages that were too many to keep
	Verdict
}

// Config is what a Recorder is made of.
type Config struct {
	MaxBytes    int     // of all attempts; 0 means 64 MiB
	PerEndpoint int     // attempts kept of one endpoint; 0 means 20
	Rate        float64 // attempts begun a second, more are not recorded; 0 means 200
	// Owners appends the endpoints that an attempt's first request concerns, and
	// Nobody where it names one that there is not; an attempt that concerns none is
	// not recorded.
	Owners func(m *sip.Message, dst []uint64) []uint64
	// Local is the address at our end of a flow.
	Local func(sip.Flow) netip.AddrPort
}

// Nobody owns the attempts for names that nobody has. They are recorded, in the
// room of one endpoint, as those for known names are: a stranger must not learn
// from the time that an answer takes which names exist.
const Nobody uint64 = 0

const (
	maxMessages = 64      // of one attempt
	usual       = 4       // messages of a registration: two requests and their answers
	maxText     = 8 << 10 // bytes of one message
	overhead    = 256     // bytes counted for what surrounds a text
)

// Recorder records. A nil one records nothing.
type Recorder struct {
	Config
	seed  maphash.Seed
	rate  bucket
	names bucket // of attempts that concern nobody: a scan leaves the others their rate
	table [64]shard

	mu     sync.Mutex
	rings  map[uint64][]*attempt // by endpoint, oldest first
	oldest *attempt              // of all on record, in the order they began
	newest *attempt
	bytes  int
	last   uint64 // number of the last attempt
}

// shard holds the attempts that may go on, by the hash of their Call-ID.
type shard struct {
	mu     sync.Mutex
	byCall map[uint64]*attempt
}

// attempt is one on record. Its messages are guarded by its shard's lock, its
// place in the rings by the Recorder's, which is taken first where both are.
type attempt struct {
	call    uint64 // hash of the Call-ID
	id      string
	kind    Kind
	started time.Time
	entries []entry
	omitted int
	settled bool // a REGISTER has its final answer: the next one is another attempt
	untold  string

	owners         []uint64
	size           int
	previous, next *attempt
	gone           bool
}

type entry struct {
	at   time.Time
	flow sip.Flow
	in   bool
	text []byte
}

// New makes a Recorder.
func New(c Config) *Recorder {
	if c.MaxBytes == 0 {
		c.MaxBytes = 64 << 20
	}
	if c.PerEndpoint == 0 {
		c.PerEndpoint = 20
	}
	if c.Rate == 0 {
		c.Rate = 200
	}
	full := func() bucket { return bucket{rate: c.Rate, tokens: c.Rate} }
	r := &Recorder{Config: c, seed: maphash.MakeSeed(), rate: full(), names: full(), rings: map[uint64][]*attempt{}}
	for i := range r.table {
		r.table[i].byCall = map[uint64]*attempt{}
	}
	return r
}

// In records a message that came.
func (r *Recorder) In(m *sip.Message, flow sip.Flow) {
	if r == nil {
		return
	}
	call := maphash.String(r.seed, m.CallID)
	s := r.shard(call)
	s.mu.Lock()
	a := s.byCall[call]
	if m.IsRequest() && m.To.Tag() == "" && (a == nil || a.settled) {
		s.mu.Unlock()
		if a = r.begin(m, call); a == nil {
			return
		}
		s.mu.Lock()
	}
	if a == nil {
		s.mu.Unlock()
		return
	}
	grown := a.add(entry{time.Now(), flow, true, nil}, m.Bytes())
	s.mu.Unlock()
	r.count(a, grown)
}

// Out records a message that is sent.
func (r *Recorder) Out(msg []byte, flow sip.Flow) {
	if r == nil {
		return
	}
	call := maphash.Bytes(r.seed, callID(msg))
	s := r.shard(call)
	s.mu.Lock()
	a := s.byCall[call]
	if a == nil {
		s.mu.Unlock()
		return
	}
	grown := a.add(entry{time.Now(), flow, false, nil}, msg)
	a.settled = a.settled || a.kind == Register && final(msg)
	s.mu.Unlock()
	r.count(a, grown)
}

// Untold notes the reason of a refusal that the caller is not told.
func (r *Recorder) Untold(m *sip.Message, reason string) {
	if r == nil || reason == "" {
		return
	}
	call := maphash.String(r.seed, m.CallID)
	s := r.shard(call)
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.byCall[call]; a != nil {
		a.untold = reason
	}
}

func (r *Recorder) shard(call uint64) *shard { return &r.table[call%uint64(len(r.table))] }

// add keeps a message; it returns by how much the attempt has grown. The shard
// is locked.
func (a *attempt) add(e entry, text []byte) (grown int) {
	if len(a.entries) == maxMessages {
		a.omitted++
		return 0
	}
	e.text = masked(text[:min(len(text), maxText)])
	a.entries = append(a.entries, e)
	return len(e.text) + overhead
}

// begin starts an attempt, unless it concerns nobody or there are too many.
func (r *Recorder) begin(m *sip.Message, call uint64) *attempt {
	now := time.Now()
	kind, ok := kindOf(m.Method)
	if !ok || !r.rate.left(now) {
		return nil
	}
	owners := r.Owners(m, nil)
	if len(owners) == 0 {
		return nil
	}
	rate := &r.rate
	if owners[0] == Nobody {
		rate = &r.names
	}
	if !rate.take(now) {
		return nil
	}
	a := &attempt{call: call, kind: kind, started: now, owners: owners, entries: make([]entry, 0, usual), size: overhead}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	a.id = strconv.FormatUint(r.last, 36)
	r.bytes += a.size
	if a.previous = r.newest; a.previous == nil {
		r.oldest = a
	} else {
		a.previous.next = a
	}
	r.newest = a
	for _, key := range owners {
		ring := append(r.rings[key], a)
		if len(ring) > r.PerEndpoint {
			ring = r.leave(ring, key)
		}
		r.rings[key] = ring
	}
	s := r.shard(call)
	s.mu.Lock()
	s.byCall[call] = a
	s.mu.Unlock()
	return a
}

func kindOf(m sip.Method) (Kind, bool) {
	switch m {
	case sip.REGISTER:
		return Register, true
	case sip.INVITE:
		return Call, true
	case sip.MESSAGE:
		return Message, true
	}
	return "", false
}

// leave takes the least telling attempt out of a full ring: the oldest in which
// somebody only asked and was challenged, as scanners do, or else the oldest.
// The caller holds mu.
func (r *Recorder) leave(ring []*attempt, key uint64) []*attempt {
	at := 0
	for i, a := range ring[:len(ring)-1] {
		if r.knocked(a) {
			at = i
			break
		}
	}
	a := ring[at]
	ring = append(ring[:at], ring[at+1:]...)
	for i, owner := range a.owners {
		if owner == key {
			a.owners = append(a.owners[:i], a.owners[i+1:]...)
			break
		}
	}
	if len(a.owners) == 0 {
		r.forget(a)
	}
	return ring
}

// knocked reports whether an attempt is no more than a request and its
// challenge.
func (r *Recorder) knocked(a *attempt) bool {
	s := r.shard(a.call)
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(a.entries) == 2 && challenged(a.entries[1].text)
}

// forget gives an attempt's memory back. The caller holds mu.
func (r *Recorder) forget(a *attempt) {
	if a.gone {
		return
	}
	a.gone = true
	r.bytes -= a.size
	s := r.shard(a.call)
	s.mu.Lock()
	if s.byCall[a.call] == a {
		delete(s.byCall, a.call)
	}
	a.entries = nil
	s.mu.Unlock()
	if a.previous == nil {
		r.oldest = a.next
	} else {
		a.previous.next = a.next
	}
	if a.next == nil {
		r.newest = a.previous
	} else {
		a.next.previous = a.previous
	}
}

// count adds what an attempt has grown by, and drops the oldest ones while all
// are too large.
func (r *Recorder) count(a *attempt, grown int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a.gone {
		return
	}
	a.size += grown
	r.bytes += grown
	for r.bytes > r.MaxBytes && r.oldest != nil && r.oldest != a {
		old := r.oldest
		for _, key := range old.owners {
			ring := r.rings[key]
			for i := range ring {
				if ring[i] == old {
					ring = append(ring[:i], ring[i+1:]...)
					break
				}
			}
			if r.rings[key] = ring; len(ring) == 0 {
				delete(r.rings, key)
			}
		}
		old.owners = nil
		r.forget(old)
	}
}

// Attempts returns what is on record of an endpoint, newest first.
func (r *Recorder) Attempts(endpoint uint64) []Attempt {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	ring := append([]*attempt(nil), r.rings[endpoint]...)
	r.mu.Unlock()
	now := time.Now()
	all := make([]Attempt, 0, len(ring))
	for i := len(ring) - 1; i >= 0; i-- {
		a := ring[i]
		s := r.shard(a.call)
		s.mu.Lock()
		out := Attempt{ID: a.id, Kind: a.kind, Started: a.started, Omitted: a.omitted}
		entries, untold := append([]entry(nil), a.entries...), a.untold
		s.mu.Unlock()
		if len(entries) == 0 { // dropped meanwhile
			continue
		}
		for _, e := range entries {
			out.Messages = append(out.Messages, r.shown(e))
		}
		out.Verdict = judge(a.kind, entries, untold, now)
		all = append(all, out)
	}
	return all
}

func (r *Recorder) shown(e entry) Entry {
	from, to := e.flow.Remote, r.Local(e.flow)
	if !e.in {
		from, to = to, from
	}
	return Entry{At: e.at, From: from, To: to, Transport: e.flow.Transport, Text: e.text}
}

// Forget drops everything about an endpoint that exists no more.
func (r *Recorder) Forget(endpoint uint64) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for ring := r.rings[endpoint]; len(ring) > 0; {
		ring = r.leave(ring, endpoint)
	}
	delete(r.rings, endpoint)
}

// Stats are the present sizes.
type Stats struct {
	Bytes     int
	Endpoints int
}

// Stats returns the present sizes.
func (r *Recorder) Stats() Stats {
	if r == nil {
		return Stats{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	endpoints := len(r.rings)
	if _, some := r.rings[Nobody]; some {
		endpoints--
	}
	return Stats{Bytes: r.bytes, Endpoints: endpoints}
}
