package siptransport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"onhook/internal/sip"
)

type connState uint8

const (
	connecting  connState = iota // dialled, and not there yet: messages wait
	handshaking                  // accepted, unknown to the Handler
	ready
	closing // gone for everyone but its reader
)

// conn is one TCP, TLS, WS or WSS connection.
type conn struct {
	t      *Transport
	flow   sip.Flow
	source netip.Addr   // counted with the guard; zero when dialled
	dest   *destination // when dialled
	tls    *tls.Conn
	peer   *x509.Certificate // of a client that was asked for it, checked; nil for none
	link   link

	mu      sync.Mutex
	state   connState
	bound   bool
	greeted bool   // a first message has come
	cause   error  // why it is closing
	waiting []byte // messages sent while connecting
	opened  int64
	partial int64 // since when an unfinished message is there, else 0
	armed   int64 // the read deadline that is set: never, or 0 when it has passed
	silence int64 // how long the peer may be silent, see Watch; 0: for ever

	active   atomic.Int64 // last message or keepalive, either way
	heard    atomic.Int64 // last byte from the peer
	nextPing int64        // of the reader

	// Of the reader: see stream.go and websocket.go.
	buf      []byte // from the pool while it holds something
	start    int    // of what is unread in buf
	newlines uint8
	framer   sip.Framer
	ws       wsState
}

// open makes an accepted or dialled connection ready for messages, after those
// that have been waiting for it. false: it broke or was closed meanwhile.
func (c *conn) open() bool {
	for {
		c.mu.Lock()
		waiting := c.waiting
		c.waiting = nil
		if c.state == closing {
			c.mu.Unlock()
			return false
		}
		if len(waiting) == 0 {
			now := c.t.now()
			c.state, c.opened, c.armed = ready, now, 0
			c.active.Store(now)
			c.heard.Store(now)
			c.nextPing = now + int64(c.t.cfg.PingInterval)
			_ = c.link.SetReadDeadline(time.Time{})
			c.mu.Unlock()
			return true
		}
		c.mu.Unlock()
		if c.write(waiting) != nil {
			return false
		}
	}
}

// serve reads until the connection ends, and takes it down.
func (c *conn) serve() {
	c.link.polled = c.tls != nil
	err := c.read()
	if h, ok := errors.AsType[*hangUp](err); ok {
		c.shut(h.cause, true)
	} else if failure := c.link.failure(); failure != nil {
		c.shut(failure, false)
	} else {
		c.shut(err, false)
	}
	c.release()
	c.mu.Lock()
	cause := c.cause
	c.mu.Unlock()
	c.t.handler.Closed(c.flow, cause)
	c.linger()
	c.gone()
}

// shut takes the connection out of use, once; the first cause counts. With
// linger what is queued is still sent and the peer may close first. The reader
// notices and does the rest.
func (c *conn) shut(cause error, linger bool) {
	c.mu.Lock()
	before := c.state
	if before == closing {
		c.mu.Unlock()
		return
	}
	c.state, c.cause, c.waiting = closing, cause, nil
	if before == ready {
		_ = c.link.SetReadDeadline(time.Unix(1, 0)) // wakes the reader
	}
	c.mu.Unlock()
	c.t.conns.remove(c)
	c.count(cause)
	switch {
	case before == connecting: // the dialling goroutine notices
	case before == ready && linger:
		if c.flow.Transport.WebSocket() {
			_ = c.writeClose(cause)
		}
		if c.tls != nil {
			_ = c.tls.CloseWrite()
		}
		c.link.end()
	default:
		c.link.fail(cause)
	}
}

func (c *conn) count(cause error) {
	s := &c.t.stats
	for _, reason := range [...]struct {
		err error
		n   *atomic.Uint64
	}{{ErrQueueFull, &s.queueFull}, {ErrSilent, &s.silent}, {ErrIdle, &s.idle}, {ErrPeerVanished, &s.vanished}} {
		if errors.Is(cause, reason.err) {
			reason.n.Add(1)
		}
	}
}

