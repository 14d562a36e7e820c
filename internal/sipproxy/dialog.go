package sipproxy

import (
	"hash/maphash"
	"strconv"
	"time"

	"onhook/internal/location"
	"onhook/internal/sip"
)

// Admission is what a request with a To tag is let in by.
type Admission struct {
	cookie *cookie
	dialog tag  // which of the call's
	sender int  // the end it comes from
	to     side // where it goes
	routes int  // Route values of ours, to be removed
	last   bool // a NOTIFY that ends its subscription

	sealed cookie // what cookie points to
}

// Refusal says why a request with a To tag is not let in. The Status is 200 for the
// BYE of a call that we have ended.
type Refusal struct {
	Status   int
	Reason   string
	Sentence string
}

// Admit opens the cookie of a request with a To tag. It is let in when the
// cookie is ours, belongs to this Call-ID and to one of the two directions of
// its dialog, and its call is open; and when it comes from where that side is.
func (p *Proxy) Admit(req *sip.Message, source sip.Flow) (*Admission, *Refusal) {
	a := &Admission{}
	text := ""
	for c := req.Values(sip.Route); c.Next(); a.routes++ {
		next, ok := p.ownRoute(c.Value)
		if !ok || text != "" && next != text {
			break // somebody else's, or ours of another pass through this server
		}
		text = next // "" for an outbound proxy that a phone puts on top
	}
	if text != "" {
		if p.sealer.open(&a.sealed, text) == nil {
			a.cookie = &a.sealed
		}
	}
	if a.cookie == nil {
		return nil, &Refusal{481, "dialog.unknown", "There is no such call here"}
	}
	k := a.cookie
	var from side
	switch fromTag, toTag := hash8(req.From.Tag()), hash8(req.To.Tag()); k.Tag {
	case fromTag:
		a.dialog, a.sender, from, a.to = toTag, callerEnd, k.Caller, k.Callee
	case toTag:
		a.dialog, a.sender, from, a.to = fromTag, calleeEnd, k.Callee, k.Caller
	default:
		return nil, p.refused("dialog.foreign", "This route belongs to another call")
	}
	switch {
	case k.CallID != hash8(req.CallID):
		return nil, p.refused("dialog.foreign", "This route belongs to another call")
	case !p.comesFrom(from, source) && !p.knowsParty(k, a.dialog, from):
		return nil, p.refused("dialog.foreign", "This route belongs to another party")
	}
	switch p.touch(k, a.dialog, a.sender, req, time.Now()) {
	case dialogClosed:
		return nil, p.refused("dialog.closed", "This call is over")
	case dialogEnded:
		if req.Method == sip.BYE { // it crosses ours, or comes from a caller whose call we ended for it
			return nil, &Refusal{Status: 200}
		}
		return nil, &Refusal{481, "dialog.closed", "This call is over"} // RFC 3261 12.2.1.2: ends it at that phone
	}
	return a, nil
}

func (p *Proxy) refused(reason, sentence string) *Refusal {
	p.stats.refused.Add(1)
	return &Refusal{403, reason, sentence}
}

// knowsParty reports whether a side that is a domain's server shows by its tags
// that it is the one in the dialog. A server sends from whichever of its addresses
// it likes, most of all over TCP, and those who are not in the dialog know its
// cookie, Call-ID and both tags only if they have read its messages.
func (p *Proxy) knowsParty(k *cookie, t tag, s side) bool {
	c := p.calls.get(k.Call)
	if s.Endpoint != 0 || s.Host == "" || c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dialog(t) != nil
}

// comesFrom reports whether a request may come from this side: by its flow, or
// from its address, or from where its endpoint is registered now.
func (p *Proxy) comesFrom(s side, source sip.Flow) bool {
	if s.Flow == source || s.Flow.Remote.Addr().Unmap() == source.Remote.Addr().Unmap() {
		return true
	}
	if s.Endpoint == 0 {
		return p.comesFromTrunk(s, source) || p.comesFromDomain(s, source)
	}
	for _, b := range p.Bindings.Lookup(location.Key(s.Endpoint), nil) {
		if b.Flow.Remote.Addr().Unmap() == source.Remote.Addr().Unmap() {
			return true
		}
	}
	return false
}

// ownRoute looks at one Route value: whether it is ours, and its cookie.
func (p *Proxy) ownRoute(value string) (text string, ours bool) {
	na, err := sip.ParseNameAddr(value)
	if err != nil {
		return "", false
	}
	u, err := sip.ParseURI(na.URI)
	if err != nil || !u.IsSIP() {
		return "", false
	}
	text, _ = u.Params.Get(CookieParam)
	return text, p.Ours(u.Host, u.Port)
}

// ACK passes on the ACK of a 2xx (RFC 3261 16: it has no transaction). One
// that is not admitted is dropped.
func (p *Proxy) ACK(req *sip.Message, source sip.Flow) {
	if !p.forwardACK(req, source) {
		p.stats.stray.Add(1)
	}
}

// ACKTo passes on an ACK to a device that it names by its GRUU.
func (p *Proxy) ACKTo(req *sip.Message, source sip.Flow, b *location.Binding) {
	hops := maxForwards(req)
	flow, err := p.deviceFlow(b)
	if err != nil || hops == 0 {
		return
	}
	routes, _ := p.OwnRoutes(req)
	p.sendACK(&rewrite{req: req, source: source, flow: flow, uri: b.Contact, path: b.Path, skipRoutes: routes, hops: hops - 1})
}

func (p *Proxy) sendACK(w *rewrite) bool {
	w.branch = p.ackBranch(w.req)
	buf := p.buffers.Get().(*[]byte)
	defer p.buffers.Put(buf)
	*buf = w.append(p, (*buf)[:0])
	return p.Transport.Send(w.flow, *buf) == nil
}

// ackBranch makes the branch of an ACK that is passed on without a transaction:
// the same for one that comes again, so that the callee knows it as such (RFC
// 3261 16.11).
func (p *Proxy) ackBranch(req *sip.Message) string {
	var h maphash.Hash
	h.SetSeed(p.loopSeed)
	for _, part := range [...]string{req.Via.Branch(), req.CallID, req.From.Tag(), req.To.Tag(), req.RequestURI} {
		h.WriteString(part)
		h.WriteByte(0)
	}
	var buf [48]byte
	b := strconv.AppendUint(append(buf[:0], sip.MagicCookie...), h.Sum64(), 36)
	return string(strconv.AppendUint(append(b, '.'), uint64(req.CSeq), 36))
}

func (p *Proxy) forwardACK(req *sip.Message, source sip.Flow) bool {
	hops := maxForwards(req)
	a, refusal := p.Admit(req, source)
	if refusal != nil || hops == 0 {
		return false
	}
	flow, err := p.flowWithin(a)
	if err != nil {
		return false
	}
	req.Body = p.body(req, sip.ACK, a.cookie.Caller.Endpoint, a.cookie.Callee.Endpoint)
	w := rewrite{req: req, source: source, flow: flow, uri: p.deviceURI(req.RequestURI, a.to), skipRoutes: a.routes, hops: hops - 1}
	p.toTrunk(&w, a)
	return p.sendACK(&w)
}
