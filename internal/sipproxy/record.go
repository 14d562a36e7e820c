package sipproxy

import (
	"slices"
	"time"

	"onhook/internal/callrecord"
	"onhook/internal/routing"
	"onhook/internal/sip"
)

// Records takes the records of finished calls; it must not block.
type Records interface {
	// Put takes the records of one call: one for each account that it concerns.
	Put(records []*callrecord.Record)
}

// publish tells those who want to know what has happened to a call. The call is
// locked, so that the events of one call come in order.
func (p *Proxy) publish(c *call, typ callrecord.EventType) {
	keep := typ == callrecord.Ended && p.Records != nil
	tell := p.Feeds != nil && p.Feeds.Watched()
	if !c.invite {
		return
	}
	var records []*callrecord.Record
	if keep || tell {
		records = c.records()
	}
	keep = keep && len(records) > 0
	if tell {
		at := time.Now().UTC()
		for _, r := range records {
			p.Feeds.Publish(callrecord.Event{Type: typ, Record: r, At: at})
		}
	}
	if keep {
		p.Records.Put(records)
	} else if typ == callrecord.Ended {
		p.Stored([]CallID{c.id})
	}
}

// records are what the accounts of the call see of it: one of them, two, or
// nobody, and those of redirecting callees. The call is locked.
func (c *call) records() (records []*callrecord.Record) {
	switch {
	case c.caller.Owner != "" && c.caller.Owner == c.callee.Owner:
		r := c.record(c.caller, callrecord.Internal)
		r.Peer = c.callee.Endpoint
		records = append(records, r)
	default:
		if c.caller.Owner != "" {
			records = append(records, c.record(c.caller, callrecord.Outbound))
		}
		if c.callee.Owner != "" {
			records = append(records, c.record(c.callee, callrecord.Inbound))
		}
	}
	for _, p := range c.passed {
		has := func(r *callrecord.Record) bool { return r.Account == p.from.Owner }
		if p.from.Owner != "" && !slices.ContainsFunc(records, has) {
			records = append(records, c.record(p.from, callrecord.Inbound))
		}
	}
	return records
}

func (c *call) record(of party, direction callrecord.Direction) *callrecord.Record {
	whole := &struct { // one piece of memory: one device is the rule
		record callrecord.Record
		legs   [1]callrecord.Leg
	}{}
	r := &whole.record
	*r = callrecord.Record{
		ID: c.id, Account: of.Owner, Main: of.Main, Endpoint: of.Endpoint, Direction: direction,
		From: c.fromURI, To: c.dialled, CallerName: c.display,
		Start: moment(c.start), Answer: moment(c.answer), End: moment(c.end),
		Status: c.outcome.Status, Cause: c.outcome.Cause, Source: c.outcome.Source, SIPCode: c.status, Reason: c.reason,
		Codec: c.codec, Trunk: c.trunk, UserAgent: c.userAgent, Transport: c.from.Flow.Transport.Param(),
		Legs: whole.legs[:min(len(c.legs), 1)],
	}
	if len(c.legs) > 1 {
		r.Legs = make([]callrecord.Leg, len(c.legs))
	}
	if !c.over {
		r.Status = callrecord.Ringing
		if c.answer != 0 {
			r.Status = callrecord.InProgress
		}
	}
	for i, l := range c.legs {
		r.Legs[i] = callrecord.Leg{To: c.legTo(i), Contact: l.contact, Start: moment(l.start), Answer: moment(l.answer), End: moment(l.end), SIPCode: l.status}
	}
	return r
}

// Refused makes the record of a call that was refused before it went anywhere.
func (p *Proxy) Refused(req *sip.Message, source sip.Flow, caller Caller, callee routing.Endpoint, status int, reason string) {
	now := time.Now()
	c := newCall(callrecord.NewID(now), p.calls.epoch, req, side{Flow: source}, caller, callee, now)
	c.pending, c.over, c.end, c.status, c.reason = false, true, now.UnixMilli(), status, reason
	var ok bool
	if c.outcome, ok = callrecord.OfReason(reason); !ok {
		c.outcome = callrecord.OfStatus(status)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p.publish(c, callrecord.Ended)
}

// moment is a time of a call's; zero for 0.
func moment(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// Live returns the calls in progress of which an account has a record, as far as
// they have come.
func (p *Proxy) Live(account string) (live []*callrecord.Record) {
	p.calls.each(func(c *call) {
		if !c.concerns(account) {
			return
		}
		for _, r := range p.liveRecords(c) {
			if r.Account == account {
				live = append(live, r)
			}
		}
	})
	return live
}

// concerns reports whether an account gets a record of the call.
func (c *call) concerns(account string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	redirected := func(p passage) bool { return p.from.Owner == account }
	return c.caller.Owner == account || c.callee.Owner == account || slices.ContainsFunc(c.passed, redirected)
}

// LiveCall returns the records so far of one call in progress, none when there
// is no such call.
func (p *Proxy) LiveCall(id CallID) []*callrecord.Record {
	c := p.calls.get(id)
	if c == nil {
		return nil
	}
	return p.liveRecords(c)
}

func (p *Proxy) liveRecords(c *call) []*callrecord.Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over || !c.invite {
		return nil
	}
	return c.records()
}
