package sipproxy

import (
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"onhook/internal/account"
	"onhook/internal/location"
	"onhook/internal/routing"
	"onhook/internal/sip"
	"onhook/internal/siptransaction"
)

// Transport is what the proxy needs of the transports.
type Transport interface {
	Send(flow sip.Flow, msg []byte) error
	Dial(t sip.Transport, remote netip.AddrPort, serverName string) (sip.Flow, error)
	Alive(flow sip.Flow) bool
	SentBy(flow sip.Flow) string
}

// Bindings is where the proxy finds the present flow of a side of a call.
type Bindings interface {
	Lookup(key location.Key, dst []location.Binding) []location.Binding
}

// Config is what a Proxy is made of.
type Config struct {
	Transport    Transport
	Transactions *siptransaction.Layer
	Bindings     Bindings
	// Ours reports whether a Route's host and port are this server.
	Ours func(host string, port uint16) bool
	// Key seals dialog cookies; the same after a restart.
	Key      []byte
	MaxCalls int           // calls open at the same time; 0 means 200,000
	TimerC   time.Duration // RFC 3261 16.6 step 11; 0 means 3 minutes and 10 seconds
	// SuspectWait is how long a call waits for a device that was registered
	// before a restart and is not back yet; 0 means 5 s.
	SuspectWait time.Duration
	Logger      *slog.Logger
}

// Proxy forwards requests.
type Proxy struct {
	Config
	sealer sealer
	calls  *calls
	stats  counters
}

type counters struct{ forwarded, refused, stray atomic.Uint64 }

// Stats are counts since the start, and the present number of open calls.
type Stats struct {
	Forwarded uint64 // requests sent on, branches counted one by one
	Refused   uint64 // in-dialog requests refused for their cookie
	Stray     uint64 // ACKs dropped
	Calls     int
}

// New makes a Proxy.
func New(c Config) (*Proxy, error) {
	if c.MaxCalls == 0 {
		c.MaxCalls = 200_000
	}
	if c.TimerC == 0 {
		c.TimerC = 190 * time.Second
	}
	if c.SuspectWait == 0 {
		c.SuspectWait = 5 * time.Second
	}
	s, err := newSealer(c.Key)
	if err != nil {
		return nil, err
	}
	return &Proxy{Config: c, sealer: s, calls: newCalls(c.MaxCalls, time.Now())}, nil
}

// Stats returns the counts.
func (p *Proxy) Stats() Stats {
	return Stats{Forwarded: p.stats.forwarded.Load(), Refused: p.stats.refused.Load(), Stray: p.stats.stray.Load(), Calls: p.calls.count()}
}

// Caller is the sending side of a request without a To tag, as authenticated.
type Caller struct {
	Endpoint account.EndpointID // 0 for somebody outside
	Identity string             // address-of-record to assert (RFC 3325), "" for none
	Domains  func(realm string) bool
}

// Forward sends a request without a To tag to the targets of a decision and
// sees it through to its final response. source is the flow it came on.
func (p *Proxy) Forward(tx *siptransaction.Server, req *sip.Message, source sip.Flow, caller Caller, d routing.Decision) {
	f := &fork{
		proxy:   p,
		tx:      tx,
		req:     req.Clone(),
		source:  source,
		caller:  caller,
		callee:  d.Callee.ID,
		created: time.Now(),
		targets: d.Targets,
	}
	if createsDialog(req.Method) {
		f.call = newCallID()
		f.recordRoute = true
		if !p.calls.begin(f.call, f.created) {
			f.reply(503, "server.too_many_calls", "Too many calls")
			return
		}
	}
	tx.SetUser(f)
	if req.Method == sip.INVITE {
		f.reply(100, "", "")
		p.Logger.Debug("call", "call_id", f.call.String(), "from", caller.Identity, "to", d.Callee.AOR(), "devices", len(d.Targets))
	}
	if tx.Cancelled() {
		f.cancel("")
		return
	}
	f.start()
}

// createsDialog reports whether a request of this method makes a dialog, and so
// is record-routed.
func createsDialog(m sip.Method) bool {
	return m == sip.INVITE || m == sip.SUBSCRIBE || m == sip.REFER
}

// Cancel passes on a caller's CANCEL (RFC 3261 16.10). It does nothing for a
// transaction that is not the proxy's.
func (p *Proxy) Cancel(tx *siptransaction.Server, cancel *sip.Message) {
	if f, ok := tx.User().(*fork); ok {
		reason, _ := cancel.Value(sip.Reason)
		f.cancel(reason)
	}
}

// Admission is what a request with a To tag is let in by.
type Admission struct {
	cookie     *cookie
	to         side // where it goes
	fromCaller bool
	routes     int // Route values of ours, to be removed
	arrived    time.Time
}

// Refusal says why a request with a To tag is not let in.
type Refusal struct {
	Status   int
	Reason   string
	Sentence string
}

