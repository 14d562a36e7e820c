package sipevent

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"onhook/internal/location"
	"onhook/internal/sip"
	"onhook/internal/siptransaction"
)

// dialog names a subscription (RFC 6665 4.4.1).
type dialog struct{ callID, local, remote string }

// change is what last happened to one binding.
type change struct {
	kind    location.EventType
	binding location.Binding
}

// maxChanges of a subscription are told one by one; more as the whole state.
const maxChanges = 32

// subscription is one subscriber's. The Notifier's lock guards it.
type subscription struct {
	dialog
	aor        AOR
	flow       sip.Flow // the way to the subscriber
	target     string   // its Contact
	routes     []string // the Record-Route values of its SUBSCRIBE
	from, to   string   // of our NOTIFYs
	event      string   // the Event, with its id
	remoteCSeq uint32
	cseq       uint32
	expires    time.Time
	ends       *siptransaction.Timer

	version uint32
	full    bool     // the whole state is to be told
	changes []change // or these
	over    string   // why it ends, "" while it is active
	sending bool     // a NOTIFY waits for its answer
	sent    time.Time
	later   *siptransaction.Timer // for what has to wait for Interval
}

// note takes in one change.
func (s *subscription) note(e location.Event) {
	if s.full {
		return
	}
	if i := slices.IndexFunc(s.changes, func(c change) bool { return c.binding.ID == e.Binding.ID }); i >= 0 {
		s.changes[i] = change{e.Type, e.Binding}
		return
	}
	if len(s.changes) == maxChanges {
		s.full, s.changes = true, nil
		return
	}
	s.changes = append(s.changes, change{e.Type, e.Binding})
}

// schedule adds to due what is to be told now, and sets a timer for what has to
// wait. The caller holds mu.
func (n *Notifier) schedule(s *subscription, due []*subscription) []*subscription {
	if s.sending || s.later != nil || !s.full && len(s.changes) == 0 {
		return due
	}
	wait := n.cfg.Interval - time.Since(s.sent)
	if wait <= 0 {
		return append(due, s)
	}
	s.later = n.cfg.Transactions.AfterFunc(wait, func() {
		n.mu.Lock()
		s.later = nil
		n.mu.Unlock()
		n.notify(s)
	})
	return due
}

// expired looks whether a subscription has come to its end.
func (n *Notifier) expired(s *subscription) {
	n.mu.Lock()
	var due []*subscription
	if left := time.Until(s.expires); left > 0 {
		s.ends = n.cfg.Transactions.AfterFunc(left, func() { n.expired(s) })
	} else {
		due = n.end([]*subscription{s}, "timeout")
	}
	n.mu.Unlock()
	n.notify(due...)
}

// notify sends each subscription's NOTIFY, if there is anything to tell.
func (n *Notifier) notify(due ...*subscription) {
	for _, s := range due {
		if flow, msg, ok := n.next(s); ok {
			n.stats.notified.Add(1)
			if _, err := n.cfg.Transactions.Request(flow, msg, delivery{n, s}); err != nil {
				n.lost(s)
			}
		}
	}
}

// next takes what a subscription has to tell and writes it.
func (n *Notifier) next(s *subscription) (sip.Flow, []byte, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.dialogs[s.dialog] != s || s.sending || !s.full && len(s.changes) == 0 && s.over == "" {
		return sip.Flow{}, nil, false
	}
	now := time.Now()
	body, err := document(s.aor, s.version, s.full, n.cfg.Index.Lookup(s.aor.Key, nil), s.changes, now)
	if err != nil {
		n.cfg.Logger.Error("a registration cannot be written as a document", "error", err)
		n.remove(s)
		return sip.Flow{}, nil, false
	}
	s.cseq++
	s.version++
	s.sending, s.sent, s.full, s.changes = true, now, false, nil
	msg := n.render(s, body, now)
	if s.over != "" {
		n.remove(s)
	}
	return s.flow, msg, true
}

// render writes the NOTIFY (RFC 6665 4.2.2).
func (n *Notifier) render(s *subscription, body []byte, now time.Time) []byte {
	dst := sip.AppendRequestLine(make([]byte, 0, 1024+len(body)), sip.NOTIFY, s.target)
	dst = sip.AppendHeader(dst, sip.Via, "SIP/2.0/"+s.flow.Transport.String()+" "+n.cfg.SentBy(s.flow)+";branch="+siptransaction.NewBranch())
	dst = sip.AppendNumber(dst, sip.MaxForwards, 70)
	for _, route := range s.routes {
		dst = sip.AppendHeader(dst, sip.Route, route)
	}
	dst = sip.AppendHeader(dst, sip.From, s.from)
	dst = sip.AppendHeader(dst, sip.To, s.to)
	dst = sip.AppendHeader(dst, sip.CallID, s.callID)
	dst = sip.AppendHeader(dst, sip.CSeq, strconv.FormatUint(uint64(s.cseq), 10)+" NOTIFY")
	dst = n.appendContact(dst, s.flow)
	dst = sip.AppendHeader(dst, sip.Event, s.event)
	state := "terminated;reason=" + s.over
	if s.over == "" {
		state = "active;expires=" + strconv.FormatInt(secondsUntil(s.expires, now), 10)
	}
	dst = sip.AppendHeader(dst, sip.SubscriptionState, state)
	dst = sip.AppendHeader(dst, sip.ContentType, ContentType)
	return sip.AppendBody(dst, body)
}

func (n *Notifier) appendContact(dst []byte, flow sip.Flow) []byte {
	dst = append(dst, "Contact: <"...)
	dst = n.cfg.OwnURI(dst, flow)
	return append(dst, ">\r\n"...)
}

func secondsUntil(at, now time.Time) int64 {
	return max(0, int64((at.Sub(now)+time.Second-1)/time.Second))
}

// delivery is one NOTIFY on its way (siptransaction.ClientUser).
type delivery struct {
	n *Notifier
	s *subscription
}

// Response takes the subscriber's answer. RFC 6665 4.2.2: one who refuses has no
// such subscription any more; that goes for every refusal here, since
// whoever still wants to know subscribes again.
func (d delivery) Response(_ *siptransaction.Client, resp *sip.Message) {
	switch {
	case resp.Status < 200:
	case resp.Status < 300:
		d.n.delivered(d.s)
	default:
		d.n.lost(d.s)
	}
}

// Failed takes the end of a NOTIFY that nobody answered.
func (d delivery) Failed(*siptransaction.Client, error) { d.n.lost(d.s) }

func (n *Notifier) delivered(s *subscription) {
	n.mu.Lock()
	s.sending = false
	var due []*subscription
	if n.dialogs[s.dialog] == s {
		due = n.schedule(s, nil)
	}
	n.mu.Unlock()
	n.notify(due...)
}

// lost ends a subscription whose subscriber cannot be told anything.
func (n *Notifier) lost(s *subscription) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.dialogs[s.dialog] == s {
		n.stats.failed.Add(1)
		n.remove(s)
	}
}

// eventPackage is the event type of an Event value, without its parameters.
func eventPackage(value string) string {
	name, _, _ := strings.Cut(value, ";")
	return strings.TrimSpace(name)
}
