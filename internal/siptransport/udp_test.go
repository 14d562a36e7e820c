package siptransport

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"onhook/internal/floodguard"
	"onhook/internal/sip"
)

// Receiving, handling and answering a datagram allocates nothing.
func TestUDPAllocatesNothing(t *testing.T) {
	s := start(t, []Listener{listen(sip.UDP, "127.0.0.1")}, func(c *Config) { c.UDPWorkers = 1 })
	answer := []byte(ok("a"))
	s.recorder.events = nil
	s.answer = func(m *sip.Message, flow sip.Flow) {
		if err := s.Send(flow, answer); err != nil {
			t.Error(err)
		}
	}
	c, err := net.Dial("udp", s.addr(0))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(patience))
	req, buf := []byte(options("UDP", "a")), make([]byte, 2048)
	exchange := func() {
		if _, err := c.Write(req); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(buf); err != nil || n != len(answer) {
			t.Fatal(n, err)
		}
	}
	for range 100 {
		exchange()
	}
	if n := testing.AllocsPerRun(2000, exchange); n != 0 {
		t.Fatalf("%v allocations per message", n)
	}
	flow := sip.Flow{Transport: sip.UDP, Remote: netip.MustParseAddrPort(c.LocalAddr().String())}
	direct := func() { // outside a batch
		if err := s.Send(flow, answer); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(buf); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(1000, direct); n != 0 && !raceDetector {
		t.Fatalf("%v allocations per message sent from elsewhere", n)
	}
}

// Many peers at once, through all workers: everyone gets their own answers.
func TestUDPManyPeers(t *testing.T) {
	const peers, rounds = 50, 40
	s := start(t, []Listener{listen(sip.UDP, "127.0.0.1")}, func(c *Config) { c.UDPWorkers = 4 })
	s.recorder.events = nil
	s.answer = func(m *sip.Message, flow sip.Flow) {
		if err := s.Send(flow, []byte(ok(m.CallID))); err != nil {
			t.Error(err)
		}
	}
	var wg sync.WaitGroup
	for p := range peers {
		wg.Go(func() {
			c, err := net.Dial("udp", s.addr(0))
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = c.Close() }()
			_ = c.SetDeadline(time.Now().Add(patience))
			buf := make([]byte, 2048)
			for r := range rounds {
				id := fmt.Sprintf("%d-%d", p, r)
				if _, err := c.Write([]byte(options("UDP", id))); err != nil {
					t.Error(err)
				}
				n, err := c.Read(buf)
				if err != nil || string(buf[:n]) != ok(id) {
					t.Errorf("peer %d got %q, %v", p, buf[:n], err)
					return
				}
			}
		})
	}
	wg.Wait()
	if st := s.Stats(); st.Received[sip.UDP] != peers*rounds || st.Sent[sip.UDP] != peers*rounds {
		t.Fatalf("counted %d in, %d out", st.Received[sip.UDP], st.Sent[sip.UDP])
	}
}

// More answers in one batch than fit are sent all the same.
func TestUDPMoreAnswersThanGathered(t *testing.T) {
	s := start(t, []Listener{listen(sip.UDP, "127.0.0.1")}, nil)
	const answers = bundleSlots + 50 // the client's socket holds them all
	s.answer = func(m *sip.Message, flow sip.Flow) {
		for i := range answers {
			if err := s.Send(flow, []byte(callID(i))); err != nil {
				t.Error(err)
			}
		}
	}
	p := s.peer(0, sip.UDP)
	p.send(options("UDP", "a"))
	got := make(map[string]bool)
	buf := make([]byte, 64)
	for range answers {
		n, err := p.conn.Read(buf)
		if err != nil {
			t.Fatalf("after %d: %v", len(got), err)
		}
		got[string(buf[:n])] = true
	}
	if len(got) != answers {
		t.Fatalf("%d different answers of %d", len(got), answers)
	}
}

// Keepalives and junk get no answer and reach no parser; an honest message
// behind them does.
func TestUDPKeepalivesAndJunk(t *testing.T) {
	s := start(t, []Listener{listen(sip.UDP, "127.0.0.1")}, nil)
	p := s.peer(0, sip.UDP)
	for _, b := range []string{"\r\n\r\n", "\r\n", "\x00", "\x00\x00\x00\x00", ""} {
		p.send(b)
	}
	for _, b := range []string{"\xff\xff\xff\xff", "\x80\x00rtp", "jaK", "(", "hello there\r\n\r\n", "\x01\x00\x00\x05"} {
		p.send(b)
	}
	p.send("\r\n" + options("UDP", "a"))
	s.next(t, "message")
	st := s.Stats()
	if st.Ignored != 5 || st.Junk != 6 || st.Malformed != 0 || st.Pings != 0 {
		t.Fatalf("%+v", st)
	}
}

