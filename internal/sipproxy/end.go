package sipproxy

import (
	"strconv"
	"time"

	"onhook/internal/account"
	"onhook/internal/callrecord"
	"onhook/internal/sip"
	"onhook/internal/siptransaction"
	"onhook/internal/trunk"
)

// Ending is why the server ends a call.
type Ending struct {
	Outcome  callrecord.Outcome // for the record
	Reason   string             // code for the record, and for a caller whose call still rings
	Sentence string             // for the phones
	Status   int                // what that caller is answered with
}

// The endings of the server's own making.
var (
	EndByAPI = Ending{callrecord.Outcome{Status: callrecord.Completed, Cause: callrecord.EndedByAPI, Source: callrecord.APIRequest},
		"call.ended_by_api", "The call was ended through the API", 480}
	EndAtLimit = Ending{callrecord.Outcome{Status: callrecord.Completed, Cause: callrecord.DurationReached, Source: callrecord.Platform},
		"limit.duration", "The call has reached its maximum duration", 480}
	EndWithCredentials = Ending{callrecord.Outcome{Status: callrecord.Completed, Cause: callrecord.CredentialsEnded, Source: callrecord.Platform},
		"auth.credentials_changed", "The endpoint was deleted or has a new password", 480}
)

// End ends a call on both sides: it sends BYE to both, or, where the call still
// rings, cancels it and answers its caller. It reports false when there is no
// such call, when it is over already, or when its dialog is not known well
// enough.
func (p *Proxy) End(id CallID, why Ending) bool {
	c := p.calls.get(id)
	if c == nil || !c.invite {
		return false
	}
	c.mu.Lock()
	f := c.fork
	if c.over {
		c.mu.Unlock()
		return false
	}
	c.mu.Unlock()
	ended := f != nil && f.end(why)
	return p.endDialogs(c, why) || ended
}

// EndOf ends the calls that an endpoint takes part in.
func (p *Proxy) EndOf(id account.EndpointID, why Ending) {
	for _, c := range p.calls.ofEndpoint(id) {
		p.End(c.id, why)
	}
}

// CallsOf is how many calls and subscriptions an endpoint has open.
func (p *Proxy) CallsOf(id account.EndpointID) int { return p.calls.openOf(id) }

// endDialogs sends BYE to both sides of every dialog of a call, which is over
// then.
func (p *Proxy) endDialogs(c *call, why Ending) bool {
	now := time.Now()
	c.mu.Lock()
	if c.over {
		c.mu.Unlock()
		return false
	}
	var byes []ownRequest
	known := false
	for i := range c.dialogs {
		d := &c.dialogs[i]
		if d.closed || d.to == "" {
			continue
		}
		known, d.closed = true, true
		if !d.acked {
			byes = append(byes, c.toEnd(d, calleeEnd, sip.ACK, ""))
		}
		byes = append(byes, c.toEnd(d, calleeEnd, sip.BYE, why.Sentence), c.toEnd(d, callerEnd, sip.BYE, why.Sentence))
	}
	if known && !c.open() {
		c.outcome, c.reason, c.byUs = why.Outcome, why.Reason, true
		p.finish(c, now)
	}
	c.mu.Unlock()
	for i := range byes {
		p.sendOwn(&byes[i])
	}
	return known
}

// unwanted ends a dialog that a device began after its caller had given up or
// been refused (RFC 3261 9.1, 16.10), or that may not be: the device gets its ACK and a BYE from us,
// so that it does not depend on the caller, who may be gone or deaf. What the
// caller still says in the dialog, we answer.
func (p *Proxy) unwanted(c *call, b *branch, resp *sip.Message, sentence string) {
	d := dialog{tag: hash8(resp.To.Tag()), callee: b.side, closed: true, leg: b.leg}
	c.mu.Lock()
	known := c.dialog(d.tag)
	if known != nil { // a retransmission: its ACK was lost
		d = *known
	} else {
		p.remember(c, &d, resp)
		c.byUs = true
		if !c.over && b.leg < len(c.legs) {
			c.legs[b.leg].status = resp.Status
		}
		c.addDialog(d)
	}
	if d.to == "" {
		c.mu.Unlock()
		return
	}
	requests := []ownRequest{c.toEnd(&d, calleeEnd, sip.ACK, "")}
	if known == nil {
		requests = append(requests, c.toEnd(&d, calleeEnd, sip.BYE, sentence))
	}
	c.mu.Unlock()
	for i := range requests {
		p.sendOwn(&requests[i])
	}
}

// ownRequest is an ACK or BYE of ours within somebody's dialog.
type ownRequest struct {
	method    sip.Method
	to        side
	uri       string
	routes    string
	from, dst string // From and To
	callID    string
	cseq      uint32
	sentence  string
}

