// Package siptransport carries SIP messages over UDP, TCP, TLS and WebSocket:
// it owns the sockets, names each way to a peer by a sip.Flow, cuts streams
// into messages, answers keepalives and drops what is not SIP. It knows no
// transactions, no dialogs and no accounts.
//
// A Handler is called on the goroutine that received: the worker of a UDP
// socket, or the reader of a connection. Messages of one connection come in
// order. Nothing here waits for a peer while the Handler runs: Send copies or
// writes at once, and what a slow peer does not take is queued up to a bound.
package siptransport

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"onhook/internal/floodguard"
	"onhook/internal/sip"
)

// Handler receives what arrives. m and everything in it is valid until the
// method returns (see package sip).
type Handler interface {
	// Message brings one well-formed message.
	Message(m *sip.Message, flow sip.Flow)
	// Malformed brings a request that breaks the grammar but has what an
	// answer needs. It has been counted already.
	Malformed(m *sip.Message, err *sip.Error, flow sip.Flow)
	// Overloaded brings a request that there is no time for: it is to be refused
	// at little cost, unless it repeats one that is under way.
	Overloaded(m *sip.Message, flow sip.Flow)
	// Closed tells, once per connection and after its last message, that it
	// is gone or could not be made. err says why; it is never nil.
	Closed(flow sip.Flow, err error)
}

// Listener is one address to serve. Its place in Config.Listeners is the
// number in sip.Flow.
type Listener struct {
	Transport sip.Transport
	// Address is host:port. Port 0 means any; an empty host means every
	// address, IPv6 and IPv4; 0.0.0.0 and [::] mean their family alone.
	Address string
	// Advertise is the host, or host:port, that peers are told in Via and
	// Record-Route; "" means the bound address.
	Advertise string
	// TLS is needed by TLS and WSS. It is cloned; for certificates that are
	// reloaded set GetCertificate.
	TLS *tls.Config
}

// Deadlines bound how long a peer may take. Zero values mean the defaults
// named.
type Deadlines struct {
	Handshake    time.Duration // TLS and WebSocket handshakes together: 5 s
	FirstMessage time.Duration // from then to the first SIP message: 10 s
	Message      time.Duration // from the first byte of a message to its last: 10 s
	Idle         time.Duration // without messages and keepalives on a connection that carries no binding: 60 s
	Write        time.Duration // for the peer to take what is queued: 10 s
	Dial         time.Duration // connecting, TLS handshake included: 5 s
	Linger       time.Duration // for the peer to close after we did: 1 s
}

// Config says what to serve and within which limits. Zero values mean the
// defaults named.
type Config struct {
	Listeners []Listener
	Guard     *floodguard.Guard // nil: one with its default limits
	Logger    *slog.Logger      // nil: none

	UDPWorkers    int // sockets of each UDP listener: GOMAXPROCS
	ReceiveBuffer int // bytes the kernel keeps for each UDP socket: 8 MiB, as far as it allows
	SendBuffer    int // the same for sending: 2 MiB

	MaxConnections int // of all listeners: 200,000
	QueueBytes     int // that one connection may have waiting to be sent: 256 KiB
	Deadlines      Deadlines
	PingInterval   time.Duration // of WebSocket pings; a peer silent for three of them is gone: 30 s; negative: no pings
	Origins        []string      // Origin values a WebSocket handshake may carry; empty: any

	// Keepalive is called for every keepalive over UDP, a STUN request or line
	// breaks, on the goroutine that received it; nil: nobody wants to know.
	Keepalive func(flow sip.Flow)

	DialTLS *tls.Config // for outgoing TLS: RootCAs, client certificates, …
	// AskCertificate reports whether a client over TLS is asked for a certificate,
	// by its address; nil: nobody is. One that shows none may go on, see Certified.
	AskCertificate func(source netip.Addr) bool

	// Poison overwrites each received message after its Handler returned, so
	// that tests find whoever kept a view of it.
	Poison bool
}

// Errors that Send, Dial and Handler.Closed report.
var (
	ErrFlowGone     = errors.New("the flow is gone")
	ErrQueueFull    = errors.New("the peer does not take what is sent to it")
	ErrNoListener   = errors.New("no listener for this transport and address family")
	ErrNotDialled   = errors.New("WebSocket connections are made by the client only")
	ErrStopped      = errors.New("the transport is stopping")
	ErrClosedByUs   = errors.New("closed by the server")
	ErrIdle         = errors.New("idle without a binding")
	ErrSilent       = errors.New("no message in time")
	ErrNotSIP       = errors.New("not SIP")
	ErrPeerVanished = errors.New("the peer is silent for too long")
)

// Transport serves the listeners of a Config.
type Transport struct {
	cfg       Config
	handler   Handler
	guard     *floodguard.Guard
	log       *slog.Logger
	listeners []*listener
	epoch     time.Time // now() counts from here
	stats     counters
	conns     registry
	lastConn  atomic.Uint64
	open      atomic.Int64
	together  sync.Mutex // held by Together

	stop     chan struct{} // closed when no new work may start
	stopOnce sync.Once
	ctx      context.Context // of dialling; ends with stop
	cancel   context.CancelFunc
	mu       sync.Mutex // guards running and the start of goroutines
	running  bool
	stopped  bool
	wg       sync.WaitGroup
	done     chan struct{} // closed when Run has returned
}

