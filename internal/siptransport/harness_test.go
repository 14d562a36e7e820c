package siptransport

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"onhook/internal/floodguard"
	"onhook/internal/sip"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

type event struct {
	kind string // message, malformed, overloaded, closed
	text string
	flow sip.Flow
	err  error
}

// recorder is a Handler that passes everything on to the test, and answers
// messages when answer is set.
type recorder struct {
	events    chan event
	begun     chan struct{} // closed when the test has set everything up; nil: at once
	answer    func(m *sip.Message, flow sip.Flow)
	malformed func(m *sip.Message, err *sip.Error, flow sip.Flow)
}

func (r *recorder) Message(m *sip.Message, flow sip.Flow) {
	r.begin()
	if r.answer != nil {
		r.answer(m, flow)
	}
	if r.events != nil {
		r.events <- event{"message", string(m.Bytes()), flow, nil}
	}
}

func (r *recorder) Malformed(m *sip.Message, err *sip.Error, flow sip.Flow) {
	r.begin()
	if r.malformed != nil {
		r.malformed(m, err, flow)
	}
	r.events <- event{"malformed", string(m.Bytes()), flow, err}
}

func (r *recorder) Overloaded(m *sip.Message, flow sip.Flow) {
	r.begin()
	r.events <- event{"overloaded", string(m.Bytes()), flow, nil}
}

func (r *recorder) Closed(flow sip.Flow, err error) {
	r.begin()
	if r.events != nil {
		r.events <- event{"closed", "", flow, err}
	}
}

func (r *recorder) begin() {
	if r.begun != nil {
		<-r.begun
	}
}

// next returns the next event, which must be of this kind.
func (r *recorder) next(t *testing.T, kind string) event {
	t.Helper()
	select {
	case e := <-r.events:
		if e.kind != kind {
			t.Fatalf("got %s (%v) %q, want %s", e.kind, e.err, e.text, kind)
		}
		return e
	case <-time.After(patience):
		t.Fatalf("no %s came", kind)
		return event{}
	}
}

// server is a running Transport with one listener of each kind asked for.
type server struct {
	*Transport
	*recorder
	t    *testing.T
	once sync.Once
}

// start runs a transport; change may alter its configuration first. At the end
// of the test it must leave no goroutine behind.
func start(t *testing.T, listeners []Listener, change func(*Config)) *server {
	t.Helper()
	cfg := Config{Listeners: listeners, Poison: true, UDPWorkers: 2}
	if change != nil {
		change(&cfg)
	}
	h := &recorder{events: make(chan event, 4096), begun: make(chan struct{})}
	tr := New(cfg, h)
	if err := tr.Listen(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- tr.Run(context.Background()) }()
	s := &server{Transport: tr, recorder: h, t: t}
	t.Cleanup(func() {
		s.Addr(0)
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		noGoroutines(t)
		if s := tr.Stats(); s.Open != 0 || s.Bound != 0 {
			t.Errorf("after Close %d connections are open and %d bound", s.Open, s.Bound)
		}
	})
	return s
}

// noGoroutines waits for those that are just returning.
func noGoroutines(t *testing.T) {
	t.Helper()
	buf := make([]byte, 1<<20)
	for deadline := time.Now().Add(patience); ; runtime.Gosched() {
		all := string(buf[:runtime.Stack(buf, true)])
		if !strings.Contains(all, "siptransport.(*worker)") && !strings.Contains(all, "siptransport.(*conn)") &&
			!strings.Contains(all, "siptransport.(*link)") && !strings.Contains(all, "siptransport.(*listener)") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("goroutines are left:\n%s", all)
		}
	}
}

// Addr is where clients connect to: from then on the handler is not changed.
func (s *server) Addr(listener int) netip.AddrPort {
	s.once.Do(func() { close(s.begun) })
	return s.Transport.Addr(listener)
}

func (s *server) addr(listener int) string { return s.Addr(listener).String() }

// dialTCP connects to a listener.
func (s *server) dialTCP(listener int) net.Conn {
	s.t.Helper()
	c, err := net.Dial("tcp", s.addr(listener))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

func (s *server) dialTLS(listener int) net.Conn {
	s.t.Helper()
	c := tls.Client(s.dialTCP(listener), &tls.Config{RootCAs: testRoots(), ServerName: "sip.test"})
	if err := c.Handshake(); err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s *server) dialStream(listener int, tr sip.Transport) net.Conn {
	s.t.Helper()
	if tr.Secure() {
		return s.dialTLS(listener)
	}
	return s.dialTCP(listener)
}

// testCertificate is for sip.test and the loopback addresses, signed by itself.
var testCertificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	tpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sip.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"sip.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tpl, tpl, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

func testRoots() *x509.CertPool {
	pool := x509.NewCertPool()
	cert, err := x509.ParseCertificate(testCertificate().Certificate[0])
	if err != nil {
		panic(err)
	}
	pool.AddCert(cert)
	return pool
}

func serverTLS() *tls.Config {
	return &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		c := testCertificate()
		return &c, nil
	}}
}

