package sipevent

import (
	"crypto/rand"
	"strings"
	"time"

	"onhook/internal/location"
	"onhook/internal/sip"
)

// Bounds of what a subscriber may make us keep.
const (
	maxValue  = 1024 // of one header field
	maxRoutes = 8
)

// Replier answers a SUBSCRIBE; *siptransaction.Server is one.
type Replier interface{ Respond(status int, msg []byte) }

// Wants reports whether a SUBSCRIBE is for this event package (RFC 6665 8.2.1).
func Wants(m *sip.Message) bool {
	v, _ := m.Value(sip.Event)
	return eventPackage(v) == Package
}

// Find returns whose registration an in-dialog SUBSCRIBE refreshes its
// subscription to; false when there is no such subscription.
func (n *Notifier) Find(m *sip.Message) (location.Key, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.dialogs[dialogOf(m)]
	if s == nil {
		return 0, false
	}
	return s.aor.Key, true
}

func dialogOf(m *sip.Message) dialog { return dialog{m.CallID, m.To.Tag(), m.From.Tag()} }

// Subscribe answers an authorised SUBSCRIBE that came over flow: one that begins
// a subscription, or one that refreshes or ends it (RFC 6665 4.2.1).
func (n *Notifier) Subscribe(tx Replier, m *sip.Message, flow sip.Flow, aor AOR) {
	r := &reply{n: n, tx: tx, m: m, flow: flow}
	if !accepts(m) {
		r.refuse(406)
		return
	}
	asked, ok := m.Number(sip.Expires)
	expires := time.Duration(asked) * time.Second
	if !ok {
		expires = n.cfg.DefaultExpires
	}
	// RFC 6665 4.2.1.1: an interval that is too short, but not 0, gets 423.
	if expires > 0 && expires < n.cfg.MinExpires {
		r.refuse(423)
		return
	}
	expires = min(expires, n.cfg.MaxExpires)
	if m.To.Tag() != "" {
		n.refresh(r, expires)
		return
	}
	n.begin(r, expires, aor)
}

// accepts reports whether a subscriber reads our documents (RFC 3680 4.5).
func accepts(m *sip.Message) bool {
	any := false
	for c := m.Values(sip.Accept); c.Next(); {
		kind, _, _ := strings.Cut(c.Value, ";")
		switch kind = strings.TrimSpace(kind); {
		case strings.EqualFold(kind, ContentType), kind == "*/*", strings.EqualFold(kind, "application/*"):
			return true
		}
		any = true
	}
	return !any
}

// begin makes a subscription. RFC 6665 4.2.1.1: it is answered with 200, and the
// first NOTIFY follows at once.
func (n *Notifier) begin(r *reply, expires time.Duration, aor AOR) {
	m := r.m
	s := &subscription{aor: aor, flow: r.flow, full: true, remoteCSeq: m.CSeq}
	s.dialog = dialog{strings.Clone(m.CallID), rand.Text(), strings.Clone(m.From.Tag())}
	from, _ := m.Value(sip.From)
	to, _ := m.Value(sip.To)
	event, _ := m.Value(sip.Event)
	s.from, s.to, s.event = strings.Clone(to)+";tag="+s.local, strings.Clone(from), strings.Clone(event)
	target, ok := contactOf(m)
	for c := m.Values(sip.RecordRoute); c.Next(); {
		ok = ok && len(c.Value) <= maxValue && len(s.routes) < maxRoutes
		s.routes = append(s.routes, strings.Clone(c.Value))
	}
	if !ok || s.remote == "" || max(len(from), len(to), len(event), len(m.CallID)) > maxValue {
		r.refuse(400)
		return
	}
	s.target, s.expires = target, time.Now().Add(expires)
	if expires == 0 { // RFC 6665 4.4.3: a fetch is a subscription that ends at once
		s.over = "timeout"
	}
	n.mu.Lock()
	if !n.add(s) {
		n.mu.Unlock()
		r.refuse(503)
		return
	}
	s.sending = true // until the 200 is on its way
	if expires > 0 {
		s.ends = n.cfg.Transactions.AfterFunc(expires, func() { n.expired(s) })
	}
	n.mu.Unlock()
	r.ok(s.local, expires)
	n.release(s)
}

// refresh prolongs a subscription, or ends it.
func (n *Notifier) refresh(r *reply, expires time.Duration) {
	m := r.m
	target, ok := contactOf(m)
	n.mu.Lock()
	s := n.dialogs[dialogOf(m)]
	switch {
	case s == nil: // it has ended meanwhile
		n.mu.Unlock()
		r.refuse(481)
		return
	case m.CSeq <= s.remoteCSeq: // RFC 3261 12.2.2
		n.mu.Unlock()
		r.refuse(500)
		return
	}
	s.remoteCSeq = m.CSeq
	if ok { // RFC 6665 4.4.1: a SUBSCRIBE is a target refresh
		s.target = target
	}
	drop(n.conns, s.flow.Conn, s)
	s.flow = r.flow
	n.onConn(s)
	s.expires, s.full, s.sending = time.Now().Add(expires), true, true
	if expires == 0 {
		s.over = "timeout"
	}
	if s.ends != nil { // else it fires where it finds a later end
		s.ends.Stop()
	}
	s.ends = n.cfg.Transactions.AfterFunc(expires, func() { n.expired(s) })
	if s.later != nil {
		s.later.Stop()
		s.later = nil
	}
	n.mu.Unlock()
	r.ok(s.local, expires)
	n.release(s)
}

// release lets the NOTIFY follow the 200. RFC 6665 4.2.1.2: it waits for nothing
// else, Interval included.
func (n *Notifier) release(s *subscription) {
	n.mu.Lock()
	s.sending = false
	n.mu.Unlock()
	n.notify(s)
}

func contactOf(m *sip.Message) (string, bool) {
	c := m.Values(sip.Contact)
	if !c.Next() || len(c.Value) > maxValue {
		return "", false
	}
	a, err := sip.ParseNameAddr(c.Value)
	if err != nil {
		return "", false
	}
	u, err := sip.ParseURI(a.URI)
	return strings.Clone(a.URI), err == nil && u.IsSIP()
}

// reply is the answer to one SUBSCRIBE.
type reply struct {
	n    *Notifier
	tx   Replier
	m    *sip.Message
	flow sip.Flow
}

func (r *reply) ok(tag string, expires time.Duration) {
	msg := sip.AppendReply(nil, r.m, r.flow.Remote, 200, "", tag)
	for c := r.m.Values(sip.RecordRoute); c.Next(); {
		msg = sip.AppendHeader(msg, sip.RecordRoute, c.Value)
	}
	msg = r.n.appendContact(msg, r.flow)
	msg = sip.AppendNumber(msg, sip.Expires, uint32(expires/time.Second))
	r.tx.Respond(200, sip.AppendBody(msg, nil))
}

func (r *reply) refuse(status int) {
	msg := sip.AppendReply(nil, r.m, r.flow.Remote, status, "", rand.Text())
	switch status {
	case 406:
		msg = sip.AppendHeader(msg, sip.Accept, ContentType)
	case 423:
		msg = sip.AppendNumber(msg, sip.MinExpires, uint32((r.n.cfg.MinExpires+time.Second-1)/time.Second))
	case 503:
		msg = sip.AppendNumber(msg, sip.RetryAfter, 60)
	}
	r.tx.Respond(status, sip.AppendBody(msg, nil))
}