// A source over its rate is dropped before parsing.
func TestUDPRateLimit(t *testing.T) {
	s := start(t, []Listener{listen(sip.UDP, "127.0.0.1"), listen(sip.TCP, "127.0.0.1")}, func(c *Config) {
		c.Guard = floodguard.New(floodguard.Config{PacketsPerSecond: 1, Burst: 3})
	})
	p := s.peer(0, sip.UDP)
	for range 10 {
		p.send(options("UDP", "a"))
	}
	eventually(t, "10 counted", func() bool { st := s.Stats(); return st.RateLimited+st.Received[sip.UDP] == 10 })
	if st := s.Stats(); st.Received[sip.UDP] != 3 {
		t.Fatalf("%d got through", st.Received[sip.UDP])
	}
}

// A stream over its rate is not cut: it is read slower, and all arrives.
func TestStreamRateSlowsDown(t *testing.T) {
	s := start(t, []Listener{listen(sip.TCP, "127.0.0.1")}, func(c *Config) {
		c.Guard = floodguard.New(floodguard.Config{PacketsPerSecond: 100, Burst: 10})
	})
	write(t, s.dialTCP(0), strings.Repeat(options("TCP", "a"), 20))
	for range 20 {
		s.next(t, "message")
	}
	if s.Stats().RateLimited == 0 {
		t.Fatal("it was not slowed down")
	}
}

// Pings and empty frames cost what messages do.
func TestPingsSlowDown(t *testing.T) {
	for _, tr := range []sip.Transport{sip.TCP, sip.WS} {
		t.Run(tr.String(), func(t *testing.T) {
			s := start(t, []Listener{listen(tr, "127.0.0.1")}, func(c *Config) {
				c.Guard = floodguard.New(floodguard.Config{PacketsPerSecond: 100, Burst: 10})
			})
			p := s.peer(0, tr)
			for range 20 {
				p.send("\r\n\r\n")
			}
			for range 20 {
				p.expect("\r\n")
			}
			if st := s.Stats(); st.RateLimited == 0 || st.Pings != 20 {
				t.Errorf("%d pings, slowed down %d times", st.Pings, st.RateLimited)
			}
		})
	}
}

// Connecting costs what a message does, so that nobody makes us do handshake
// upon handshake.
func TestConnectionRate(t *testing.T) {
	s := start(t, []Listener{listen(sip.TCP, "127.0.0.1")}, func(c *Config) {
		c.Guard = floodguard.New(floodguard.Config{PacketsPerSecond: 1, Burst: 2})
	})
	write(t, s.dialTCP(0), options("TCP", "a"))
	s.next(t, "message")
	expectReset(t, s)
	eventually(t, "counted", func() bool { st := s.Stats(); return st.RateLimited == 1 && st.Refused == 1 && st.Open == 1 })
}

// stunExchange sends a STUN message and returns the answer.
func stunExchange(t *testing.T, p peer, kind uint16, attributes string) []byte {
	t.Helper()
	req := binary.BigEndian.AppendUint16(nil, kind)
	req = binary.BigEndian.AppendUint16(req, uint16(len(attributes)))
	req = append(req, "\x21\x12\xa4\x42transaction1"...)
	p.send(string(req) + attributes)
	b := make([]byte, 256)
	n, err := p.conn.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b[4:20], req[4:20]) || int(binary.BigEndian.Uint16(b[2:])) != n-20 {
		t.Fatalf("header of the answer: %x", b[:n])
	}
	return b[:n]
}

// RFC 5389 15.2, RFC 5626 8: a binding request is answered with the address it
// came from.
func TestSTUN(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			s := start(t, []Listener{listen(sip.UDP, host)}, nil)
			p := s.peer(0, sip.UDP)
			b := stunExchange(t, p, 1, "\x80\x22\x00\x04test") // SOFTWARE is optional to understand
			if binary.BigEndian.Uint16(b) != 0x0101 || binary.BigEndian.Uint16(b[20:]) != 0x0020 {
				t.Fatalf("answer %x", b)
			}
			key := append([]byte("\x21\x12\xa4\x42"), "transaction1"...)
			ip := bytes.Clone(b[28:])
			for i := range ip {
				ip[i] ^= key[i]
			}
			addr, _ := netip.AddrFromSlice(ip)
			got := netip.AddrPortFrom(addr, binary.BigEndian.Uint16(b[26:])^0x2112)
			if got.String() != p.conn.LocalAddr().String() {
				t.Fatalf("mapped address %v, want %v", got, p.conn.LocalAddr())
			}
			if s.Stats().Pings != 1 {
				t.Fatal("not counted")
			}
		})
	}
}

