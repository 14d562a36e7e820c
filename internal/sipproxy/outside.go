package sipproxy

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"onhook/internal/sip"
	"onhook/internal/sipauth"
	"onhook/internal/sipresolve"
	"onhook/internal/siptransaction"
	"onhook/internal/trunk"
)

// Resolver finds the addresses behind a host that is not ours (RFC 3263).
type Resolver interface {
	// Resolve calls done once, at once or later on another goroutine.
	Resolve(d sipresolve.Destination, done func([]sipresolve.Hop, error))
	// Known are the addresses of a destination, as far as they need not be asked
	// for.
	Known(d sipresolve.Destination) []sipresolve.Hop
	// Avoid has a hop tried after others for a while; 0 is the usual one.
	Avoid(h sipresolve.Hop, d time.Duration)
	// Reached takes back what Avoid said.
	Reached(h sipresolve.Hop)
}

// exit is a way out of this server: the next host, which may be a trunk's.
type exit struct {
	destination sipresolve.Destination
	line        *trunk.Line
	number      string // in the line's form
}

// outside are the ways of a request that leaves this server. Exits are tried one
// after the other, and of each its hops; at most one is under way at a time. The
// fork's lock guards it.
type outside struct {
	exits []exit
	exit  exit             // that is being tried
	hops  []sipresolve.Hop // of exit, not tried yet
}

// maxAvoid bounds how long a Retry-After puts a server last.
const maxAvoid = 10 * time.Minute

// exitsOf lists the ways out for a request to another domain.
func (p *Proxy) exitsOf(req *sip.Message) ([]exit, error) {
	// RFC 3261 16.6 step 7: a Route that is left names the next hop, else the
	// Request-URI does.
	next := req.RequestURI
	if _, route := p.OwnRoutes(req); route != "" {
		na, err := sip.ParseNameAddr(route)
		if err != nil {
			return nil, err
		}
		next = na.URI
	}
	u, err := sip.ParseURI(next)
	if err != nil {
		return nil, err
	}
	destination, err := sipresolve.DestinationOf(u)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(strings.ToLower(req.RequestURI), "sips:") && !destination.Secure {
		return nil, sipresolve.ErrTransport // RFC 3261 26.2.2: encrypted on every hop
	}
	return []exit{{destination: destination}}, nil
}

// exitsWithin are the ways to a side of a call that is another server, beside the
// address that is sealed in the cookie; nil for any other side.
func exitsWithin(s side) *outside {
	if s.Endpoint != 0 || s.Host == "" {
		return nil
	}
	return &outside{exits: []exit{{destination: sipresolve.Destination{Host: s.Host, Transport: s.Flow.Transport}}}}
}

// comesFromDomain reports whether an address is one of those behind the host that
// a side is known by: a domain's servers may take turns within a call.
func (p *Proxy) comesFromDomain(s side, source sip.Flow) bool {
	if p.Resolver == nil || s.Endpoint != 0 || s.Host == "" {
		return false
	}
	for _, h := range p.Resolver.Known(sipresolve.Destination{Host: s.Host, Transport: s.Flow.Transport}) {
		if h.Addr.Addr() == source.Remote.Addr().Unmap() {
			return true
		}
	}
	return false
}

// startOutside sends the request to the next hop that can be reached, or ends the
// fork when there is none.
func (f *fork) startOutside() {
	for hop, ok := f.nextHop(); ok; hop, ok = f.nextHop() {
		flow, err := f.proxy.dialHop(hop)
		if err != nil {
			f.note(hopFailure(err, f.outside.exit.line))
			continue
		}
		if b := f.addBranch(flow, nil); b != nil {
			b.hop = hop
			if b.line, b.number = f.outside.exit.line, f.outside.exit.number; f.inDialog != nil {
				b.line = f.line
			}
			b.armHopTimer()
			b.sendOutside(nil)
			return
		}
	}
	next, ok := f.nextExit()
	for ok && !f.take(next.line) {
		next, ok = f.nextExit()
	}
	if !ok {
		if f.followRedirect() {
			f.start()
			return
		}
		f.finish()
		return
	}
	f.proxy.Resolver.Resolve(next.destination, func(hops []sipresolve.Hop, err error) {
		if err != nil {
			f.note(unresolvedFor(err, next.line))
		}
		f.mu.Lock()
		f.outside.hops = hops
		f.mu.Unlock()
		f.startOutside()
	})
}

// nextHop takes the next address of the present exit that has not been tried.
func (f *fork) nextHop() (hop sipresolve.Hop, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.over() && len(f.outside.hops) > 0 {
		hop, f.outside.hops = f.outside.hops[0], f.outside.hops[1:]
		tried := func(b *branch) bool { return b.hop.Transport == hop.Transport && b.hop.Addr == hop.Addr }
		if !slices.ContainsFunc(f.branches, tried) {
			return hop, true
		}
	}
	return hop, false
}

