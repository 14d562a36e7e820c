package siptransport

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"

	"onhook/internal/sip"
)

// Dial returns a flow to remote without waiting. For UDP that is all; for TCP
// and TLS an open connection that we made is used again, else one is being
// made and messages sent to the flow wait for it. A failure arrives as
// Handler.Closed. serverName is the SIP domain that a TLS certificate must be for
// (RFC 5922); "" means the address. The listener of the same transport and family lends its address.
func (t *Transport) Dial(tr sip.Transport, remote netip.AddrPort, serverName string) (sip.Flow, error) {
	remote = unmapped(remote)
	switch {
	case tr == sip.UDP:
		return t.UDPFlow(remote)
	case tr.WebSocket():
		return sip.Flow{}, ErrNotDialled
	}
	i, ok := t.listenerFor(tr, remote.Addr())
	if !ok {
		return sip.Flow{}, ErrNoListener
	}
	if tr != sip.TLS {
		serverName = ""
	}
	dest := destination{tr, remote, serverName}
	c := &conn{t: t, dest: &dest, state: connecting}
	c.flow = sip.Flow{Transport: tr, Listener: uint16(i), Conn: t.lastConn.Add(1), Remote: remote}
	t.conns.mu.Lock()
	if other := t.conns.dialled[dest]; other != nil {
		t.conns.mu.Unlock()
		return other.flow, nil
	}
	if t.open.Load() >= int64(t.cfg.MaxConnections) {
		t.conns.mu.Unlock()
		return sip.Flow{}, fmt.Errorf("dial %s: too many connections", remote)
	}
	t.conns.dialled[dest] = c
	t.conns.mu.Unlock()
	t.conns.add(c)
	t.open.Add(1)
	if !t.begin(func() { t.connect(c, t.listeners[i]) }) {
		t.conns.remove(c)
		t.open.Add(-1)
		return sip.Flow{}, ErrStopped
	}
	t.stats.dialled.Add(1)
	return c.flow, nil
}

// connect makes the connection, sends what has been waiting for it and starts
// the reader.
func (t *Transport) connect(c *conn, l *listener) {
	err := t.reach(c, l)
	if err == nil && c.open() && t.begin(c.serve) {
		return
	}
	if err != nil {
		t.stats.dialFailed.Add(1)
		err = fmt.Errorf("dial %s %s: %w", c.flow.Transport, c.flow.Remote, err)
	} else {
		err = ErrStopped // unless it has a cause already
	}
	c.shut(err, false)
	c.mu.Lock()
	cause := c.cause
	c.mu.Unlock()
	t.handler.Closed(c.flow, cause)
	c.gone()
}

func (t *Transport) reach(c *conn, l *listener) error {
	ctx, cancel := context.WithTimeout(t.ctx, t.cfg.Deadlines.Dial)
	defer cancel()
	d := net.Dialer{Control: controlTCP(2 * t.cfg.Deadlines.Write), KeepAliveConfig: keepAlive}
	if ip := l.addr.Addr(); !ip.IsUnspecified() {
		d.LocalAddr = &net.TCPAddr{IP: ip.AsSlice(), Zone: ip.Zone()}
	}
	nc, err := d.DialContext(ctx, "tcp", c.flow.Remote.String())
	if err != nil {
		return err
	}
	if err := c.link.init(t, nc.(*net.TCPConn)); err != nil {
		_ = nc.Close()
		return err
	}
	if c.flow.Transport != sip.TLS {
		return nil
	}
	cfg := &tls.Config{}
	if t.cfg.DialTLS != nil {
		cfg = t.cfg.DialTLS.Clone()
	}
	cfg.DynamicRecordSizingDisabled = true
	cfg.NextProtos = nil
	if cfg.ServerName = c.dest.serverName; cfg.ServerName == "" {
		cfg.ServerName = c.flow.Remote.Addr().String()
	}
	cfg.InsecureSkipVerify, cfg.VerifyConnection = true, verifyDomain(cfg.RootCAs, cfg.ServerName) // instead of the library's check
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.link.SetReadDeadline(deadline); err != nil {
			return err
		}
	}
	c.tls = tls.Client(&c.link, cfg)
	return c.tls.HandshakeContext(ctx)
}
