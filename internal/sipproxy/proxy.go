package sipproxy

import (
	"context"
	"hash/maphash"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"onhook/internal/account"
	"onhook/internal/callrecord"
	"onhook/internal/location"
	"onhook/internal/routing"
	"onhook/internal/sip"
	"onhook/internal/sipgruu"
	"onhook/internal/siptransaction"
	"onhook/internal/trunk"
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

// Policy says what the two sides of a call may exchange, by what holds at this
// moment. An endpoint of 0 is somebody else's.
type Policy interface {
	// Request refuses a request within a call, or nil.
	Request(m *sip.Message, caller, callee account.EndpointID) *Refusal
	// Body returns what a message that may carry an offer or an answer goes on
	// with: its own body, another one, or none.
	Body(m *sip.Message, caller, callee account.EndpointID) []byte
	// Answer refuses a call whose 2xx leaves it nothing that both may exchange, or
	// nil.
	Answer(m *sip.Message, caller, callee account.EndpointID) *Refusal
}

// Limiter bounds the calls that our endpoints place.
type Limiter interface {
	// Begin counts a call that is placed, and says how long it may last (0: for
	// ever), or refuses it.
	Begin(c Caller, now time.Time) (longest time.Duration, no *Refusal)
	// Resume counts a call of a process before this one, whatever the limits.
	Resume(endpoint account.EndpointID, owner, main string)
	// Over tells that a call is over which Begin or Resume has counted.
	Over(endpoint account.EndpointID, owner, main string)
}

// Config is what a Proxy is made of.
type Config struct {
	Transport    Transport
	Transactions *siptransaction.Layer
	Bindings     Bindings
	// GRUUs reads the Request-URIs that name one device; nil: none does.
	GRUUs *sipgruu.GRUUs
	// Ours reports whether a Route's host and port are this server.
	Ours func(host string, port uint16) bool
	// Policy is asked about what passes within a call; nil forbids nothing.
	Policy Policy
	// Limiter is asked about every call that an endpoint places; nil: no limits.
	Limiter Limiter
	// Owners tells whose an endpoint is, by auth_ids; nil: nobody's.
	Owners func(account.EndpointID) (owner, main string)
	// Untold hears the reason of a refusal that a caller from outside is not told;
	// nil: nobody does.
	Untold func(req *sip.Message, reason string)
	// Redirects is asked where a redirected request may go on to; nil: nowhere.
	Redirects Redirects
	// Domain stands in the Warning of refusals.
	Domain string
	// Journal keeps the state of calls in progress; nil: a restart knows them by
	// their cookies alone. It is the caller's to close, after Run.
	Journal location.Journal
	// Key seals dialog cookies; the same after a restart.
	Key      []byte
	MaxCalls int           // calls open at the same time; 0 means 200,000
	TimerC   time.Duration // RFC 3261 16.6 step 11; 0 means 3 minutes and 10 seconds
	// SuspectWait is how long a call waits for a device that was registered
	// before a restart and is not back yet; 0 means 5 s.
	SuspectWait time.Duration
	// Resolver finds other domains; nil: there are none.
	Resolver Resolver
	// Trunks are the ways to the telephone network; nil: there are none.
	Trunks Trunks
	// HopTimeout is how long one of several servers of a domain may keep silent
	// before the next is tried; 0 means 5 s.
	HopTimeout time.Duration
	// Feeds is told of every call that an account takes part in, and Records gets
	// the records of finished ones; nil: nobody.
	Feeds   *callrecord.Feeds
	Records Records
	Logger  *slog.Logger
}

// Proxy forwards requests.
type Proxy struct {
	Config
	sealer    sealer
	calls     *calls
	ringing   ringing
	journal   *journal
	farewells []farewell                       // to send when Run begins
	rang      atomic.Pointer[map[CallID]*call] // at the restart: over, and their phones were told
	started   time.Time
	merged    *merged
	loopSeed  maphash.Seed
	buffers   sync.Pool // of *[]byte: neither transactions nor the transport keep what they are given
	stats     counters
}

type counters struct{ forwarded, refused, stray atomic.Uint64 }

// Stats are counts since the start, and the present number of open calls.
type Stats struct {
	Forwarded uint64 // requests sent on, branches counted one by one
	Refused   uint64 // in-dialog requests refused for their cookie
	Stray     uint64 // ACKs dropped
	Calls     int
	Unkept    uint64 // changes of calls that the journal did not take
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
	if c.HopTimeout == 0 {
		c.HopTimeout = 5 * time.Second
	}
	s, err := newSealer(c.Key)
	if err != nil {
		return nil, err
	}
	p := &Proxy{Config: c, sealer: s, calls: newCalls(c.MaxCalls), ringing: ringing{forks: map[uint64][]*fork{}}, merged: newMerged(), loopSeed: maphash.MakeSeed()}
	p.started = time.Now()
	if c.Journal != nil {
		p.journal = &journal{Journal: c.Journal, wake: make(chan struct{}, 1), epochs: map[uint32]bool{}}
	}
	p.buffers.New = func() any { b := make([]byte, 0, 4096); return &b }
	return p, nil
}

// Stats returns the counts.
func (p *Proxy) Stats() Stats {
	return Stats{Forwarded: p.stats.forwarded.Load(), Refused: p.stats.refused.Load(), Stray: p.stats.stray.Load(), Calls: p.calls.count(), Unkept: p.journal.lost()}
}

// Caller is the sending side of a request without a To tag, as authenticated.
type Caller struct {
	Endpoint    account.EndpointID // 0 for somebody outside
	Owner, Main string             // auth_ids, "" for somebody outside
	Identity    string             // address-of-record to assert (RFC 3325), "" for none
	Trunk       *trunk.Line        // that the request comes from, nil for none
}

// Forward sends a request without a To tag to the targets of a decision and
// sees it through to its final response. source is the flow it came on. The
// refusal is that of a request which it has answered and sent nowhere.
func (p *Proxy) Forward(tx *siptransaction.Server, req *sip.Message, source sip.Flow, caller Caller, d routing.Decision) *Refusal {
	f := &fork{
		proxy:   p,
		tx:      tx,
		req:     req.Clone(),
		source:  source,
		caller:  caller,
		callee:  d.Callee.ID,
		arrived: time.Now(),
		targets: d.Targets,
		device:  d.Device,
	}
	f.method = f.req.Method
	f.body = f.req.Body
	f.req.Body = p.body(f.req, f.method, caller.Endpoint, f.callee)
	if f.loopMark = p.loopMark(req.RequestURI); loops(req, f.loopMark) {
		return f.refuse(482, "request.loop", "The request has been here before")
	}
	// RFC 3261 8.2.2.2: a copy that came by another path is answered once only.
	if f.copyKey = p.merged.key(req); !p.merged.enter(f.copyKey) {
		f.reply(482, "request.merged", "The request is under way already, it came by another path")
		return nil // the other copy is the call
	}
	if no := p.begin(f, req, source, caller, d); no != nil {
		p.merged.leave(f.copyKey)
		return no
	}
	p.run(f)
	return nil
}

// begin finds the way of a request out of this server, and opens its call where
// it makes one. What it refuses it has answered.
func (p *Proxy) begin(f *fork, req *sip.Message, source sip.Flow, caller Caller, d routing.Decision) *Refusal {
	switch d.Via {
	case routing.ViaOtherDomains:
		exits, err := p.exitsOf(f.req)
		if err != nil {
			a := unresolved(err)
			return f.refuse(a.status, a.reason, a.sentence)
		}
		f.outside = &outside{exits: exits}
	case routing.ViaPhones:
		f.outside = &outside{exits: exitsByTrunk(d.Lines)}
		f.restore = restoreOf(f.req)
	}
	f.routes, _ = p.OwnRoutes(req)
	if createsDialog(f.method) && req.To.Tag() == "" { // else its dialog was begun elsewhere, without us
		from := p.callerSide(f.req, source, caller)
		f.call = callrecord.NewID(f.arrived)
		f.live = newCall(f.call, p.calls.epoch, req, from, caller, d.Callee, f.arrived)
		f.live.fork = f
		if p.Limiter != nil && f.live.invite && caller.Endpoint != 0 {
			longest, no := p.Limiter.Begin(caller, f.arrived)
			if no != nil {
				return f.refuse(no.Status, no.Reason, no.Sentence)
			}
			f.live.counted, f.live.longest = true, longest
		}
		if no := f.live.takeFrom(caller.Trunk); no != nil {
			return f.refuse(no.Status, no.Reason, no.Sentence)
		}
		if !p.calls.begin(f.live) {
			p.uncounted(f.live)
			return f.refuse(503, "server.too_many_calls", "Too many calls")
		}
		f.record = &cookie{Call: f.call, Epoch: p.calls.epoch, Invite: f.live.invite,
			CallID: hash8(req.CallID), Tag: hash8(req.From.Tag()), Caller: from}
		p.begun(f.live)
	}
	return nil
}

// uncounted tells those who count calls of a call's end.
func (p *Proxy) uncounted(c *call) {
	if c.line != nil {
		c.line.Leave()
		c.line = nil
	}
	if c.counted {
		p.Limiter.Over(c.caller.Endpoint, c.caller.Owner, c.caller.Main)
	}
}

// ForwardInDialog sends an admitted request to the other side of its call, if
// both may exchange what it asks for. A refusal takes the transaction too: the
// ACK of a refused INVITE ends there.
func (p *Proxy) ForwardInDialog(tx *siptransaction.Server, req *sip.Message, source sip.Flow, a *Admission) {
	f := &fork{
		proxy:    p,
		tx:       tx,
		req:      req.Clone(),
		source:   source,
		callee:   a.to.Endpoint,
		call:     a.cookie.Call,
		live:     p.calls.get(a.cookie.Call),
		arrived:  time.Now(),
		routes:   a.routes,
		inDialog: a,
	}
	if p.Resolver != nil {
		f.outside = exitsWithin(a.to)
	}
	if f.line = p.lineOf(a.to); a.to.Trunk != 0 && a.sender == callerEnd {
		f.restore = restoreOf(f.req)
	}
	f.method = f.req.Method
	if p.Policy != nil {
		if no := p.Policy.Request(f.req, a.cookie.Caller.Endpoint, a.cookie.Callee.Endpoint); no != nil {
			f.reply(no.Status, no.Reason, no.Sentence)
			return
		}
	}
	f.req.Body = p.body(f.req, f.method, a.cookie.Caller.Endpoint, a.cookie.Callee.Endpoint)
	a.last = f.method == sip.NOTIFY && subscriptionOver(req)
	p.run(f)
}

// run starts a fork, unless its CANCEL has come already.
func (p *Proxy) run(f *fork) {
	f.tx.SetUser(f)
	if f.method == sip.INVITE {
		f.reply(100, "", "")
		if !p.watch(f) || f.tx.Cancelled() {
			f.cancel("")
			return
		}
	}
	f.start()
}

// logCall is for debugging: what calls do is told by their events and records,
// and a busy server has no time to write lines.
func (p *Proxy) logCall(f *fork, status int) {
	ctx := context.Background()
	if !p.Logger.Enabled(ctx, slog.LevelDebug) {
		return
	}
	f.mu.Lock()
	callee := f.callee
	f.mu.Unlock()
	from := f.caller.Endpoint
	if f.inDialog != nil {
		from = f.inDialog.cookie.Caller.Endpoint
	}
	p.Logger.DebugContext(ctx, "call", "call_id", f.call.String(), "method", f.method, "status", status,
		"caller", from.String(), "callee", callee.String())
}

// loopMark ends the branches of requests to one address: another request to it
// that carries such a branch has come back unchanged (RFC 5393 4.2). Nothing but
// the Request-URI decides where a request goes.
func (p *Proxy) loopMark(uri string) string {
	var b [16]byte
	return string(strconv.AppendUint(append(b[:0], '-'), maphash.String(p.loopSeed, uri), 36))
}

func loops(req *sip.Message, mark string) bool {
	for i := range req.Headers {
		if h := &req.Headers[i]; h.ID == sip.Via && strings.Contains(h.Value, mark) {
			return true
		}
	}
	return false
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

// body is what a message goes on with between two sides of a call. Offers and
// answers travel in these requests and their responses (RFC 6337 2).
func (p *Proxy) body(m *sip.Message, method sip.Method, caller, callee account.EndpointID) []byte {
	switch method {
	case sip.INVITE, sip.ACK, sip.PRACK, sip.UPDATE:
		if len(m.Body) > 0 && p.Policy != nil {
			return p.Policy.Body(m, caller, callee)
		}
	}
	return m.Body
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
