package sipproxy

import (
	"strings"
	"time"

	"onhook/internal/sip"
)

// Stray takes a response of which no transaction knows: a device repeats its 2xx,
// or answers only now, a call that a process of ours before this one has placed.
// The cookie in it leads to the caller, who acknowledges it (again); a call whose
// caller was told that it is over is ended at the device.
//
// RFC 6026 7.2: others are dropped, so that nobody sends responses through us.
func (p *Proxy) Stray(resp *sip.Message, source sip.Flow) {
	if resp.CSeqMethod != sip.INVITE || resp.Status < 200 || resp.Status >= 300 || p.journal == nil {
		return
	}
	var k cookie
	if !p.cookieOf(resp, &k) || !k.Invite || !p.journal.epochs[k.Epoch] || k.CallID != hash8(resp.CallID) || k.Tag != hash8(resp.From.Tag()) || !p.comesFrom(k.Callee, source) {
		return
	}
	t, now := hash8(resp.To.Tag()), time.Now()
	switch c := p.calls.get(k.Call); {
	case p.rangAtRestart(k.Call) != nil:
		p.tooLate(p.rangAtRestart(k.Call), &k, resp)
		return
	case c == nil:
		if c = p.fromCookie(&k, t, callerEnd, resp, now); c == nil {
			return
		}
		c.mu.Lock()
		c.answer = now.UnixMilli()
		for i := range c.legs {
			c.legs[i].contact, c.legs[i].answer = strings.Clone(contactOf(resp)), c.answer
		}
		c.mu.Unlock()
	}
	flow, err := p.flowOf(k.Caller)
	if err != nil {
		return
	}
	buf := p.buffers.Get().(*[]byte)
	defer p.buffers.Put(buf)
	*buf = appendResponse((*buf)[:0], resp, resp.Status, nil, p.body(resp, sip.INVITE, k.Caller.Endpoint, k.Callee.Endpoint), p.strayRestore(&k, resp))
	_ = p.Transport.Send(flow, *buf) // the device repeats it
}

// strayRestore is what a trunk's response gets back: the CSeq of its caller, and
// the From as far as the journal has it. A caller finds its dialog by the tags (RFC
// 3261 12.1.2).
func (p *Proxy) strayRestore(k *cookie, resp *sip.Message) *restore {
	if k.Callee.Trunk == 0 {
		return nil
	}
	from, _ := resp.Value(sip.From)
	if c := p.calls.get(k.Call); c != nil && c.fromHeader != "" {
		from = c.fromHeader
	}
	return &restore{from, resp.CSeq - uint32(k.Callee.CSeq)}
}

// rangAtRestart finds a call that rang when the process before this one ended.
func (p *Proxy) rangAtRestart(id CallID) *call {
	if rang := p.rang.Load(); rang != nil {
		return (*rang)[id]
	}
	return nil
}

// cookieOf opens the cookie that a response carries back.
func (p *Proxy) cookieOf(resp *sip.Message, k *cookie) bool {
	for r := resp.Values(sip.RecordRoute); r.Next(); {
		if text, ours := p.ownRoute(r.Value); ours && p.sealer.open(k, text) == nil {
			return true
		}
	}
	return false
}

// tooLate ends a call on both sides that rang at the restart: its caller was told
// that it is over, and may have been answered just before.
func (p *Proxy) tooLate(c *call, k *cookie, resp *sip.Message) {
	d := dialog{tag: hash8(resp.To.Tag()), callee: k.Callee, closed: true}
	c.mu.Lock()
	known := c.dialog(d.tag) != nil
	p.remember(c, &d, resp)
	c.addDialog(d)
	var requests []ownRequest
	if d.to != "" {
		requests = append(requests, c.toEnd(&d, calleeEnd, sip.ACK, ""))
		if !known {
			const why = "The server was restarted while the call rang"
			requests = append(requests, c.toEnd(&d, calleeEnd, sip.BYE, why), c.toEnd(&d, callerEnd, sip.BYE, why))
		}
	}
	c.mu.Unlock()
	for i := range requests {
		p.sendOwn(&requests[i])
	}
}