// New returns a Transport for h. It opens nothing yet.
func New(cfg Config, h Handler) *Transport {
	cfg.setDefaults()
	t := &Transport{
		cfg: cfg, handler: h, guard: cfg.Guard, log: cfg.Logger,
		epoch: time.Now(), stop: make(chan struct{}), done: make(chan struct{}),
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.conns.init()
	// A number from before a restart must name nothing: flows are kept with
	// the bindings. No process opens a connection every nanosecond.
	t.lastConn.Store(uint64(t.epoch.UnixNano()))
	return t
}

// Run serves until ctx ends or Close is called; Listen comes before it. When it
// returns, every goroutine and socket of the Transport is gone.
func (t *Transport) Run(ctx context.Context) error {
	t.mu.Lock()
	switch {
	case t.running:
		t.mu.Unlock()
		return ErrStopped
	case t.stopped: // Close came first
		t.mu.Unlock()
		return nil
	}
	t.running = true
	t.mu.Unlock()
	defer close(t.done)
	for _, l := range t.listeners {
		l.serve()
	}
	select {
	case <-ctx.Done():
	case <-t.stop:
	}
	t.shutdown()
	t.wg.Wait()
	return nil
}

// Close ends Run and waits for it; without Run it closes what Listen opened.
// It must not be called by a Handler.
func (t *Transport) Close() error {
	t.shutdown()
	t.mu.Lock()
	running := t.running
	t.mu.Unlock()
	if running {
		<-t.done
	}
	return nil
}

// shutdown refuses new connections, then lets go of those that are open.
func (t *Transport) shutdown() {
	t.stopOnce.Do(func() {
		t.mu.Lock()
		t.stopped = true
		t.mu.Unlock()
		close(t.stop)
		t.cancel()
		for _, l := range t.listeners {
			l.close()
		}
		t.conns.each(func(c *conn) { c.shut(ErrStopped, true) })
	})
}

// begin starts a goroutine that Run waits for; false when it is too late.
func (t *Transport) begin(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped {
		return false
	}
	t.wg.Go(f)
	return true
}

// now is monotonic time in nanoseconds.
func (t *Transport) now() int64 { return int64(time.Since(t.epoch)) }

// Addr returns the address that a listener is bound to, after Listen.
func (t *Transport) Addr(listener int) netip.AddrPort { return t.listeners[listener].addr }

// SentBy returns the host:port under which peers of flow reach us, for Via
// (RFC 3261 18.1.1) and Record-Route.
func (t *Transport) SentBy(flow sip.Flow) string {
	if int(flow.Listener) >= len(t.listeners) {
		return ""
	}
	l := t.listeners[flow.Listener]
	if flow.Remote.Addr().IsLoopback() {
		return l.sentByLoopback
	}
	return l.sentBy
}

// Send hands msg to the peer of flow. It never waits for the peer and keeps
// nothing of msg. An error means that msg will not arrive; nil does not mean
// that it will.
func (t *Transport) Send(flow sip.Flow, msg []byte) error {
	if flow.Transport != sip.UDP {
		c := t.conns.get(flow)
		if c == nil {
			return ErrFlowGone
		}
		return c.send(msg)
	}
	if int(flow.Listener) >= len(t.listeners) || t.listeners[flow.Listener].Transport != sip.UDP {
		return ErrFlowGone
	}
	return t.listeners[flow.Listener].sendDatagram(flow.Remote, msg)
}

// Alive reports whether flow can be sent to: for UDP whether its listener is
// there, else whether the connection is.
func (t *Transport) Alive(flow sip.Flow) bool {
	if flow.Transport != sip.UDP {
		return t.conns.get(flow) != nil
	}
	return int(flow.Listener) < len(t.listeners) && t.listeners[flow.Listener].Transport == sip.UDP
}

// Heard returns when the peer of a connection last sent anything; false when the
// connection is gone. For UDP see Config.Keepalive.
func (t *Transport) Heard(flow sip.Flow) (time.Time, bool) {
	c := t.conns.get(flow)
	if c == nil {
		return time.Time{}, false
	}
	return t.epoch.Add(time.Duration(c.heard.Load())), true
}

// CloseFlow closes a connection once what is queued for it has been sent. UDP
// has none.
func (t *Transport) CloseFlow(flow sip.Flow) {
	if c := t.conns.get(flow); c != nil {
		c.shut(ErrClosedByUs, true)
	}
}

// SetBound tells whether a binding belongs to the connection: such a one may
// be idle, and does not count against its source's limit of unbound ones.
func (t *Transport) SetBound(flow sip.Flow, bound bool) {
	if c := t.conns.get(flow); c != nil {
		c.setBound(bound)
	}
}

// Watch closes the connection when its peer sends nothing, not even a keepalive,
// for longer than silence (RFC 5626 6): a device that was told a Flow-Timer.
func (t *Transport) Watch(flow sip.Flow, silence time.Duration) {
	if c := t.conns.get(flow); c != nil {
		c.watch(silence)
	}
}

// Certified reports whether the peer of a TLS connection has shown a certificate
// for this SIP domain (RFC 5922): the server that we dialled by that name, or a
// client that was asked for one (Config.AskCertificate).
func (t *Transport) Certified(flow sip.Flow, domain string) bool {
	c := t.conns.get(flow)
	if c == nil || flow.Transport != sip.TLS {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.state != ready:
		return false
	case c.dest != nil: // the handshake has checked it
		return strings.EqualFold(cmp.Or(c.dest.serverName, flow.Remote.Addr().String()), domain)
	}
	return c.peer != nil && hasIdentity(c.peer, identities(c.peer), domain)
}

// UDPFlow returns the flow to a UDP peer that may not have sent anything yet.
func (t *Transport) UDPFlow(remote netip.AddrPort) (sip.Flow, error) {
	i, ok := t.listenerFor(sip.UDP, remote.Addr())
	if !ok {
		return sip.Flow{}, ErrNoListener
	}
	return sip.Flow{Transport: sip.UDP, Listener: uint16(i), Remote: unmapped(remote)}, nil
}