func (f *fork) nextExit() (e exit, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := f.outside
	if f.over() || len(o.exits) == 0 {
		return e, false
	}
	o.exit, o.exits = o.exits[0], o.exits[1:]
	return o.exit, true
}

var errOwnAddress = errors.New("the name leads back to this server")

// dialHop returns the flow to a hop. A name that leads to ourselves is nowhere:
// what is ours is routed by its name and never by its address.
func (p *Proxy) dialHop(h sipresolve.Hop) (sip.Flow, error) {
	if p.Ours(h.Addr.Addr().String(), h.Addr.Port()) {
		return sip.Flow{}, errOwnAddress
	}
	return p.Transport.Dial(h.Transport, h.Addr, h.Domain)
}

// sendOutside sends the request to another server, with these header fields more.
func (b *branch) sendOutside(extra []byte) {
	f := b.fork
	if f.inDialog != nil {
		b.sendWithin(extra)
		return
	}
	w := rewrite{req: f.req, source: f.source, flow: b.flow, uri: f.req.RequestURI, skipRoutes: f.routes, loopMark: f.loopMark, extra: extra}
	if b.line != nil {
		w.uri, w.cseq = b.line.Address(b.number), uint32(b.tries)
		w.identity, w.from = f.proxy.shown(f.req, b.line, f.caller.Endpoint, f.caller.Identity)
	}
	if f.record != nil {
		record := *f.record
		record.Callee = hopSide(b.flow, b.hop)
		if b.line != nil {
			record.Callee.Trunk, record.Callee.CSeq = b.line.ID, b.tries
		}
		w.record = &record
		b.side = record.Callee
	}
	b.send(&w)
}

// sendWithin sends a request within a dialog to its other side.
func (b *branch) sendWithin(extra []byte) {
	f := b.fork
	w := rewrite{req: f.req, source: f.source, flow: b.flow, uri: f.proxy.deviceURI(f.req.RequestURI, f.inDialog.to), skipRoutes: f.routes, extra: extra}
	f.proxy.toTrunk(&w, f.inDialog)
	b.send(&w)
}

// hopURI is how a call's record names the server that the call went to.
func hopURI(flow sip.Flow) string {
	return "sip:" + flow.Remote.String() + ";transport=" + flow.Transport.Param()
}

// hopSide is the way back to a hop for requests within the dialog.
func hopSide(flow sip.Flow, hop sipresolve.Hop) side {
	s := side{Flow: flow}
	if flow.Transport.Reliable() {
		s.Port = hop.Addr.Port()
	}
	if _, numeric := sip.ParseHostAddr(hop.Domain); !numeric {
		s.Host = hop.Domain
	}
	return s
}

// armHopTimer limits the wait for any answer at all where there is somebody else
// to ask. Timer B and F (RFC 3261 17.1) would have the caller wait for half a
// minute for each dead server, and a request that is no INVITE is given up by
// its sender after that time.
func (b *branch) armHopTimer() {
	f := b.fork
	f.mu.Lock()
	defer f.mu.Unlock()
	others := len(f.outside.hops)
	if f.inDialog == nil {
		others += len(f.outside.exits)
	}
	if b.done || others == 0 {
		return
	}
	b.hopTimer = f.proxy.Transactions.AfterFunc(f.proxy.HopTimeout, b.giveUp)
}

// giveUp goes on to the next hop. One that answers yet is cancelled.
func (b *branch) giveUp() {
	f := b.fork
	f.mu.Lock()
	if b.done || b.heard {
		f.mu.Unlock()
		return
	}
	b.cancel = f.method == sip.INVITE
	client := b.client
	f.mu.Unlock()
	f.failure(b, hopFailure(siptransaction.ErrTimeout, b.line))
	if f.method == sip.INVITE && client != nil {
		client.Cancel(nil)
	}
}

// hearHop notes that a hop is there.
func (b *branch) hearHop(status int) {
	f := b.fork
	f.mu.Lock()
	first := !b.heard
	b.heard = true
	if b.hopTimer != nil {
		b.hopTimer.Stop()
	}
	f.mu.Unlock()
	if first && status != 503 {
		f.proxy.Resolver.Reached(b.hop)
	}
}