// linger discards what the peer still sends, so that closing the socket does
// not reset the connection before it has read our last message.
func (c *conn) linger() {
	c.mu.Lock()
	patience := c.t.cfg.Deadlines.Linger
	select {
	case <-c.t.stop:
		patience = min(patience, 100*time.Millisecond)
	default:
	}
	_ = c.link.SetReadDeadline(time.Now().Add(patience))
	c.mu.Unlock()
	if c.link.failure() != nil {
		return
	}
	for read := 0; read < 4*sip.MaxMessage; {
		b, err := c.link.receive()
		if err != nil {
			return
		}
		read += len(b)
		putBuffer(b[:0])
	}
}

// gone closes the socket and the books.
func (c *conn) gone() {
	c.link.fail(ErrFlowGone)
	c.t.open.Add(-1)
	c.mu.Lock()
	bound := c.bound
	c.mu.Unlock()
	if bound {
		c.t.stats.bound.Add(-1)
	}
	if c.source.IsValid() {
		c.t.guard.Close(c.source, bound)
	}
}

// send writes or queues one message.
func (c *conn) send(msg []byte) error {
	c.mu.Lock()
	switch c.state {
	case connecting:
		defer c.mu.Unlock()
		if len(c.waiting)+len(msg) > c.t.cfg.QueueBytes {
			return ErrQueueFull
		}
		c.waiting = append(c.waiting, msg...)
		c.t.stats.sent[c.flow.Transport].Add(1)
		return nil
	case closing, handshaking:
		c.mu.Unlock()
		return ErrFlowGone
	}
	c.mu.Unlock()
	c.active.Store(c.t.now())
	if err := c.write(msg); err != nil {
		return err
	}
	c.t.stats.sent[c.flow.Transport].Add(1)
	return nil
}

// write puts msg on the wire in the way of the transport. A failure closes the
// connection, since the peer has perhaps got a part of it.
func (c *conn) write(msg []byte) error {
	var err error
	if c.flow.Transport.WebSocket() {
		err = c.writeMessage(msg)
	} else {
		err = c.writeBytes(msg)
	}
	if err == nil {
		return nil
	}
	if errors.Is(err, ErrQueueFull) {
		err = ErrQueueFull
	} else {
		err = errors.Join(ErrFlowGone, err)
	}
	c.shut(err, false)
	return err
}

func (c *conn) writeBytes(b []byte) (err error) {
	if c.tls != nil {
		_, err = c.tls.Write(b)
	} else {
		_, err = c.link.Write(b)
	}
	return err
}

func (c *conn) setBound(bound bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bound == bound || c.state == closing {
		return
	}
	c.bound = bound
	c.active.Store(c.t.now())
	if bound {
		c.t.stats.bound.Add(1)
	} else {
		c.t.stats.bound.Add(-1)
	}
	if c.source.IsValid() {
		c.t.guard.SetBound(c.source, bound)
	}
	c.arm()
}

// watch limits how long the peer may be silent.
func (c *conn) watch(silence time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.silence == int64(silence) || c.state != ready {
		return
	}
	c.silence = int64(silence)
	c.arm()
}

// arm makes the reader wake when something is due. An earlier deadline that is
// set already may stay: the reader looks again then. c.mu is held.
func (c *conn) arm() {
	due := c.due()
	if c.state != ready || c.armed != 0 && c.armed <= due {
		return
	}
	c.armed = due
	at := time.Time{}
	if due != never {
		at = c.t.epoch.Add(time.Duration(due))
	}
	_ = c.link.SetReadDeadline(at)
}

const never = 1<<63 - 1

// due returns when the next deadline passes. c.mu is held.
func (c *conn) due() int64 {
	d := &c.t.cfg.Deadlines
	due := int64(never)
	if !c.greeted && c.dest == nil {
		due = c.opened + int64(d.FirstMessage)
	}
	if c.partial != 0 {
		due = min(due, c.partial+int64(d.Message))
	}
	if !c.bound {
		due = min(due, c.active.Load()+int64(d.Idle))
	}
	if c.silence != 0 {
		due = min(due, c.heard.Load()+c.silence)
	}
	if c.pings() {
		due = min(due, c.nextPing)
	}
	return due
}