// RFC 5389 7.3.1: a required attribute that we do not know is refused by name.
// An indication gets no answer.
func TestSTUNRefusal(t *testing.T) {
	s := start(t, []Listener{listen(sip.UDP, "127.0.0.1")}, nil)
	p := s.peer(0, sip.UDP)
	p.send("\x00\x11\x00\x00\x21\x12\xa4\x42transaction1")
	b := stunExchange(t, p, 1, "\x00\x03\x00\x04\x00\x00\x00\x06") // CHANGE-REQUEST
	want := "\x00\x09\x00\x04\x00\x00\x04\x14\x00\x0a\x00\x02\x00\x03\x00\x00"
	if binary.BigEndian.Uint16(b) != 0x0111 || string(b[20:]) != want {
		t.Fatalf("answer %x", b)
	}
	if st := s.Stats(); st.Ignored != 1 {
		t.Fatalf("%+v", st)
	}
}

// One listener on all addresses serves IPv4 and IPv6, and says who it is to
// each.
func TestUDPBothFamilies(t *testing.T) {
	for _, tr := range []sip.Transport{sip.UDP, sip.TCP} {
		t.Run(tr.String(), func(t *testing.T) {
			s := start(t, []Listener{{Transport: tr, Address: ":0"}}, nil)
			s.answer = func(m *sip.Message, flow sip.Flow) { _ = s.Send(flow, []byte(ok(m.CallID))) }
			_, port, _ := net.SplitHostPort(s.addr(0))
			for _, host := range []string{"127.0.0.1", "::1"} {
				c, err := net.Dial(strings.ToLower(tr.String()), net.JoinHostPort(host, port))
				if err != nil {
					t.Fatal(err)
				}
				_ = c.SetDeadline(time.Now().Add(patience))
				write(t, c, options(tr.String(), "a"))
				e := s.next(t, "message")
				if e.flow.Remote.String() != c.LocalAddr().String() {
					t.Fatalf("flow %v, peer %v", e.flow.Remote, c.LocalAddr())
				}
				if got := s.SentBy(e.flow); got != "127.0.0.1:"+port {
					t.Fatalf("sent-by %q", got)
				}
				expect(t, c, ok("a"))
				_ = c.Close()
				if tr == sip.TCP {
					s.next(t, "closed")
				}
			}
		})
	}
}

func TestSentBy(t *testing.T) {
	for advertise, want := range map[string]string{
		"sip.example.org":      "sip.example.org:PORT",
		"sip.example.org:5080": "sip.example.org:5080",
		"2001:db8::1":          "[2001:db8::1]:PORT",
		"[2001:db8::1]":        "[2001:db8::1]:PORT",
		"[2001:db8::1]:5080":   "[2001:db8::1]:5080",
	} {
		s := New(Config{Listeners: []Listener{{Transport: sip.UDP, Address: "127.0.0.1:0", Advertise: advertise}}}, &recorder{})
		if err := s.Listen(); err != nil {
			t.Fatal(err)
		}
		want = strings.Replace(want, "PORT", fmt.Sprint(s.Addr(0).Port()), 1)
		if got := s.SentBy(sip.Flow{Transport: sip.UDP, Remote: s.Addr(0)}); got != want {
			t.Errorf("advertising %q: sent-by %q, want %q", advertise, got, want)
		}
		_ = s.Close()
	}
}

// The handler's message is gone when it returns: what was kept shows up.
func TestKeptViewIsPoisoned(t *testing.T) {
	for tr := sip.UDP; tr <= sip.WSS; tr++ {
		t.Run(tr.String(), func(t *testing.T) {
			s := start(t, []Listener{listen(tr, "127.0.0.1")}, nil)
			var kept string
			handled := make(chan string, 2)
			s.recorder.events = nil
			s.answer = func(m *sip.Message, flow sip.Flow) {
				handled <- strings.Clone(kept)
				kept = m.CallID
			}
			p := s.peer(0, tr)
			p.send(options(tr.String(), "kept"))
			<-handled
			p.send(options(tr.String(), "next"))
			if got := <-handled; got == "kept" {
				t.Fatal("a view outlived its handler unnoticed")
			}
		})
	}
}
