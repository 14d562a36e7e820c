package server

import (
	"cmp"
	"encoding/hex"
	"errors"
	"hash/maphash"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"

	"onhook/internal/authban"
	"onhook/internal/directory"
	"onhook/internal/location"
	"onhook/internal/registrar"
	"onhook/internal/routing"
	"onhook/internal/sip"
	"onhook/internal/sipauth"
	"onhook/internal/sipevent"
	"onhook/internal/sipgruu"
	"onhook/internal/sipprobe"
	"onhook/internal/sipproxy"
	"onhook/internal/sipresolve"
	"onhook/internal/siptrace"
	"onhook/internal/siptransaction"
	"onhook/internal/siptransport"
	"onhook/internal/trunk"
)

// path is the way of a SIP message through the server. The transport has
// refused what is not worth parsing; from there on:
//
//	Message → transaction match → SUBSCRIBE to a registration: notifier
//	                            → in-dialog by its cookie
//	                            → REGISTER: digest → registrar
//	                            → who is asking → routing → proxy
//
// Refusals are stateless: nothing is stored for a request that goes nowhere.
type path struct {
	names        *names
	directory    *directory.Directory
	transport    *siptransport.Transport
	traces       *siptrace.Recorder // nil: off
	transactions *siptransaction.Layer
	auth         *sipauth.Authenticator
	bans         *authban.Bans // nil: off
	index        *location.Index
	registrar    *registrar.Registrar
	notifier     *sipevent.Notifier
	probes       *sipprobe.Prober
	gruus        *sipgruu.GRUUs
	router       routing.Router
	proxy        *sipproxy.Proxy
	limiter      *limiter
	resolver     *sipresolve.Resolver
	trunks       *trunk.Table

	attempts attempts
	logger   *slog.Logger
	draining atomic.Bool
	tagSeed  maphash.Seed
	buffers  sync.Pool // of *[]byte, for refusals: the transport keeps nothing of what it sends
	stats    pathStats
}

func newPath(n *names, d *directory.Directory, logger *slog.Logger) *path {
	p := &path{names: n, directory: d, logger: logger, tagSeed: maphash.MakeSeed(), attempts: attempts{seed: maphash.MakeSeed()}}
	p.buffers.New = func() any { b := make([]byte, 0, 2048); return &b }
	return p
}

type pathStats struct {
	refused, challenged, drained, panics atomic.Uint64
}

// Message takes one message from the transport (siptransport.Handler).
func (p *path) Message(m *sip.Message, flow sip.Flow) {
	defer p.recovered()
	if !m.IsRequest() && p.probes.Response(m) {
		return
	}
	if flow.Transport == sip.UDP && m.Method != sip.REGISTER { // which the registrar sees, once it is authenticated
		p.index.Heard(flow)
	}
	p.traces.In(m, flow)
	if m.IsRequest() {
		m = p.proxy.FromStrictRouter(m)
	}
	if p.transactions.Receive(m, flow) {
		return
	}
	if !m.IsRequest() {
		p.proxy.Stray(m, flow)
		return
	}
	switch {
	case m.Method == sip.ACK:
		p.ack(m, flow)
	case m.Method == sip.SUBSCRIBE && p.subscribe(m, flow):
	case m.To.Tag() != "" && m.Method != sip.REGISTER:
		p.inDialog(m, flow)
	case p.draining.Load():
		p.stats.drained.Add(1)
		p.unavailable(m, flow, "server.stopping", "This server is stopping")
	case m.Method == sip.REGISTER:
		p.register(m, flow)
	default:
		p.request(m, flow)
	}
}

// recovered keeps a mistake of ours from ending the server: one message is lost,
// and the metrics say so. The log has the first, the second, the fourth and so
// on, since whoever finds such a message can send it again and again.
func (p *path) recovered() {
	r := recover()
	if r == nil {
		return
	}
	if n := p.stats.panics.Add(1); n&(n-1) == 0 {
		p.logger.Error("a message could not be handled", "panic", r, "times", n, "stack", string(debug.Stack()))
	}
}