// toEnd makes a request to one end of a dialog, in the name of the other end.
// The call is locked.
//
// RFC 3261 12.2.1.1: the CSeq is above every one that the other end has sent.
func (c *call) toEnd(d *dialog, end int, method sip.Method, sentence string) ownRequest {
	r := ownRequest{method: method, to: d.callee, uri: d.target[end], routes: d.routes[end],
		from: c.fromHeader, dst: d.to, callID: c.callID, sentence: sentence}
	sender := callerEnd
	if d.from != "" {
		r.from = d.from
	}
	if end == callerEnd {
		r.to, r.from, r.dst, sender = c.from, d.to, c.fromHeader, calleeEnd
	}
	if method == sip.ACK { // RFC 3261 13.2.2.4: the CSeq of its INVITE
		r.cseq = c.cseq + uint32(r.to.CSeq)
		return r
	}
	d.cseq[sender]++
	r.cseq = d.cseq[sender] + uint32(r.to.CSeq)
	return r
}

// sendOwn sends it, and leaves a BYE to its transaction: whatever comes of it,
// the dialog is over here. A trunk may want a password first.
func (p *Proxy) sendOwn(r *ownRequest) {
	flow, direct := p.beyondHop(r.to, r.uri, r.routes)
	var err error
	if !direct {
		flow, err = p.flowOf(r.to)
	}
	if err != nil {
		return
	}
	var user siptransaction.ClientUser = heedless{}
	if line := p.lineOf(r.to); line != nil && line.Username != "" && r.method == sip.BYE {
		user = &lastWord{p, *r, flow, line, 0}
	}
	p.sendOwnOn(r, flow, nil, user)
}

func (p *Proxy) sendOwnOn(r *ownRequest, flow sip.Flow, extra []byte, user siptransaction.ClientUser) {
	buf := p.buffers.Get().(*[]byte)
	defer p.buffers.Put(buf)
	*buf = r.append(p, flow, (*buf)[:0], extra)
	var err error
	if r.method == sip.ACK {
		err = p.Transport.Send(flow, *buf)
	} else {
		_, err = p.Transactions.Request(flow, *buf, user)
	}
	_ = err // a phone that cannot be reached cannot be told
}

// target is the Request-URI and the Routes that it is sent with.
func (r *ownRequest) target(p *Proxy) (uri, routes string) {
	uri, routes = p.deviceURI(r.uri, r.to), r.routes
	if first, rest := splitRoutes(routes); first != "" {
		next, last := toStrictRouter(uri, first)
		if uri = next; last != "" {
			if routes = last; rest != "" {
				routes = rest + ", " + last
			}
		}
	}
	return uri, routes
}

// append writes the request, with these header fields more.
func (r *ownRequest) append(p *Proxy, flow sip.Flow, dst, extra []byte) []byte {
	uri, routes := r.target(p)
	dst = sip.AppendRequestLine(dst, r.method, uri)
	dst = (&rewrite{flow: flow, branch: siptransaction.NewBranch()}).appendVia(p, dst)
	dst = append(dst, "Max-Forwards: 70\r\n"...)
	if routes != "" {
		dst = sip.AppendHeader(dst, sip.Route, routes)
	}
	dst = sip.AppendHeader(dst, sip.From, r.from)
	dst = sip.AppendHeader(dst, sip.To, r.dst)
	dst = sip.AppendHeader(dst, sip.CallID, r.callID)
	dst = append(dst, "CSeq: "...)
	dst = strconv.AppendUint(dst, uint64(r.cseq), 10)
	dst = append(append(append(dst, ' '), r.method...), "\r\n"...)
	if r.sentence != "" {
		dst = sip.AppendHeader(dst, sip.Reason, reasonOf(r.sentence))
	}
	return sip.AppendBody(append(dst, extra...), nil)
}

// reasonOf is the Reason of an end of ours (RFC 3326 2).
func reasonOf(sentence string) string { return `Q.850;cause=16;text=` + strconv.Quote(sentence) }

// heedless is told what becomes of a BYE and does nothing about it.
type heedless struct{}

func (heedless) Response(*siptransaction.Client, *sip.Message) {}
func (heedless) Failed(*siptransaction.Client, error)          {}

// lastWord is a BYE of ours to a trunk, which says it again with the password where
// the trunk asks for it.
type lastWord struct {
	proxy   *Proxy
	request ownRequest
	flow    sip.Flow
	line    *trunk.Line
	tries   uint8
}

// Response is siptransaction.ClientUser.
func (w *lastWord) Response(_ *siptransaction.Client, resp *sip.Message) {
	if resp.Status != 401 && resp.Status != 407 {
		return
	}
	uri, _ := w.request.target(w.proxy)
	auth, ok := answerTrunk(resp, w.line, w.request.method, uri, w.tries)
	if !ok {
		return // the trunk will end the call by itself
	}
	w.tries++
	w.request.cseq++ // RFC 3261 22.2
	w.proxy.sendOwnOn(&w.request, w.flow, auth, w)
}

// Failed is siptransaction.ClientUser.
func (w *lastWord) Failed(*siptransaction.Client, error) {}
