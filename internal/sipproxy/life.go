package sipproxy

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"onhook/internal/account"
	"onhook/internal/callrecord"
	"onhook/internal/sip"
	"onhook/internal/siptransaction"
)

// standing is how a dialog stands with a request that wants to go on in it.
type standing uint8

const (
	dialogOpen standing = iota
	dialogClosed
	dialogEnded // by us: its phones may not know it yet
)

// touch looks whether the dialog of a cookie is open, keeps its call so, and
// notes what the request, sent by that end, says of it.
func (p *Proxy) touch(k *cookie, t tag, sender int, req *sip.Message, now time.Time) standing {
	c := p.calls.get(k.Call)
	if c == nil {
		if c = p.fromCookie(k, t, sender, req, now); c == nil {
			return dialogClosed
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.dialog(t)
	switch {
	case c.over && c.byUs:
		return dialogEnded
	case c.over, d != nil && d.closed:
		return dialogClosed
	case d == nil && c.epoch != p.calls.epoch: // answered in the last moment of the process before
		d = c.addDialog(dialog{tag: t})
	}
	c.seen = now.UnixMilli()
	if d == nil {
		return dialogOpen // early, or one too many to be followed
	}
	changed := d.learn(req, req.Method, sender, now)
	if req.Method == sip.ACK {
		d.acked = true
	} else if req.CSeq > d.cseq[sender] {
		d.cseq[sender] = req.CSeq
		changed = changed || req.Method != sip.BYE
	}
	if changed {
		p.keep(c)
	}
	return dialogOpen
}

// begun tells of a call that is on its way.
func (p *Proxy) begun(c *call) {
	if p.journal != nil && c.invite {
		p.journal.rings(c, time.UnixMilli(c.start))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p.publish(c, callrecord.Started)
}

// refreshed takes from the 2xx to a request within a dialog what it changes.
func (p *Proxy) refreshed(c *call, a *Admission, resp *sip.Message, now time.Time) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.dialog(a.dialog)
	if d == nil || c.over {
		return
	}
	before := d.expires
	if d.learn(resp, resp.CSeqMethod, 1-a.sender, now) || d.expires != before {
		p.keep(c)
	}
	p.watchSession(c, d, now)
}

// fromCookie opens a call of a process before this one, of which its cookie and a
// request within it are all there is; nil when it is known to be over.
func (p *Proxy) fromCookie(k *cookie, t tag, sender int, req *sip.Message, now time.Time) *call {
	if k.Epoch == p.calls.epoch || p.calls.hasEnded(k.Call, t) || p.endedBefore(k) {
		return nil
	}
	c := &call{id: k.Call, epoch: k.Epoch, invite: k.Invite, from: k.Caller, seen: now.UnixMilli()}
	if k.Invite && p.journal != nil && p.journal.epochs[k.Epoch] {
		p.reconstruct(c, k, sender, req)
	}
	if !p.calls.begin(c) {
		return nil
	}
	return c
}

// reconstruct makes of a cookie and a request what the record of a call can say
// that was answered in the last moment of a process: it had begun as shortly
// before, or it would be in the journal.
func (p *Proxy) reconstruct(c *call, k *cookie, sender int, req *sip.Message) {
	c.start = k.Call.Time().UnixMilli()
	c.answer, c.status = c.start, 200
	c.caller, c.callee = p.partyOf(k.Caller.Endpoint), p.partyOf(k.Callee.Endpoint)
	from, to, contact := req.From.URI, req.To.URI, req.RequestURI
	if sender == calleeEnd {
		from, to, contact = to, from, ""
	}
	c.fromURI, c.dialled = strings.Clone(bareURI(from)), strings.Clone(bareURI(to))
	c.calleeName = c.dialled
	c.legs = append(c.legs, leg{contact: strings.Clone(contact), start: c.start, answer: c.answer, status: c.status})
	p.counts(c)
}

// counts has a call of a process before this one counted by the limiter.
func (p *Proxy) counts(c *call) {
	if c.caller.Endpoint != 0 && p.Limiter != nil {
		p.Limiter.Resume(c.caller.Endpoint, c.caller.Owner, c.caller.Main)
		c.counted = true
	}
}

func (p *Proxy) partyOf(id account.EndpointID) party {
	if id == 0 || p.Owners == nil {
		return party{}
	}
	owner, main := p.Owners(id)
	return party{id, owner, main}
}

// addDialog adds a dialog, nil when there are too many. The call is locked.
func (c *call) addDialog(d dialog) *dialog {
	if len(c.dialogs) >= maxDialogs {
		return nil
	}
	c.dialogs = append(c.dialogs, d)
	return &c.dialogs[len(c.dialogs)-1]
}

// answered notes the 2xx that begins a dialog, and tells the first of a call. It
// does nothing for a retransmission.
func (p *Proxy) answered(c *call, b *branch, client *siptransaction.Client, resp *sip.Message, now time.Time) {
	t := hash8(resp.To.Tag())
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dialog(t) != nil || c.over {
		return
	}
	d := c.addDialog(dialog{tag: t, leg: b.leg})
	if d == nil || !c.invite {
		return
	}
	d.callee, d.client = b.side, client.ID()
	p.remember(c, d, resp)
	d.expires = sessionEnd(resp, now)
	first := c.answer == 0
	if b.leg < len(c.legs) {
		c.legs[b.leg].answer, c.legs[b.leg].status = now.UnixMilli(), resp.Status
	}
	if first {
		c.answer, c.status, c.codec = now.UnixMilli(), resp.Status, codecOf(resp.Body)
		p.publish(c, callrecord.Answered)
		p.limit(c, now)
	}
	p.keep(c)
	p.watchSession(c, d, now)
}

// limit has an answered call ended when it has lasted as long as it may. The call
// is locked.
func (p *Proxy) limit(c *call, now time.Time) {
	if c.longest <= 0 {
		return
	}
	left := max(time.UnixMilli(c.answer).Add(c.longest).Sub(now), 0)
	c.limit = p.Transactions.AfterFunc(left, func() { p.End(c.id, EndAtLimit) })
}

// remember takes from the 2xx what it takes to end the dialog. The call is locked.
func (p *Proxy) remember(c *call, d *dialog, resp *sip.Message) {
	d.cseq[callerEnd] = c.cseq
	to, _ := resp.Value(sip.To)
	contact := contactOf(resp)
	var toCallee, toCaller []string
	ours := false
	for r := resp.Values(sip.RecordRoute); r.Next(); {
		switch _, own := p.ownRoute(r.Value); {
		case own:
			ours = true
		case ours: // RFC 3261 12.1.1: the callee's route set is in this order
			toCaller = append(toCaller, r.Value)
		default: // RFC 3261 12.1.2: the caller's is the reverse
			toCallee = append(toCallee, r.Value)
		}
	}
	slices.Reverse(toCallee)
	fields := [7]string{to, contact, strings.Join(toCaller, ", "), strings.Join(toCallee, ", ")}
	if from, _ := resp.Value(sip.From); from != c.fromHeader {
		fields[4] = from
	}
	if len(fields[0])+len(fields[1])+len(fields[2])+len(fields[3])+len(fields[4]) > longestFields || c.callID == "" || contact == "" {
		return
	}
	oneCopy(&fields)
	d.to, d.from, d.target = fields[0], fields[4], [2]string{c.contact, fields[1]}
	d.routes = [2]string{fields[2], fields[3]}
}

// settled tells that the first request has its final response. A call without a
// dialog is over then, with that outcome.
func (p *Proxy) settled(c *call, status int, outcome callrecord.Outcome, reason string, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.pending {
		return
	}
	c.pending, c.fork = false, nil
	if c.open() {
		return
	}
	if c.status == 0 || status >= 300 {
		c.status = status
	}
	c.outcome, c.reason = outcome, reason
	p.finish(c, now)
}

// legEnded notes the final status of a device that did not answer.
func (c *call) legEnded(leg, status int, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if leg < len(c.legs) && c.legs[leg].end == 0 && c.legs[leg].answer == 0 {
		c.legs[leg].end, c.legs[leg].status = now.UnixMilli(), status
	}
}

// hungUp closes a dialog that one of its ends has ended at that time, and its
// call with the last.
func (p *Proxy) hungUp(k *cookie, t tag, sender int, at time.Time) {
	if k.Epoch != p.calls.epoch {
		p.calls.noteEnded(k.Call, t)
	}
	c := p.calls.get(k.Call)
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.dialog(t)
	if d == nil { // early: a BYE ends it, and no 2xx of it opens it again
		d = c.addDialog(dialog{tag: t, leg: len(c.legs)})
	}
	if d == nil || d.closed || c.over {
		return
	}
	d.closed = true
	if d.leg < len(c.legs) {
		c.legs[d.leg].end = at.UnixMilli()
	}
	if c.open() {
		return
	}
	source := callrecord.Caller
	if sender == calleeEnd {
		source = callrecord.Callee
	}
	c.outcome = callrecord.Outcome{Status: callrecord.Completed, Cause: callrecord.NormalHangup, Source: source}
	p.finish(c, at)
}

// finish ends a call of which nothing is open: it is told, its record goes to
// those who keep them, and it is forgotten; a call that we ended is remembered
// for as long as its phones may go on with it. The call is locked.
func (p *Proxy) finish(c *call, at time.Time) {
	if c.over {
		return
	}
	c.over, c.end = true, max(at.UnixMilli(), c.start)
	for i := range c.legs {
		if c.legs[i].end == 0 {
			c.legs[i].end = c.end
		}
	}
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	if c.limit != nil {
		c.limit.Stop()
		c.limit = nil
	}
	p.calls.over(c)
	p.uncounted(c)
	p.keep(c)
	p.publish(c, callrecord.Ended)
	if c.byUs {
		p.Transactions.AfterFunc(remembered, func() { p.calls.forget(c.id) })
		return
	}
	p.calls.forget(c.id)
	for i := range c.dialogs {
		p.Transactions.Over(c.dialogs[i].client)
	}
}

// remembered is how long the phones of a call that we ended are answered: as
// long as they may repeat a request (RFC 3261 17.1.2.2, Timer F).
const remembered = 32 * time.Second

// watchSession has a call looked at when its session should have been refreshed.
// The call is locked.
func (p *Proxy) watchSession(c *call, d *dialog, now time.Time) {
	if d.expires == 0 || c.timer != nil {
		return
	}
	c.timer = p.Transactions.AfterFunc(time.UnixMilli(d.expires).Sub(now), func() { p.sessionDue(c) })
}

// sessionDue forgets the dialogs whose session has not been refreshed.
//
// RFC 4028 8.3: the proxy may drop the state of an expired session, and must not
// send BYE.
func (p *Proxy) sessionDue(c *call) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer = nil
	if c.over {
		return
	}
	var next *dialog
	for i := range c.dialogs {
		switch d := &c.dialogs[i]; {
		case d.closed || d.expires == 0:
		case d.expires <= now.UnixMilli():
			d.closed = true
		case next == nil || d.expires < next.expires:
			next = d
		}
	}
	if !c.open() {
		c.outcome = callrecord.Outcome{Status: callrecord.Completed, Cause: callrecord.SessionExpired, Source: callrecord.Nobody}
		p.finish(c, now)
	} else if next != nil {
		p.watchSession(c, next, now)
	}
}

// sweepEvery is how often one shard is swept; all are within five minutes.
const sweepEvery = 10 * time.Second

// tidyEvery is how often the journal is tidied.
const tidyEvery = 50 * time.Millisecond

// Run keeps the journal of calls and forgets those that nobody ends, until ctx
// ends; what the journal is to hold is written then. The transport listens when
// it begins.
func (p *Proxy) Run(ctx context.Context) error {
	p.sayFarewell()
	if p.journal == nil {
		return p.sweeps(ctx)
	}
	written := make(chan error, 1)
	go func() { written <- p.journal.run(ctx, p.Logger) }()
	return errors.Join(p.sweeps(ctx), <-written)
}

func (p *Proxy) sweeps(ctx context.Context) error {
	sweep, tidy := time.NewTicker(sweepEvery), time.NewTicker(tidyEvery)
	defer sweep.Stop()
	defer tidy.Stop()
	shard := 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-sweep.C:
			p.sweep(shard, now)
			shard = (shard + 1) % callShards
		case now := <-tidy.C:
			if p.journal != nil {
				p.tidy(now)
			}
		}
	}
}

// sweep ends the calls of one shard that have been silent for too long.
func (p *Proxy) sweep(shard int, now time.Time) {
	for _, c := range p.calls.inShard(shard, nil) {
		c.mu.Lock()
		if !c.over && now.Sub(time.UnixMilli(c.seen)) > c.idle() {
			for i := range c.dialogs {
				c.dialogs[i].closed = true
			}
			c.pending = false
			c.outcome = callrecord.Outcome{Status: callrecord.Unknown, Cause: callrecord.UnknownCause, Source: callrecord.Nobody}
			p.finish(c, now)
		}
		c.mu.Unlock()
	}
}
