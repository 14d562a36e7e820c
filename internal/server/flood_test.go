package server

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"onhook/internal/sip"
)

// sender is a UDP client with a loopback address of its own.
type sender struct{ conn *net.UDPConn }

func (in *instance) from(t *testing.T, address string) sender {
	t.Helper()
	c, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.ParseIP(address)}, net.UDPAddrFromAddrPort(in.Addr(0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return sender{c}
}

func (s sender) send(t *testing.T, msg string) {
	t.Helper()
	if _, err := io.WriteString(s.conn, strings.ReplaceAll(msg, "\n", "\r\n")); err != nil {
		t.Fatal(err)
	}
}

func (s sender) options(t *testing.T, n int) {
	t.Helper()
	s.send(t, fmt.Sprintf("OPTIONS sip:example.com SIP/2.0\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bK%d\nMax-Forwards: 70\nFrom: <sip:x@x.invalid>;tag=1\nTo: <sip:example.com>\nCall-ID: %d\nCSeq: 1 OPTIONS\nContent-Length: 0\n\n", s.conn.LocalAddr(), n, n))
}

// answers reads that many 200s.
func (s sender) answers(t *testing.T, n int) {
	t.Helper()
	buf := make([]byte, 65536)
	if err := s.conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		size, err := s.conn.Read(buf)
		if err != nil || !strings.HasPrefix(string(buf[:size]), "SIP/2.0 200") {
			t.Fatalf("%d answers of %d: %v %s", i, n, err, buf[:size])
		}
	}
}

// One source that floods is dropped unread; its neighbour and the trusted
// networks are served as before; junk is counted.
func TestFloodOfOneSource(t *testing.T) {
	cfg := testConfig(t)
	cfg.Limits.PacketsPerSecond, cfg.Limits.PacketsBurst = 1, 5
	cfg.TrustedNetworks = []netip.Prefix{netip.MustParsePrefix("127.0.1.0/24")}
	in := start(t, cfg)
	const flood = 50
	flooder, neighbour, trusted := in.from(t, "127.0.0.2"), in.from(t, "127.0.0.3"), in.from(t, "127.0.1.4")
	for i := range flood {
		flooder.options(t, i)
	}
	flooder.answers(t, 5)
	for i := range 4 {
		neighbour.options(t, i)
	}
	neighbour.answers(t, 4)
	for i := range flood {
		trusted.options(t, i)
	}
	trusted.answers(t, flood)
	trusted.send(t, "\x01 is no SIP")
	trusted.options(t, flood)
	trusted.answers(t, 1) // by now the junk has been counted
	text := in.metrics(t)
	if !strings.Contains(text, `onhook_sip_dropped_total{reason="junk"} 1`+"\n") {
		t.Error("the junk is not counted")
	}
	limited := 0
	for line := range strings.Lines(text) {
		if n, err := fmt.Sscanf(line, `onhook_sip_dropped_total{reason="rate_limited"} %d`, &limited); n == 1 && err == nil {
			break
		}
	}
	if limited < flood-10 { // a second or some may have passed
		t.Errorf("%d of %d are counted as dropped for their rate", limited, flood-5)
	}
}

// 0 turns the limit off.
func TestNoRateLimit(t *testing.T) {
	cfg := testConfig(t)
	cfg.Limits.PacketsPerSecond, cfg.Limits.PacketsBurst = 0, 1
	in := start(t, cfg)
	s := in.from(t, "127.0.0.2")
	for i := range 50 {
		s.options(t, i)
	}
	s.answers(t, 50)
}

// RFC 3261 21.5.4: who is not served is told when to come back; a request that is
// under way and sent again is not refused the second time.
func TestOverloaded(t *testing.T) {
	in := start(t, testConfig(t))
	s := in.from(t, "127.0.0.2")
	flow := sip.Flow{Transport: sip.UDP, Remote: s.conn.LocalAddr().(*net.UDPAddr).AddrPort()}
	invite := func(branch string) *sip.Message {
		m := new(sip.Message)
		if err := m.Parse([]byte(strings.ReplaceAll(fmt.Sprintf("INVITE sip:bob@example.com SIP/2.0\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bK%s\nMax-Forwards: 70\nFrom: <sip:x@x.invalid>;tag=1\n"+
			"To: <sip:bob@example.com>\nCall-ID: %[2]s\nCSeq: 1 INVITE\nContent-Length: 0\n\n", s.conn.LocalAddr(), branch), "\n", "\r\n"))); err != nil {
			t.Fatal(err)
		}
		return m
	}
	if in.path.begin(invite("first"), flow) == nil {
		t.Fatal("no transaction")
	}
	in.path.Overloaded(invite("first"), flow)
	in.path.Overloaded(invite("second"), flow)
	buf := make([]byte, 65536)
	for {
		if err := s.conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := s.conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		switch answer := string(buf[:n]); {
		case strings.HasPrefix(answer, "SIP/2.0 100"): // of the first
		case !strings.HasPrefix(answer, "SIP/2.0 503") || !strings.Contains(answer, "Call-ID: second") || !strings.Contains(answer, "Retry-After: "):
			t.Fatalf("answer:\n%s", answer)
		default:
			return
		}
	}
}
