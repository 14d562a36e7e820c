package siptransport

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"onhook/internal/sip"
)

// peer is one client, of whatever transport.
type peer struct {
	send   func(string)
	expect func(string)
	conn   net.Conn
	rest   io.Reader // what has not been read yet
}

func (s *server) peer(listener int, tr sip.Transport) peer {
	t := s.t
	switch tr {
	case sip.UDP:
		c, err := net.Dial("udp", s.addr(listener))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(patience))
		return peer{func(m string) { write(t, c, m) }, func(m string) {
			t.Helper()
			b := make([]byte, maxDatagram)
			n, err := c.Read(b)
			if err != nil || string(b[:n]) != m {
				t.Fatalf("got %q (%v), want %q", b[:n], err, m)
			}
		}, c, c}
	case sip.TCP, sip.TLS:
		c := s.dialStream(listener, tr)
		return peer{func(m string) { write(t, c, m) }, func(m string) { t.Helper(); expect(t, c, m) }, c, c}
	}
	c := s.dialStream(listener, tr)
	w := s.web(c)
	return peer{func(m string) { w.frame(fin|opText, m) }, func(m string) { t.Helper(); w.expectFrame(fin|opText, m) }, c, w.r}
}

// Every transport, over IPv4 and IPv6: a request comes in, an answer goes back,
// and something sent later, from elsewhere, too.
func TestEveryTransport(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		for tr := sip.UDP; tr <= sip.WSS; tr++ {
			t.Run(tr.String()+" "+host, func(t *testing.T) {
				s := start(t, []Listener{listen(tr, host)}, nil)
				s.answer = func(m *sip.Message, flow sip.Flow) {
					if err := s.Send(flow, []byte(ok(m.CallID))); err != nil {
						t.Error(err)
					}
				}
				p := s.peer(0, tr)
				for i := range 5 {
					req := options(tr.String(), callID(i))
					p.send(req)
					p.expect(ok(callID(i)))
					e := s.next(t, "message")
					if e.text != req {
						t.Fatalf("handler got %q", e.text)
					}
					if e.flow.Transport != tr || e.flow.Remote.Addr().String() != host || (e.flow.Conn == 0) != (tr == sip.UDP) {
						t.Fatalf("flow %+v", e.flow)
					}
					if !s.Alive(e.flow) {
						t.Fatal("the flow is not alive")
					}
					if got, want := s.SentBy(e.flow), s.addr(0); got != want {
						t.Fatalf("sent-by %q, want %q", got, want)
					}
					if err := s.Send(e.flow, []byte(ok("later"))); err != nil {
						t.Fatal(err)
					}
					p.expect(ok("later"))
				}
				st := s.Stats()
				if st.Received[tr] != 5 || st.Sent[tr] != 10 {
					t.Fatalf("counted %d received, %d sent", st.Received[tr], st.Sent[tr])
				}
			})
		}
	}
}

// Messages of 60 KB pass both ways over every transport.
func TestLargeMessages(t *testing.T) {
	body := strings.Repeat("v=0\r\n", 12_000)
	for tr := sip.UDP; tr <= sip.WSS; tr++ {
		t.Run(tr.String(), func(t *testing.T) {
			s := start(t, []Listener{listen(tr, "127.0.0.1")}, nil)
			s.answer = func(m *sip.Message, flow sip.Flow) {
				if err := s.Send(flow, m.Bytes()); err != nil {
					t.Error(err)
				}
			}
			p := s.peer(0, tr)
			req := strings.Replace(options(tr.String(), "large"), "Content-Length: 0", "Content-Length: 60000", 1) + body
			for range 3 {
				p.send(req)
				p.expect(req)
				if e := s.next(t, "message"); e.text != req {
					t.Fatalf("handler got %d bytes of %d", len(e.text), len(req))
				}
			}
		})
	}
}

// A client that goes away is reported once, and nothing can be sent to it.
func TestClosedOncePerConnection(t *testing.T) {
	for tr := sip.TCP; tr <= sip.WSS; tr++ {
		t.Run(tr.String(), func(t *testing.T) {
			s := start(t, []Listener{listen(tr, "127.0.0.1")}, nil)
			p := s.peer(0, tr)
			p.send(options(tr.String(), "a"))
			flow := s.next(t, "message").flow
			_ = p.conn.Close()
			if e := s.next(t, "closed"); e.flow != flow || e.err == nil {
				t.Fatalf("closed %+v", e)
			}
			if err := s.Send(flow, []byte("x")); err != ErrFlowGone {
				t.Fatalf("Send after the end: %v", err)
			}
			if s.Alive(flow) {
				t.Fatal("alive after the end")
			}
			s.CloseFlow(flow)
			s.SetBound(flow, true)
			eventually(t, "connection gone", func() bool { return s.Stats().Open == 0 })
			select {
			case e := <-s.events:
				t.Fatalf("another event: %+v", e)
			default:
			}
		})
	}
}

// What is sent just before CloseFlow arrives; then the connection ends.
func TestCloseFlowSendsWhatIsQueued(t *testing.T) {
	for tr := sip.TCP; tr <= sip.WSS; tr++ {
		t.Run(tr.String(), func(t *testing.T) {
			s := start(t, []Listener{listen(tr, "127.0.0.1")}, nil)
			s.answer = func(m *sip.Message, flow sip.Flow) {
				_ = s.Send(flow, []byte(ok(m.CallID)))
				s.CloseFlow(flow)
			}
			p := s.peer(0, tr)
			// The second request is never read by a handler; it must not reset
			// the connection before the answer to the first is read.
			p.send(options(tr.String(), "a"))
			p.expect(ok("a"))
			s.next(t, "message")
			if e := s.next(t, "closed"); e.err != ErrClosedByUs {
				t.Fatalf("closed with %v", e.err)
			}
			rest := expectEnd(t, p.rest)
			if tr.WebSocket() && rest != "\x88\x02\x03\xe8" {
				t.Fatalf("close frame %q", rest)
			}
		})
	}
}

// A number from an earlier run names no connection of this one.
func TestConnectionNumbersAreNotReusedAcrossRuns(t *testing.T) {
	numbers := make(map[uint64]bool)
	for range 3 {
		t.Run("run", func(t *testing.T) {
			s := start(t, []Listener{listen(sip.TCP, "127.0.0.1")}, nil)
			for range 3 {
				p := s.peer(0, sip.TCP)
				p.send(options("TCP", "a"))
				n := s.next(t, "message").flow.Conn
				if numbers[n] {
					t.Fatalf("number %d twice", n)
				}
				numbers[n] = true
			}
		})
	}
}

func TestCloseSaysGoodbye(t *testing.T) {
	s := start(t, []Listener{listen(sip.WS, "127.0.0.1")}, nil)
	w := s.web(s.dialTCP(0))
	w.frame(fin|opText, options("WS", "a"))
	s.next(t, "message")
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Close() }()
	w.expectClose(1001)
	_ = w.Close()
	<-done
	if e := s.next(t, "closed"); e.err != ErrStopped {
		t.Fatalf("closed with %v", e.err)
	}
}
