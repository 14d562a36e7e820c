package siptransport

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"onhook/internal/floodguard"
	"onhook/internal/sip"
)

// short is a deadline that passes soon, long one that a connection must not miss
// while the machine is busy with something else.
const (
	short = 60 * time.Millisecond
	long  = 16 * short
)

// A client that connects and says nothing, says only keepalives, or never ends
// its message is cut off.
func TestSilentClients(t *testing.T) {
	deadlines := func(c *Config) {
		c.Deadlines = Deadlines{FirstMessage: short, Message: short, Linger: short}
	}
	for _, tr := range []sip.Transport{sip.TCP, sip.TLS, sip.WS, sip.WSS} {
		for name, say := range map[string]string{"nothing": "", "half a message": "OPTIONS sip:x SIP/2.0\r\n"} {
			t.Run(tr.String()+" "+name, func(t *testing.T) {
				s := start(t, []Listener{listen(tr, "127.0.0.1")}, deadlines)
				p := s.peer(0, tr)
				if say != "" && !tr.WebSocket() {
					p.send(say)
				}
				if got := expectEnd(t, p.rest); tr.WebSocket() && got != "\x88\x02\x03\xf0" || !tr.WebSocket() && got != "" {
					t.Fatalf("got %q", got)
				}
				if e := s.next(t, "closed"); !errors.Is(e.err, ErrSilent) {
					t.Fatalf("closed with %v", e.err)
				}
				if st := s.Stats(); st.Silent != 1 {
					t.Fatalf("counted %d", st.Silent)
				}
			})
		}
	}
	deadlines = func(c *Config) {
		c.Deadlines = Deadlines{FirstMessage: long, Message: short, Linger: short}
	}
	t.Run("keepalives are no message", func(t *testing.T) {
		s := start(t, []Listener{listen(sip.TCP, "127.0.0.1")}, deadlines)
		c := s.dialTCP(0)
		write(t, c, "\r\n\r\n")
		if got := expectEnd(t, c); got != "\r\n" {
			t.Fatalf("got %q", got)
		}
		s.next(t, "closed")
	})
	t.Run("an unfinished message on a bound connection", func(t *testing.T) {
		s := start(t, []Listener{listen(sip.TCP, "127.0.0.1")}, deadlines)
		c := s.dialTCP(0)
		write(t, c, options("TCP", "a"))
		s.SetBound(s.next(t, "message").flow, true)
		write(t, c, "OPTIONS ")
		expectEnd(t, c)
		if e := s.next(t, "closed"); !errors.Is(e.err, ErrSilent) {
			t.Fatalf("closed with %v", e.err)
		}
	})
}

// Without a binding a connection may not idle; with one it may, until it loses
// it. Keepalives count as life.
func TestIdleConnections(t *testing.T) {
	for _, tr := range []sip.Transport{sip.TCP, sip.WSS} {
		t.Run(tr.String(), func(t *testing.T) {
			s := start(t, []Listener{listen(tr, "127.0.0.1")}, func(c *Config) {
				c.Deadlines = Deadlines{Idle: long, Linger: short}
			})
			bound, unbound := s.peer(0, tr), s.peer(0, tr)
			bound.send(options(tr.String(), "a"))
			flow := s.next(t, "message").flow
			s.SetBound(flow, true)
			unbound.send(options(tr.String(), "b"))
			other := s.next(t, "message").flow
			if st := s.Stats(); st.Bound != 1 || st.Open != 2 {
				t.Fatalf("%d bound of %d", st.Bound, st.Open)
			}
			begun := time.Now()
			tick := time.NewTicker(short)
			defer tick.Stop()
			for range 20 {
				<-tick.C
				unbound.send("\r\n\r\n")
				unbound.expect("\r\n")
			}
			e := s.next(t, "closed")
			if e.flow != other || !errors.Is(e.err, ErrIdle) {
				t.Fatalf("closed %+v", e)
			}
			if lived := time.Since(begun); lived < 19*short+long {
				t.Fatalf("closed after %v in spite of keepalives", lived)
			}
			bound.send(options(tr.String(), "c"))
			s.next(t, "message")
			s.SetBound(flow, false)
			if e := s.next(t, "closed"); e.flow != flow || !errors.Is(e.err, ErrIdle) {
				t.Fatalf("closed %+v", e)
			}
		})
	}
}