// Admit opens the cookie of a request with a To tag. It is let in when the
// cookie is ours, belongs to this Call-ID and to one of the two directions of
// its dialog, and its call is open; and when it comes from where that side is.
func (p *Proxy) Admit(req *sip.Message, source sip.Flow) (*Admission, *Refusal) {
	a := &Admission{arrived: time.Now()}
	for c := req.Values(sip.Route); c.Next(); a.routes++ {
		text, ok := p.ownRoute(c.Value)
		if !ok {
			break
		}
		if a.routes == 0 {
			a.cookie, _ = p.sealer.open(text) // nil for one that is not ours: refused below
		}
	}
	if a.cookie == nil {
		return nil, &Refusal{481, "dialog.unknown", "There is no such call here"}
	}
	k := a.cookie
	var from side
	switch k.Tag {
	case hash8(req.From.Tag()):
		a.fromCaller, from, a.to = true, k.Caller, k.Callee
	case hash8(req.To.Tag()):
		from, a.to = k.Callee, k.Caller
	default:
		p.stats.refused.Add(1)
		return nil, &Refusal{403, "dialog.foreign", "This route belongs to another call"}
	}
	if k.CallID != hash8(req.CallID) {
		p.stats.refused.Add(1)
		return nil, &Refusal{403, "dialog.foreign", "This route belongs to another call"}
	}
	if !p.comesFrom(from, source) {
		p.stats.refused.Add(1)
		return nil, &Refusal{403, "dialog.foreign", "This route belongs to another party"}
	}
	if !p.calls.touch(k, time.Now()) {
		p.stats.refused.Add(1)
		return nil, &Refusal{403, "dialog.closed", "This call is over"}
	}
	return a, nil
}

// comesFrom reports whether a request may come from this side: by its flow, or
// from its address, or from where its endpoint is registered now.
func (p *Proxy) comesFrom(s side, source sip.Flow) bool {
	if s.Flow == source || s.Flow.Remote.Addr().Unmap() == source.Remote.Addr().Unmap() {
		return true
	}
	if s.Endpoint == 0 {
		return false
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
	if err != nil || !u.IsSIP() || u.HasUser {
		return "", false
	}
	text, _ = u.Params.Get(CookieParam)
	return text, p.Ours(u.Host, u.Port)
}

// OwnRoutes counts the Route values at the top that are this server's, and
// returns the first one after them, "" when there is none (RFC 3261 16.4).
func (p *Proxy) OwnRoutes(req *sip.Message) (n int, next string) {
	for c := req.Values(sip.Route); c.Next(); n++ {
		if _, ok := p.ownRoute(c.Value); !ok {
			return n, c.Value
		}
	}
	return n, ""
}

// ForwardInDialog sends an admitted request to the other side of its call.
func (p *Proxy) ForwardInDialog(tx *siptransaction.Server, req *sip.Message, source sip.Flow, a *Admission) {
	f := &fork{
		proxy:    p,
		tx:       tx,
		req:      req.Clone(),
		source:   source,
		callee:   a.to.Endpoint,
		call:     a.cookie.Call,
		created:  a.cookie.Created,
		inDialog: a,
	}
	tx.SetUser(f)
	if req.Method == sip.INVITE {
		f.reply(100, "", "")
	}
	f.start()
}

// ACK passes on the ACK of a 2xx (RFC 3261 16: it has no transaction). One
// that is not admitted is dropped.
func (p *Proxy) ACK(req *sip.Message, source sip.Flow) {
	a, refusal := p.Admit(req, source)
	if refusal != nil {
		p.stats.stray.Add(1)
		return
	}
	flow, err := p.flowOf(a.to)
	if err != nil {
		p.stats.stray.Add(1)
		return
	}
	hops := maxForwards(req)
	if hops == 0 {
		p.stats.stray.Add(1)
		return
	}
	w := rewrite{req: req, source: source, flow: flow, uri: req.RequestURI, branch: newBranch(), skipRoutes: a.routes, hops: hops - 1}
	if p.Transport.Send(flow, w.append(p, nil)) != nil {
		p.stats.stray.Add(1)
	}
}

// flowOf finds the way to a side of a call as it is now: its own flow while it
// lasts, else the present flow of the same device.
func (p *Proxy) flowOf(s side) (sip.Flow, error) {
	if s.Endpoint != 0 {
		bindings := p.Bindings.Lookup(location.Key(s.Endpoint), nil)
		for i := range bindings {
			if flow, err := p.deviceFlow(&bindings[i]); err == nil && flow == s.Flow {
				return flow, nil
			}
		}
		for i := range bindings {
			if b := &bindings[i]; s.Instance != [8]byte{} && hash8(b.InstanceID) == s.Instance {
				if flow, err := p.deviceFlow(b); err == nil {
					return flow, nil
				}
			}
		}
	}
	if s.Flow.Transport == sip.UDP || p.Transport.Alive(s.Flow) {
		return s.Flow, nil
	}
	if s.Endpoint != 0 {
		// The connection is gone. A device without +sip.instance is known again
		// only when it is the endpoint's only one.
		if bindings := p.Bindings.Lookup(location.Key(s.Endpoint), nil); len(bindings) == 1 {
			return p.deviceFlow(&bindings[0])
		}
	}
	return sip.Flow{}, errFlowGone
}
