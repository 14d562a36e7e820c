package server

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"onhook/internal/account"
	"onhook/internal/routing"
	"onhook/internal/sip"
	"onhook/internal/sipproxy"
)

// attempts decides which refused calls become records. The rule: an attempt is
// a record of the calling endpoint's account, or, where the caller is from
// outside, of the called endpoint's; one that concerns no endpoint, such as a
// scanner's for a name that there is not, is none. What is refused before anybody
// has shown who he is, by its form, its credentials or for want of room, is the
// endpoint's that alone is registered on the connection, or nobody's. Of one endpoint at most
// attemptBurst are recorded at once and one every attemptEvery afterwards, so
// that nobody fills the database; the rest is counted. A repetition of the same
// request is not another attempt.
type attempts struct {
	seed    maphash.Seed
	mu      sync.Mutex
	slots   [attemptSlots]attemptSlot // by endpoint; two in one slot share its measure
	sampled atomic.Uint64
}

const (
	attemptSlots = 4096
	attemptBurst = 30
	attemptEvery = 2 * time.Second
)

type attemptSlot struct {
	last uint64    // hash of the last attempt
	free time.Time // when all of the burst is there again
}

// admit reports whether an endpoint's attempt becomes a record.
func (a *attempts) admit(id account.EndpointID, m *sip.Message, now time.Time) bool {
	var h maphash.Hash
	h.SetSeed(a.seed)
	h.WriteString(m.CallID)
	h.WriteString(m.Via.Branch())
	hash := h.Sum64()
	a.mu.Lock()
	defer a.mu.Unlock()
	s := &a.slots[uint64(id)%attemptSlots]
	if s.last == hash {
		return false
	}
	s.last = hash
	if s.free.Before(now) {
		s.free = now
	}
	if s.free.Sub(now) > (attemptBurst-1)*attemptEvery {
		a.sampled.Add(1)
		return false
	}
	s.free = s.free.Add(attemptEvery)
	return true
}

// attempted makes a record of a refused call, if it is to be one.
func (p *path) attempted(m *sip.Message, flow sip.Flow, caller sipproxy.Caller, callee routing.Endpoint, status int, reason string) {
	if m.Method != sip.INVITE {
		return
	}
	of := caller.Endpoint
	if of == 0 {
		of = callee.ID
	}
	if of == 0 || !p.attempts.admit(of, m, time.Now()) {
		return
	}
	p.proxy.Refused(m, flow, caller, callee, status, reason)
}

// refuseCall refuses a request before it is known who is asking.
func (p *path) refuseCall(m *sip.Message, flow sip.Flow, status int, reason, sentence string) {
	p.refuse(m, flow, status, reason, sentence)
	p.refusedEarly(m, flow, status, reason)
}

// refusedEarly makes a record of a call that was refused before it was known who
// is asking, if it is to be one.
func (p *path) refusedEarly(m *sip.Message, flow sip.Flow, status int, reason string) {
	if e, ok := p.onConnection(flow); ok && m.To.Tag() == "" {
		p.attempted(m, flow, calling(routable(e)), routing.Endpoint{}, status, reason)
	}
}

// calling is an endpoint as the proxy knows a caller.
func calling(e routing.Endpoint) sipproxy.Caller {
	return sipproxy.Caller{Endpoint: e.ID, Owner: e.Owner, Main: e.Main, Identity: e.AOR()}
}