func (c *conn) pings() bool { return c.flow.Transport.WebSocket() && c.t.cfg.PingInterval > 0 }

// overdue is called when the read deadline has passed. It returns what ends the
// connection, if anything does.
func (c *conn) overdue() error {
	d := &c.t.cfg.Deadlines
	now := c.t.now()
	c.mu.Lock()
	c.armed = 0
	switch {
	case c.state == closing:
		defer c.mu.Unlock()
		return c.cause
	case !c.greeted && c.dest == nil && now >= c.opened+int64(d.FirstMessage),
		c.partial != 0 && now >= c.partial+int64(d.Message):
		c.mu.Unlock()
		return ErrSilent
	case !c.bound && now >= c.active.Load()+int64(d.Idle):
		c.mu.Unlock()
		return ErrIdle
	}
	if c.silence != 0 && now >= c.heard.Load()+c.silence {
		c.mu.Unlock()
		return ErrPeerVanished
	}
	ping := c.pings() && now >= c.nextPing
	if ping {
		c.nextPing = now + int64(c.t.cfg.PingInterval)
	}
	c.mu.Unlock()
	if !ping {
		return nil
	}
	if now-c.heard.Load() >= 3*int64(c.t.cfg.PingInterval) {
		return ErrPeerVanished
	}
	return c.writePing()
}

// fill waits for bytes and puts them behind those that are unread.
func (c *conn) fill() error {
	for {
		c.mu.Lock()
		if c.state == closing {
			defer c.mu.Unlock()
			return c.cause
		}
		c.arm()
		c.mu.Unlock()
		err := c.receive()
		if err == nil {
			c.heard.Store(c.t.now())
			return nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if err := c.overdue(); err != nil {
			return err
		}
	}
}

// receive reads once. An empty connection holds no buffer while it waits.
func (c *conn) receive() error {
	if c.tls != nil {
		return c.receiveTLS()
	}
	if c.buf == nil {
		b, err := c.link.receive()
		c.buf, c.start = b, 0
		return err
	}
	b := c.space()
	n, err := c.link.Read(b[len(b):cap(b)])
	if n > 0 {
		c.buf = b[:len(b)+n]
		return nil
	}
	return err
}

// receiveTLS waits below TLS, not in it: a goroutine that sleeps in tls.Conn.Read
// needs a stack twice as large.
func (c *conn) receiveTLS() error {
	for {
		b := c.space()
		n, err := c.tls.Read(b[len(b):cap(b)])
		switch {
		case n > 0:
			c.buf = b[:len(b)+n]
			return nil
		case c.buf == nil:
			putBuffer(b)
		}
		if !errors.Is(err, errNothing) {
			return err
		}
		if err := c.link.await(); err != nil {
			return err
		}
	}
}

// space is the buffer with room for more; a new one is the conn's once something
// is in it.
func (c *conn) space() []byte {
	switch {
	case c.buf == nil:
		c.start = 0
		return getBuffer()
	case len(c.buf) == cap(c.buf):
		c.grow()
	}
	return c.buf
}

// unread returns the bytes that wait.
func (c *conn) unread() []byte { return c.buf[c.start:] }

// settle is called when no more can be made of what is unread: it is moved to
// the front, and an empty buffer goes back to the pool.
func (c *conn) settle() {
	rest := c.unread()
	partial := int64(0)
	if len(rest) == 0 && !c.ws.assembling() {
		c.release()
	} else {
		partial = c.t.now()
		copy(c.buf, rest)
		c.buf, c.start = c.buf[:len(rest)], 0
	}
	c.mu.Lock()
	if partial == 0 || c.partial == 0 {
		c.partial = partial
	}
	c.mu.Unlock()
}

func (c *conn) grow() {
	b := append(getLargeBuffer(), c.unread()...)
	putBuffer(c.buf[:0])
	c.buf, c.start = b, 0
}

func (c *conn) release() {
	putBuffer(c.buf[:0])
	c.buf, c.start = nil, 0
}