// RFC 5626 6: a device that was told a Flow-Timer and is silent for longer is
// gone; keepalives count.
func TestWatchedConnections(t *testing.T) {
	for _, tr := range []sip.Transport{sip.TCP, sip.TLS, sip.WS} {
		t.Run(tr.String(), func(t *testing.T) {
			s := start(t, []Listener{listen(tr, "127.0.0.1")}, func(c *Config) { c.PingInterval = -1 })
			p := s.peer(0, tr)
			p.send(options(tr.String(), "a"))
			flow := s.next(t, "message").flow
			s.SetBound(flow, true)
			s.Watch(flow, long)
			s.Watch(flow, long) // as every refresh does
			begun := time.Now()
			tick := time.NewTicker(short)
			defer tick.Stop()
			for range 20 {
				<-tick.C
				p.send("\r\n\r\n")
				p.expect("\r\n")
			}
			if e := s.next(t, "closed"); e.flow != flow || !errors.Is(e.err, ErrPeerVanished) {
				t.Fatalf("closed %+v", e)
			}
			if lived := time.Since(begun); lived < 19*short+long {
				t.Fatalf("closed after %v in spite of keepalives", lived)
			}
		})
	}
}

// Clients stuck in a handshake hold up nobody and are cut off.
func TestStuckHandshakes(t *testing.T) {
	for _, tr := range []sip.Transport{sip.TLS, sip.WS, sip.WSS} {
		t.Run(tr.String(), func(t *testing.T) {
			s := start(t, []Listener{listen(tr, "127.0.0.1")}, func(c *Config) {
				c.Deadlines = Deadlines{Handshake: 4 * long, Linger: short}
			})
			var stuck []net.Conn
			for range 20 {
				c := s.dialTCP(0)
				if tr == sip.WS {
					write(t, c, "GET / HTTP/1.1\r\nHost: ")
				} else {
					write(t, c, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc")
				}
				stuck = append(stuck, c)
			}
			p := s.peer(0, tr)
			p.send(options(tr.String(), "a"))
			s.next(t, "message")
			for _, c := range stuck {
				expectEnd(t, c)
			}
			eventually(t, "all counted", func() bool { st := s.Stats(); return st.HandshakeError == 20 && st.Open == 1 })
		})
	}
}

// A peer that does not read is given up when its queue is full. Sending to it
// never waits, and another connection is not disturbed.
func TestPeerThatDoesNotRead(t *testing.T) {
	for _, tr := range []sip.Transport{sip.TCP, sip.TLS, sip.WS, sip.WSS} {
		t.Run(tr.String(), func(t *testing.T) {
			s := start(t, []Listener{listen(tr, "127.0.0.1")}, func(c *Config) {
				c.Deadlines.Write = time.Minute
				c.QueueBytes = 128 << 10
			})
			slow, quick := s.peer(0, tr), s.peer(0, tr)
			slow.send(options(tr.String(), "slow"))
			flow := s.next(t, "message").flow
			quick.send(options(tr.String(), "quick"))
			quickFlow := s.next(t, "message").flow
			msg := []byte(ok("x") + strings.Repeat("x", 20_000))
			begun := time.Now()
			var err error
			for err == nil {
				err = s.Send(flow, msg)
				if time.Since(begun) > patience {
					t.Fatal("the queue is never full")
				}
			}
			if !errors.Is(err, ErrQueueFull) {
				t.Fatalf("Send: %v", err)
			}
			if e := s.next(t, "closed"); e.flow != flow || !errors.Is(e.err, ErrQueueFull) {
				t.Fatalf("closed %+v", e)
			}
			if st := s.Stats(); st.QueueFull != 1 {
				t.Fatalf("counted %d", st.QueueFull)
			}
			if err := s.Send(quickFlow, []byte(ok("q"))); err != nil {
				t.Fatal(err)
			}
			quick.expect(ok("q"))
		})
	}
}

// Within the queue's bound a slow reader gets everything, in order and whole.
func TestSlowReaderGetsEverything(t *testing.T) {
	for _, tr := range []sip.Transport{sip.TCP, sip.TLS, sip.WSS} {
		t.Run(tr.String(), func(t *testing.T) {
			s := start(t, []Listener{listen(tr, "127.0.0.1")}, func(c *Config) { c.QueueBytes = 64 << 20 })
			p := s.peer(0, tr)
			p.send(options(tr.String(), "a"))
			flow := s.next(t, "message").flow
			body := strings.Repeat("x", 20_000)
			const messages = 1000 // more than the kernel buffers for us
			for i := range messages {
				if err := s.Send(flow, []byte(callID(i)+body)); err != nil {
					t.Fatal(i, err)
				}
			}
			for i := range messages {
				p.expect(callID(i) + body)
			}
			if err := s.Send(flow, []byte("last")); err != nil {
				t.Fatal(err)
			}
			p.expect("last")
		})
	}
}

// The peer's patience is bounded too: what is queued must go within the write
// deadline.
func TestWriteDeadline(t *testing.T) {
	s := start(t, []Listener{listen(sip.TCP, "127.0.0.1")}, func(c *Config) {
		c.Deadlines.Write = short
		c.QueueBytes = 64 << 20
	})
	p := s.peer(0, sip.TCP)
	p.send(options("TCP", "a"))
	flow := s.next(t, "message").flow
	msg := make([]byte, 8<<20)
	if err := s.Send(flow, msg); err != nil {
		t.Fatal(err)
	}
	if err := s.Send(flow, msg); err != nil && !errors.Is(err, ErrFlowGone) {
		t.Fatal(err)
	}
	if e := s.next(t, "closed"); !errors.Is(e.err, ErrQueueFull) {
		t.Fatalf("closed with %v", e.err)
	}
}

// 1,000 connections of one source, 200 of them without a binding, in small.
func TestConnectionsPerSource(t *testing.T) {
	s := start(t, []Listener{listen(sip.TCP, "127.0.0.1")}, func(c *Config) {
		c.Guard = floodguard.New(floodguard.Config{Connections: 5, UnboundConnections: 2})
	})
	admitted := func() (sip.Flow, net.Conn) {
		c := s.dialTCP(0)
		write(t, c, options("TCP", "a"))
		return s.next(t, "message").flow, c
	}
	refused := func() {
		t.Helper()
		before := s.Stats().Refused
		expectReset(t, s)
		eventually(t, "counted", func() bool { return s.Stats().Refused == before+1 })
	}
	var conns []net.Conn
	for range 3 {
		flow, c := admitted()
		s.SetBound(flow, true)
		s.SetBound(flow, true) // said twice, counted once
		conns = append(conns, c)
	}
	admitted()
	admitted()
	refused() // 3 + 2
	_ = conns[0].Close()
	s.next(t, "closed")
	eventually(t, "given back", func() bool { return s.Stats().Open == 4 })
	refused() // 2 are without a binding
}

func TestMaxConnections(t *testing.T) {
	s := start(t, []Listener{listen(sip.TCP, "127.0.0.1")}, func(c *Config) { c.MaxConnections = 1 })
	write(t, s.dialTCP(0), options("TCP", "a"))
	s.next(t, "message")
	expectReset(t, s)
}

// expectReset connects and must be refused: while connecting or at once after.
func expectReset(t *testing.T, s *server) {
	t.Helper()
	c, err := net.Dial("tcp", s.addr(0))
	if err == nil {
		_ = c.SetDeadline(time.Now().Add(patience))
		_, err = c.Read(make([]byte, 1))
		_ = c.Close()
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("not refused: %v", err)
	}
}

// A port already taken is an error that names it, although our own UDP sockets
// share theirs; and nothing stays bound after it.
func TestPortTaken(t *testing.T) {
	for tr := sip.UDP; tr <= sip.WSS; tr++ {
		for _, host := range []string{"127.0.0.1", "::1"} {
			t.Run(tr.String()+" "+host, func(t *testing.T) {
				first := New(Config{Listeners: []Listener{listen(tr, host)}}, &recorder{})
				if err := first.Listen(); err != nil {
					t.Fatal(err)
				}
				taken := listen(tr, host)
				taken.Address = first.Addr(0).String()
				second := New(Config{Listeners: []Listener{listen(sip.UDP, host), listen(sip.TCP, host), taken}}, &recorder{})
				err := second.Listen()
				if err == nil || !strings.Contains(err.Error(), taken.Address) || !strings.Contains(err.Error(), tr.String()) {
					t.Fatalf("error %v does not name %s", err, taken.Address)
				}
				for i := range 2 {
					pc, err := net.ListenPacket("udp", second.Addr(i).String())
					if err != nil {
						t.Fatalf("still bound: %v", err)
					}
					_ = pc.Close()
				}
				if err := first.Close(); err != nil {
					t.Fatal(err)
				}
				third := New(Config{Listeners: []Listener{taken}}, &recorder{})
				if err := third.Listen(); err != nil {
					t.Fatalf("after the first closed: %v", err)
				}
				_ = third.Close()
			})
		}
	}
}

func TestBadListeners(t *testing.T) {
	for name, l := range map[string]Listener{
		"no port":      {Transport: sip.UDP, Address: "127.0.0.1"},
		"no TLS":       {Transport: sip.TLS, Address: "127.0.0.1:0"},
		"no transport": {Address: "127.0.0.1:0"},
		"not ours":     {Transport: sip.UDP, Address: "192.0.2.1:5060"},
	} {
		t.Run(name, func(t *testing.T) {
			err := New(Config{Listeners: []Listener{l}}, &recorder{}).Listen()
			if err == nil || !strings.Contains(err.Error(), l.Address) {
				t.Fatalf("error %v does not name %s", err, l.Address)
			}
		})
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	tr := New(Config{Listeners: []Listener{listen(sip.UDP, "127.0.0.1"), listen(sip.TCP, "127.0.0.1")}}, &recorder{})
	if err := tr.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := tr.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if err := tr.Run(ctx); err != ErrStopped {
		t.Fatalf("a second Run: %v", err)
	}
	if _, err := tr.Dial(sip.TCP, tr.Addr(1), ""); err != ErrStopped {
		t.Fatalf("Dial afterwards: %v", err)
	}
	noGoroutines(t)
}