// Malformed answers a request that breaks the grammar, where it can be answered.
func (p *path) Malformed(m *sip.Message, err *sip.Error, flow sip.Flow) {
	defer p.recovered()
	if err.Status == 0 || !m.Answerable() {
		return
	}
	msg := sip.AppendReply(nil, m, flow.Remote, err.Status, err.Reason, p.toTag(m))
	msg = p.appendReason(msg, "request.malformed", "The message cannot be read")
	p.send(m, flow, sip.AppendBody(msg, nil))
}

// Overloaded refuses what there is no time for, but for what is under way
// already: whoever sends that again has not been answered yet.
func (p *path) Overloaded(m *sip.Message, flow sip.Flow) {
	defer p.recovered()
	if m.IsRequest() && m.Method != sip.ACK && !p.transactions.Receive(m, flow) {
		p.unavailable(m, flow, "server.overloaded", "This server is busy")
	}
}

// Closed ends what depended on a connection.
func (p *path) Closed(flow sip.Flow, err error) {
	defer p.recovered()
	if !errors.Is(err, siptransport.ErrStopped) { // devices return to a server that only restarts
		p.index.FlowClosed(flow)
	}
	p.transactions.FlowClosed(flow, err)
	p.proxy.FlowClosed(flow)
	p.notifier.FlowClosed(flow)
}

// Cancel passes on a CANCEL (siptransaction.Handler).
func (p *path) Cancel(tx *siptransaction.Server, cancel *sip.Message) { p.proxy.Cancel(tx, cancel) }

// inDialog sends on a request with a To tag by the cookie in its Route.
func (p *path) inDialog(m *sip.Message, flow sip.Flow) {
	if !p.mayForward(m, flow) {
		return
	}
	admission, refusal := p.proxy.Admit(m, flow)
	if refusal != nil && refusal.Status == 481 && p.toGRUU(m) {
		p.request(m, flow)
		return
	}
	if refusal != nil {
		p.refuse(m, flow, refusal.Status, refusal.Reason, refusal.Sentence)
		return
	}
	if tx := p.begin(m, flow); tx != nil {
		p.proxy.ForwardInDialog(tx, m, flow, admission)
	}
}

// toGRUU reports whether a request is to a device of ours by its GRUU. Such an
// address is good in dialogs that were begun elsewhere, too (RFC 5627 6.1).
func (p *path) toGRUU(m *sip.Message) bool {
	u, err := sip.ParseURI(m.RequestURI)
	if err != nil || !sipgruu.Is(u) {
		return false
	}
	_, ours := p.names.Domain(u.Host, u.Port)
	return ours
}

// ack passes on the ACK of a 2xx: by its cookie, or to a GRUU where it has no
// Route of ours.
func (p *path) ack(m *sip.Message, flow sip.Flow) {
	if n, _ := p.proxy.OwnRoutes(m); n > 0 || !p.toGRUU(m) {
		p.proxy.ACK(m, flow)
		return
	}
	caller := routing.Caller{Kind: routing.External} // nobody can be asked: an ACK has no answer
	if e, ok := p.onConnection(flow); ok {
		caller = routing.Caller{Kind: routing.Known, Endpoint: routable(e)}
	}
	target, _ := sip.ParseURI(m.RequestURI)
	if d := p.router.Decide(routing.Request{Method: m.Method, Caller: caller, Target: target}); d.Allowed && len(d.Targets) > 0 {
		p.proxy.ACKTo(m, flow, &d.Targets[0])
	}
}

// mayForward makes the checks of RFC 3261 16.3 that need no routing.
func (p *path) mayForward(m *sip.Message, flow sip.Flow) bool {
	if n, ok := m.Number(sip.MaxForwards); ok && n == 0 {
		p.refuseCall(m, flow, 483, "request.too_many_hops", "Max-Forwards is used up")
		return false
	}
	if n, ok := m.Number(sip.MaxBreadth); ok && n == 0 { // RFC 5393 5.3.3
		p.refuseCall(m, flow, 440, "request.max_breadth", "Max-Breadth is used up")
		return false
	}
	if m.Has(sip.ProxyRequire) {
		p.unsupported(m, flow, sip.ProxyRequire)
		p.refusedEarly(m, flow, 420, "request.extension")
		return false
	}
	return true
}