// hopFailed decides what is left to try after a hop's final answer other than
// 2xx. The caller holds the fork's lock.
//
// RFC 3263 4.3: after a timeout, an error of the transport and 503 the next
// address; any other answer is the callee's. Of a trunk, 408 and 5xx are its own:
// the next trunk is tried.
func (f *fork) hopFailed(b *branch, a answer) {
	if b.hopTimer != nil {
		b.hopTimer.Stop()
	}
	if f.outside == nil { // within a dialog, to an address without a name
		return
	}
	toNumber := b.line != nil && f.inDialog == nil
	switch {
	case errors.Is(a.cause, siptransaction.ErrFull):
		f.outside.hops, f.outside.exits = nil, nil
	case errors.Is(a.cause, sipauth.ErrChallenge): // the trunk refuses us, and not the callee the caller
		if f.outside.hops = nil; !toNumber {
			f.outside.exits = nil
		}
	case a.resp == nil:
		f.proxy.Resolver.Avoid(b.hop, 0)
	case a.code == 503:
		wait, _ := a.resp.Number(sip.RetryAfter) // RFC 3261 21.5.4
		f.proxy.Resolver.Avoid(b.hop, min(time.Duration(wait)*time.Second, maxAvoid))
	case toNumber && (a.code == 408 || a.code/100 == 5):
		f.outside.hops = nil
	default:
		f.outside.hops, f.outside.exits = nil, nil
	}
}

// The answers where no server of another domain gives one.
var (
	hopUnreachable = answer{score: scoreLocal, status: 504, reason: "other_domains.unreachable", sentence: "The server of that domain cannot be reached"}
	hopSilent      = answer{score: scoreLocal, status: 504, reason: "other_domains.no_response", sentence: "The server of that domain does not answer"}
)

// hopFailure is the answer where a server of another domain, or a trunk, has
// given none.
func hopFailure(err error, line *trunk.Line) answer {
	a := hopUnreachable
	if errors.Is(err, siptransaction.ErrTimeout) {
		a = hopSilent
	}
	if line != nil {
		a.reason, a.sentence = "phones.trunk_unreachable", "The telephone network cannot be reached"
	}
	a.cause = err
	return a
}

// unresolved is the answer where DNS leads nowhere. RFC 3261 21.5.5: 504 where
// DNS itself has not answered.
func unresolved(err error) answer {
	a := answer{score: scoreLocal, status: 504, reason: "other_domains.dns", sentence: "DNS does not answer for that domain"}
	switch {
	case errors.Is(err, sipresolve.ErrNotFound):
		a.status, a.reason, a.sentence = 404, "other_domains.unknown", "There is no SIP server for that domain"
	case errors.Is(err, sipresolve.ErrBusy):
		a.status, a.reason, a.sentence = 503, "server.overloaded", "This server is busy"
	case errors.Is(err, sipresolve.ErrTransport), errors.Is(err, sip.ErrURI), errors.Is(err, sip.ErrNameAddr):
		a.status, a.reason, a.sentence = 404, "other_domains.no_route", "This server has no transport to that address"
	}
	return a
}

// flowWithin is the way of a request within a dialog to its other side.
func (p *Proxy) flowWithin(a *Admission) (sip.Flow, error) {
	if a.sender == callerEnd && a.to.Endpoint == 0 {
		if c := p.calls.get(a.cookie.Call); c != nil {
			c.mu.Lock()
			target, routes := "", ""
			if d := c.dialog(a.dialog); d != nil {
				target, routes = d.target[calleeEnd], d.routes[calleeEnd]
			}
			c.mu.Unlock()
			if flow, ok := p.beyondHop(a.to, target, routes); ok {
				return flow, nil
			}
		}
	}
	return p.flowOf(a.to)
}

// beyondHop is the way to the remote target of a call outside, as the answer to
// our request named it, where the server that took the request stays out of the
// dialog: it has not record-routed, and the target is an address of somebody else
// (RFC 3261 12.2.1.1). A private address behind a server on the Internet, or the
// other way round, is out of reach: then the server must do.
func (p *Proxy) beyondHop(s side, target, routes string) (sip.Flow, bool) {
	if s.Endpoint != 0 || target == "" || routes != "" {
		return sip.Flow{}, false
	}
	u, err := sip.ParseURI(target)
	addr, numeric := u.Addr()
	hop := s.Flow.Remote.Addr()
	if err != nil || !u.IsSIP() || !numeric || addr.Unmap() == hop.Unmap() || reach(addr) != reach(hop) {
		return sip.Flow{}, false
	}
	d, err := sipresolve.DestinationOf(u)
	if err != nil {
		return sip.Flow{}, false
	}
	if d.Transport == 0 {
		if d.Transport = sip.UDP; d.Secure {
			d.Transport = sip.TLS
		}
	}
	if d.Port == 0 {
		d.Port = d.Transport.DefaultPort()
	}
	flow, err := p.dialHop(sipresolve.Hop{Transport: d.Transport, Addr: netip.AddrPortFrom(addr.Unmap(), d.Port)})
	return flow, err == nil
}

// reach tells apart from where an address can be reached.
func reach(a netip.Addr) int {
	switch a = a.Unmap(); {
	case a.IsLoopback():
		return 0
	case a.IsPrivate() || a.IsLinkLocalUnicast():
		return 1
	}
	return 2
}
