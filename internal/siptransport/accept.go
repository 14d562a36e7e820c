package siptransport

import (
	"crypto/tls"
	"errors"
	"net"
	"time"

	"onhook/internal/sip"
)

// accept takes connections and does nothing else: handshakes run elsewhere.
func (l *listener) accept() {
	t := l.t
	pause := time.Duration(0)
	for {
		tcp, err := l.tcp.AcceptTCP()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			t.stats.acceptErrors.Add(1) // out of file descriptors, most likely
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			select {
			case <-t.stop:
				return
			case <-time.After(pause):
			}
			continue
		}
		pause = 0
		l.admit(tcp)
	}
}

// admit counts a new connection and starts its goroutine.
func (l *listener) admit(tcp *net.TCPConn) {
	t := l.t
	addr, ok := tcp.RemoteAddr().(*net.TCPAddr)
	if !ok {
		_ = tcp.Close()
		return
	}
	remote := unmapped(addr.AddrPort())
	refuse := func() {
		t.stats.refused.Add(1)
		_ = tcp.SetLinger(0) // a reset: nothing of it stays with us
		_ = tcp.Close()
	}
	if !t.guard.Admit(remote.Addr(), t.now()) { // a connection costs its source what a message does
		t.stats.rateLimited.Add(1)
		refuse()
		return
	}
	if t.open.Load() >= int64(t.cfg.MaxConnections) || !t.guard.Open(remote.Addr()) {
		refuse()
		return
	}
	c := &conn{t: t, source: remote.Addr(), state: handshaking}
	c.flow = sip.Flow{Transport: l.Transport, Listener: l.index, Conn: t.lastConn.Add(1), Remote: remote}
	if err := c.link.init(t, tcp); err != nil {
		t.guard.Close(remote.Addr(), false)
		refuse()
		return
	}
	t.open.Add(1)
	t.conns.add(c)
	// The goroutine of the handshake, whose stack has grown, ends with it; the
	// reader, which may idle for days, starts with a small one.
	if !t.begin(func() { l.handshake(c) }) {
		c.shut(ErrStopped, false)
		c.gone()
	}
}

// handshake does TLS and WebSocket and starts the reader.
func (l *listener) handshake(c *conn) {
	t := l.t
	t.stats.accepted.Add(1)
	err := l.shakeHands(c)
	if err == nil && c.open() && t.begin(c.serve) {
		return
	}
	if err != nil {
		t.stats.handshake.Add(1)
		// A refusal over HTTP should be read: no reset.
		c.link.end()
		c.shutQuietly()
		c.linger()
	}
	c.shut(ErrStopped, false)
	c.gone()
}

func (l *listener) shakeHands(c *conn) error {
	if l.tls == nil && !l.Transport.WebSocket() {
		return nil
	}
	if err := c.link.SetReadDeadline(time.Now().Add(l.t.cfg.Deadlines.Handshake)); err != nil {
		return err
	}
	if l.tls != nil {
		cfg := l.tls
		if ask := l.t.cfg.AskCertificate; ask != nil && l.Transport == sip.TLS && ask(c.source) {
			cfg = l.tlsAsking
		}
		c.tls = tls.Server(&c.link, cfg)
		if err := c.tls.Handshake(); err != nil {
			return err
		}
		if cfg == l.tlsAsking {
			c.peer = l.t.clientOf(c.tls.ConnectionState())
		}
	}
	switch {
	case !l.Transport.WebSocket():
		return nil
	case c.tls != nil:
		return c.upgrade(c.tls)
	}
	return c.upgrade(&c.link)
}

// shutQuietly takes a connection out of the registry that nobody knew.
func (c *conn) shutQuietly() {
	c.mu.Lock()
	c.state = closing
	c.mu.Unlock()
	c.t.conns.remove(c)
}