// unsupported refuses what a request requires (RFC 3261 8.2.2.3).
func (p *path) unsupported(m *sip.Message, flow sip.Flow, required sip.HeaderID) {
	p.stats.refused.Add(1)
	msg := sip.AppendReply(nil, m, flow.Remote, 420, "", p.toTag(m))
	for c := m.Values(required); c.Next(); {
		msg = sip.AppendHeader(msg, sip.Unsupported, c.Value)
	}
	msg = p.appendReason(msg, "request.extension", "This server does not support what "+required.String()+" asks for")
	p.send(m, flow, sip.AppendBody(msg, nil))
}

// register authenticates a REGISTER and hands it to the registrar.
func (p *path) register(m *sip.Message, flow sip.Flow) {
	target, to := &m.Target, &m.ToURI
	if !target.IsSIP() {
		p.refuse(m, flow, 416, "request.scheme", "Only sip and sips addresses can be registered")
		return
	}
	if _, ours := p.names.Domain(target.Host, target.Port); !ours {
		p.refuse(m, flow, 403, "relay.denied", "This server is not the registrar of that domain")
		return
	}
	if !to.IsSIP() {
		p.refuse(m, flow, 400, "register.address", "Only sip and sips addresses can be registered")
		return
	}
	domain, ours := p.names.Domain(to.Host, to.Port)
	if !ours {
		p.refuse(m, flow, 403, "register.foreign_address", "That address is not of this server")
		return
	}
	caller, old, ok := p.authenticate(m, flow, sip.Authorization, domain)
	if !ok {
		return
	}
	if !strings.EqualFold(sip.Unescape(to.User), caller.Username()) {
		p.refuse(m, flow, 403, "register.foreign_address", "The credentials are those of another address")
		return
	}
	if tx := p.begin(m, flow); tx != nil {
		credentials := any(caller)
		if old != nil {
			credentials = oldSecret{caller, old}
		}
		aor := registrar.AOR{Key: location.Key(caller.ID()), Username: caller.Username(), MaxContacts: caller.MaxContacts(), Domain: caller.Domain(), Credentials: credentials}
		p.registrar.Register(m, flow, aor, tx)
	}
}

// admitted reports whether the secret that a REGISTER was authenticated with is
// still one of the endpoint's, and whether it is the one before
// (registrar.Config.Admit).
func (p *path) admitted(_ location.Key, credentials any) (previous, ok bool) {
	if old, is := credentials.(oldSecret); is {
		return p.directory.Holds(old.record, old.secret)
	}
	r := credentials.(*directory.Record)
	return p.directory.Holds(r, r.Secret())
}

// request routes a request without a To tag.
func (p *path) request(m *sip.Message, flow sip.Flow) {
	target := m.Target
	if !target.IsSIP() && !target.Is("tel") {
		p.refuseCall(m, flow, 416, "request.scheme", "Only sip, sips and tel addresses can be reached")
		return
	}
	// RFC 3261 16.4: Routes that name this server have done their work. One that
	// is left names the next host, and is judged as a request to it.
	if _, next := p.proxy.OwnRoutes(m); next != "" {
		na, err := sip.ParseNameAddr(next)
		if err == nil {
			target, err = sip.ParseURI(na.URI)
		}
		if err != nil {
			p.refuseCall(m, flow, 400, "request.route", "The Route cannot be read")
			return
		}
	}
	if _, ours := p.names.Domain(target.Host, target.Port); ours && !target.HasUser && m.Method == sip.OPTIONS {
		p.options(m, flow)
		return
	}
	if !p.mayForward(m, flow) {
		return
	}
	line := p.trunks.From(flow, p.transport)
	caller, ok := routing.Caller{Kind: routing.Trunk}, true
	if line == nil {
		caller, ok = p.caller(m, flow)
	} else if line.Register && target.User == line.Username { // our Contact there; whom it is for, To says
		target.User = m.ToURI.User
	}
	if !ok {
		return
	}
	from := sipproxy.Caller{Trunk: line}
	if caller.Kind == routing.Known {
		from = calling(caller.Endpoint)
	}
	d := p.router.Decide(routing.Request{Method: m.Method, Caller: caller, Target: target, Media: media(m)})
	switch {
	case !d.Allowed:
		p.refuse(m, flow, d.Status, d.Reason, d.Sentence)
		p.traces.Untold(m, d.Untold)
		p.attempted(m, flow, from, d.Callee, d.Status, cmp.Or(d.Reason, d.Untold))
		return
	case d.Via == routing.ViaServer:
		p.refuse(m, flow, 404, "server.no_such_service", "The server itself takes no such request")
		return
	}
	if tx := p.begin(m, flow); tx != nil {
		if no := p.proxy.Forward(tx, m, flow, from, d); no != nil {
			p.attempted(m, flow, from, d.Callee, no.Status, no.Reason)
		}
	}
}