func listen(tr sip.Transport, host string) Listener {
	l := Listener{Transport: tr, Address: net.JoinHostPort(host, "0")}
	if tr.Secure() {
		l.TLS = serverTLS()
	}
	return l
}

// options is a request with this Call-ID.
func options(transport, callID string) string {
	return "OPTIONS sip:sip.test SIP/2.0\r\n" +
		"Via: SIP/2.0/" + transport + " client.test;branch=z9hG4bK" + callID + "\r\n" +
		"From: <sip:alice@sip.test>;tag=1\r\n" +
		"To: <sip:sip.test>\r\n" +
		"Call-ID: " + callID + "\r\n" +
		"CSeq: 1 OPTIONS\r\n" +
		"Max-Forwards: 70\r\n" +
		"Content-Length: 0\r\n\r\n"
}

// ok is a response, as long as a small one is.
func ok(callID string) string {
	return "SIP/2.0 200 OK\r\nCall-ID: " + callID + "\r\nContent-Length: 0\r\n\r\n"
}

// read returns the next n bytes.
func read(t *testing.T, r io.Reader, n int) string {
	t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		t.Fatalf("reading %d bytes: %v (got %q)", n, err, b)
	}
	return string(b)
}

// expect reads exactly want.
func expect(t *testing.T, r io.Reader, want string) {
	t.Helper()
	if got := read(t, r, len(want)); got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

// expectEnd reads until the peer has closed and returns what came before.
func expectEnd(t *testing.T, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		t.Fatalf("the connection is still open after %q", b)
	}
	return string(b)
}

func write(t *testing.T, w io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
}

// eventually waits for a condition that has no event of its own.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("not reached: %s", what)
		}
	}
}

func openGuard() *floodguard.Guard {
	return floodguard.New(floodguard.Config{
		Trusted:     []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
		Connections: 100_000, UnboundConnections: 100_000,
	})
}

// webClient speaks WebSocket by hand: it shares no code with the server.
type webClient struct {
	net.Conn
	r *bufio.Reader
	t *testing.T
}

const upgradeRequest = "GET /any/path HTTP/1.1\r\nHost: sip.test\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"

// upgrade sends a handshake with more header lines and returns the client and
// the head of the answer.
func upgrade(t *testing.T, c net.Conn, more string) (*webClient, string) {
	t.Helper()
	write(t, c, upgradeRequest+more+"\r\n")
	w := &webClient{c, bufio.NewReader(c), t}
	var head strings.Builder
	for {
		line, err := w.r.ReadString('\n')
		head.WriteString(line)
		if err != nil || line == "\r\n" {
			return w, head.String()
		}
	}
}

// web connects and upgrades as a browser's SIP stack does.
func (s *server) web(c net.Conn) *webClient {
	s.t.Helper()
	w, head := upgrade(s.t, c, "Sec-WebSocket-Protocol: sip\r\nOrigin: https://phone.test\r\n")
	for _, want := range []string{"HTTP/1.1 101 ", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "Sec-WebSocket-Protocol: sip\r\n"} {
		if !strings.Contains(head, want) {
			s.t.Fatalf("the handshake's answer lacks %q:\n%s", want, head)
		}
	}
	return w
}

const (
	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10
	fin            = 0x80
)

// frame sends one masked frame.
func (w *webClient) frame(first byte, payload string) {
	w.t.Helper()
	mask := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = append(b, 0x80|126, byte(n>>8), byte(n))
	default:
		b = append(b, 0x80|127, 0, 0, 0, 0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	b = append(b, mask[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i%4])
	}
	write(w.t, w.Conn, string(b))
}

// readFrame returns the first byte and the payload of the next frame.
func (w *webClient) readFrame() (first byte, payload string) {
	w.t.Helper()
	head := read(w.t, w.r, 2)
	n := int(head[1])
	if n&0x80 != 0 {
		w.t.Fatal("the server masked a frame")
	}
	switch n {
	case 126:
		x := read(w.t, w.r, 2)
		n = int(x[0])<<8 | int(x[1])
	case 127:
		x := read(w.t, w.r, 8)
		n = 0
		for i := range x {
			n = n<<8 | int(x[i])
		}
	}
	return head[0], read(w.t, w.r, n)
}

func (w *webClient) expectFrame(first byte, payload string) {
	w.t.Helper()
	f, p := w.readFrame()
	if f != first || p != payload {
		w.t.Fatalf("got frame %#x %q, want %#x %q", f, p, first, payload)
	}
}

// expectClose reads a close frame of this status, and the end.
func (w *webClient) expectClose(status int) {
	w.t.Helper()
	w.expectFrame(fin|opClose, string([]byte{byte(status >> 8), byte(status)}))
	if rest := expectEnd(w.t, w.r); rest != "" {
		w.t.Fatalf("after the close frame came %q", rest)
	}
}

func callID(i int) string { return fmt.Sprintf("call-%06d", i) }
