package siptransport

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"onhook/internal/sip"
)

// listener is one bound address: a TCP socket, or the UDP workers' sockets.
type listener struct {
	Listener
	t              *Transport
	index          uint16
	addr           netip.AddrPort
	sentBy         string
	sentByLoopback string
	tls            *tls.Config
	tlsAsking      *tls.Config // the same for clients that are asked for a certificate
	tcp            *net.TCPListener
	workers        []*worker
	together       *bundle // of UDP
}

// Listen binds all listeners, or none: then the error names the address.
func (t *Transport) Listen() (err error) {
	defer func() {
		if err != nil {
			for _, l := range t.listeners {
				l.close()
			}
		}
	}()
	for i, cfg := range t.cfg.Listeners {
		l := &listener{Listener: cfg, t: t, index: uint16(i)}
		t.listeners = append(t.listeners, l)
		if err := l.bind(); err != nil {
			return fmt.Errorf("SIP listener %s %s: %w", cfg.Transport, cfg.Address, err)
		}
		l.setSentBy()
		t.log.Info("listening", "transport", cfg.Transport.String(), "address", l.addr.String(), "sent_by", l.sentBy)
	}
	return nil
}

// keepAlive finds dead peers of connections that may idle.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 45 * time.Second, Interval: 15 * time.Second, Count: 4}

func (l *listener) bind() error {
	host, _, err := net.SplitHostPort(l.Address)
	if err != nil {
		return err
	}
	family := ""
	if ip, err := netip.ParseAddr(host); err == nil {
		family = "6"
		if ip.Unmap().Is4() {
			family = "4"
		}
	}
	if l.Transport == sip.UDP {
		return l.bindUDP("udp" + family)
	}
	if l.Transport.Secure() {
		if l.TLS == nil {
			return fmt.Errorf("no TLS configuration")
		}
		l.tls = l.TLS.Clone()
		// One record a message: there is no bulk transfer to size records for.
		l.tls.DynamicRecordSizingDisabled = true
		// ALPN: a configuration shared with HTTP would have browsers speak h2 here.
		l.tls.NextProtos = nil
		if l.Transport == sip.WSS {
			l.tls.NextProtos = []string{"http/1.1"}
		}
		l.tlsAsking = l.tls.Clone()
		l.tlsAsking.ClientAuth = tls.RequestClientCert
	} else if l.Transport != sip.TCP && l.Transport != sip.WS {
		return fmt.Errorf("unknown transport")
	}
	cfg := net.ListenConfig{Control: controlTCP(2 * l.t.cfg.Deadlines.Write), KeepAliveConfig: keepAlive}
	ln, err := cfg.Listen(context.Background(), "tcp"+family, l.Address)
	if err != nil {
		return err
	}
	l.tcp = ln.(*net.TCPListener)
	l.addr = unmapped(l.tcp.Addr().(*net.TCPAddr).AddrPort())
	return nil
}

// bindUDP opens one socket per worker on the same port. SO_REUSEPORT would let
// us share it with another process unnoticed, so a socket without it comes
// first and is refused when anyone is there.
func (l *listener) bindUDP(network string) error {
	probe, err := net.ListenPacket(network, l.Address)
	if err != nil {
		return err
	}
	address := l.Address
	if bound := probe.LocalAddr().(*net.UDPAddr); strings.HasSuffix(address, ":0") {
		host, _, _ := net.SplitHostPort(l.Address)
		address = net.JoinHostPort(host, strconv.Itoa(bound.Port))
	}
	if err := probe.Close(); err != nil {
		return err
	}
	cfg := net.ListenConfig{Control: controlUDP}
	for range udpSockets(l.t.cfg.UDPWorkers) {
		pc, err := cfg.ListenPacket(context.Background(), network, address)
		if err != nil {
			return err
		}
		w, err := newWorker(l, pc.(*net.UDPConn))
		if err != nil {
			_ = pc.Close()
			return err
		}
		l.workers = append(l.workers, w)
	}
	l.together = newBundle(&l.workers[0].sock, &l.workers[0].stats)
	l.addr = unmapped(l.workers[0].sock.conn.LocalAddr().(*net.UDPAddr).AddrPort())
	return nil
}

// serve starts the goroutines of the listener.
func (l *listener) serve() {
	for _, w := range l.workers {
		l.t.begin(w.run)
	}
	if l.tcp != nil {
		l.t.begin(l.accept)
	}
}

func (l *listener) close() {
	for _, w := range l.workers {
		_ = w.sock.conn.Close()
	}
	if l.tcp != nil {
		_ = l.tcp.Close()
	}
}

// setSentBy works out what to advertise. A listener on every address names the
// first one that is not loopback.
func (l *listener) setSentBy() {
	port := strconv.Itoa(int(l.addr.Port()))
	if a := l.Advertise; a != "" {
		if _, _, err := net.SplitHostPort(a); err != nil {
			a = net.JoinHostPort(strings.Trim(a, "[]"), port)
		}
		l.sentBy, l.sentByLoopback = a, a
		return
	}
	ip := l.addr.Addr()
	if !ip.IsUnspecified() {
		l.sentBy = l.addr.String()
		l.sentByLoopback = l.sentBy
		return
	}
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if ip.Is6() && !l.takesIPv4() {
		loopback = netip.IPv6Loopback()
	}
	l.sentByLoopback = netip.AddrPortFrom(loopback, l.addr.Port()).String()
	l.sentBy = l.sentByLoopback
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return
	}
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		own, _ := netip.AddrFromSlice(n.IP)
		own = own.Unmap()
		if own.IsGlobalUnicast() && own.Is4() == loopback.Is4() {
			l.sentBy = netip.AddrPortFrom(own, l.addr.Port()).String()
			return
		}
	}
}

// takesIPv4 reports whether a listener on [::] serves IPv4 too.
func (l *listener) takesIPv4() bool { return strings.HasPrefix(l.Address, ":") }

// listenerFor picks the listener from which remote is reached: the first of the
// transport whose address has the same family, and is loopback when remote is.
func (t *Transport) listenerFor(tr sip.Transport, remote netip.Addr) (index int, ok bool) {
	remote = remote.Unmap()
	second := -1
	for i, l := range t.listeners {
		ip := l.addr.Addr()
		if l.Transport != tr || ip.Is4() != remote.Is4() && !(ip.IsUnspecified() && l.takesIPv4()) {
			continue
		}
		if ip.IsUnspecified() || ip.IsLoopback() == remote.IsLoopback() {
			return i, true
		}
		if second < 0 {
			second = i
		}
	}
	return max(second, 0), second >= 0
}

func unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