// options answers OPTIONS to the server itself (RFC 3261 11).
func (p *path) options(m *sip.Message, flow sip.Flow) {
	msg := sip.AppendReply(nil, m, flow.Remote, 200, "", p.toTag(m))
	msg = sip.AppendHeader(msg, sip.Allow, "INVITE, ACK, BYE, CANCEL, INFO, MESSAGE, NOTIFY, OPTIONS, PRACK, REFER, REGISTER, SUBSCRIBE, UPDATE")
	msg = sip.AppendHeader(msg, sip.AllowEvents, sipevent.Package)
	msg = sip.AppendHeader(msg, sip.Accept, "*/*")
	msg = sip.AppendHeader(msg, sip.Supported, "path, outbound, gruu")
	p.send(m, flow, sip.AppendBody(msg, nil))
}

// appendOwnURI writes this server's URI as the peer of a flow reaches it.
func (p *path) appendOwnURI(dst []byte, flow sip.Flow) []byte {
	transport := flow.Transport
	if transport == sip.WSS {
		transport = sip.WS // RFC 7118 5.2.4 knows transport=ws alone
	}
	dst = append(dst, "sip:"...)
	dst = append(dst, p.transport.SentBy(flow)...)
	dst = append(dst, ";transport="...)
	return append(dst, transport.Param()...)
}

func (p *path) appendServiceRoute(dst []byte, flow sip.Flow) []byte {
	return append(p.appendOwnURI(dst, flow), ";lr"...)
}

// begin starts the server transaction of a request that is going somewhere.
func (p *path) begin(m *sip.Message, flow sip.Flow) *siptransaction.Server {
	tx, err := p.transactions.Open(m, flow)
	if errors.Is(err, siptransaction.ErrFull) {
		p.unavailable(m, flow, "server.overloaded", "This server is busy")
	}
	return tx // nil also for a duplicate, which the first one answers
}

// unavailable answers 503 with Retry-After (RFC 3261 21.5.4).
func (p *path) unavailable(m *sip.Message, flow sip.Flow, reason, sentence string) {
	msg := sip.AppendReply(nil, m, flow.Remote, 503, "", p.toTag(m))
	msg = sip.AppendNumber(msg, sip.RetryAfter, 5)
	msg = p.appendReason(msg, reason, sentence)
	p.send(m, flow, sip.AppendBody(msg, nil))
}

// appendReason says why a request is refused.
func (p *path) appendReason(msg []byte, reason, sentence string) []byte {
	return sipproxy.AppendReason(msg, p.names.first(), reason, sentence)
}

// refuse answers a request statelessly (RFC 3261 8.2.7).
func (p *path) refuse(m *sip.Message, flow sip.Flow, status int, reason, sentence string) {
	p.stats.refused.Add(1)
	buf := p.buffers.Get().(*[]byte)
	*buf = sipproxy.AppendRefusal((*buf)[:0], m, flow, status, p.toTag(m), p.names.first(), reason, sentence)
	p.send(m, flow, *buf)
	p.buffers.Put(buf)
}

func (p *path) send(m *sip.Message, flow sip.Flow, msg []byte) {
	// An answer that cannot be sent has nobody left to be told; the transport counts it.
	_ = p.tap().Send(siptransaction.ResponseFlow(m, flow), msg)
}

// toTag is the tag of a stateless response: the same for a retransmission (RFC
// 3261 8.2.7). It is inlined, so that the string stays on its caller's stack.
func (p *path) toTag(m *sip.Message) string {
	tag := p.tagOf(m)
	return string(tag[:])
}

func (p *path) tagOf(m *sip.Message) (tag [16]byte) {
	var h maphash.Hash
	h.SetSeed(p.tagSeed)
	h.WriteString(m.CallID)
	h.WriteString(m.Via.Branch())
	h.WriteString(m.From.Tag())
	var sum [8]byte
	hex.Encode(tag[:], h.Sum(sum[:0]))
	return tag
}
