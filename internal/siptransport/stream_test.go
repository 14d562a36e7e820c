package siptransport

import (
	"errors"
	"strings"
	"testing"

	"onhook/internal/sip"
)

// Requests that one connection sends back to back come in order (sipgo 1.7.2
// handled 184 of 2,000 out of order) and are answered in order.
func TestPipelinedMessagesKeepTheirOrder(t *testing.T) {
	const messages = 2000
	for _, tr := range []sip.Transport{sip.TCP, sip.TLS, sip.WSS} {
		t.Run(tr.String(), func(t *testing.T) {
			s := start(t, []Listener{listen(tr, "127.0.0.1")}, nil)
			s.answer = func(m *sip.Message, flow sip.Flow) {
				if err := s.Send(flow, []byte(ok(m.CallID))); err != nil {
					t.Error(err)
				}
			}
			p := s.peer(0, tr)
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				if tr == sip.WSS {
					for i := range messages {
						p.send(options(tr.String(), callID(i)))
					}
					return
				}
				var all strings.Builder
				for i := range messages {
					all.WriteString(options(tr.String(), callID(i)))
				}
				p.send(all.String())
			}()
			for i := range messages {
				p.expect(ok(callID(i)))
				if e := s.next(t, "message"); !strings.Contains(e.text, "Call-ID: "+callID(i)+"\r\n") {
					t.Fatalf("message %d is\n%s", i, e.text)
				}
			}
			<-sent
		})
	}
}

// Messages cut at any byte, several in one segment, with line breaks and NULs
// between them.
func TestStreamCutAnywhere(t *testing.T) {
	s := start(t, []Listener{listen(sip.TCP, "127.0.0.1")}, nil)
	one := strings.Replace(options("TCP", "cut"), "Content-Length: 0", "l : 4", 1) + "\r\n\r\n"
	for cut := 1; cut < len(one); cut += 7 {
		c := s.dialTCP(0)
		write(t, c, "\r\n"+one[:cut])
		write(t, c, one[cut:]+"\r\n"+one+"\x00\x00"+one)
		for range 3 {
			if e := s.next(t, "message"); e.text != one {
				t.Fatalf("cut at %d: got %q", cut, e.text)
			}
		}
		_ = c.Close()
		s.next(t, "closed")
	}
}

// RFC 5626 4.4.1: two CRLFs are a ping, one is the pong. A single one between
// messages (RFC 3261 7.5) is nothing.
func TestPingOfLineBreaks(t *testing.T) {
	for _, tr := range []sip.Transport{sip.TCP, sip.TLS, sip.WS, sip.WSS} {
		t.Run(tr.String(), func(t *testing.T) {
			s := start(t, []Listener{listen(tr, "127.0.0.1")}, nil)
			p := s.peer(0, tr)
			p.send("\r\n\r\n")
			p.expect("\r\n")
			p.send("\r\n")
			p.send(options(tr.String(), "a"))
			e := s.next(t, "message")
			p.send("\r\n\r\n")
			p.expect("\r\n")
			if err := s.Send(e.flow, []byte(ok("a"))); err != nil {
				t.Fatal(err)
			}
			p.expect(ok("a"))
			if st := s.Stats(); st.Pings != 2 || st.Ignored != 1 {
				t.Fatalf("counted %d pings, %d ignored", st.Pings, st.Ignored)
			}
		})
	}
}

func TestPingSplitInFour(t *testing.T) {
	s := start(t, []Listener{listen(sip.TLS, "127.0.0.1")}, nil)
	c := s.dialTLS(0)
	for range 2 {
		for _, b := range []string{"\r", "\n", "\r", "\n"} {
			write(t, c, b) // a TLS record each
		}
		expect(t, c, "\r\n")
	}
}

// RFC 3261 18.3: without a usable Content-Length nobody knows where the next
// message begins. The request is answered if it can be, and the connection
// ends after the answer.
func TestUnreadableStream(t *testing.T) {
	good := options("TCP", "a")
	for name, tc := range map[string]struct {
		request    string
		status     int
		answerable bool
	}{
		"no Content-Length":       {strings.Replace(good, "Content-Length: 0\r\n", "", 1), 400, true},
		"negative Content-Length": {strings.Replace(good, "Content-Length: 0", "Content-Length: -1", 1), 400, true},
		"two Content-Lengths":     {strings.Replace(good, "Content-Length: 0", "Content-Length: 0\r\nContent-Length: 9", 1), 400, true},
		"larger than allowed":     {strings.Replace(good, "Content-Length: 0", "Content-Length: 65536", 1), 0, true},
		"endless header":          {good[:len(good)-2] + "X: " + strings.Repeat("x", sip.MaxMessage), 513, true},
		"no Via":                  {strings.NewReplacer("Via: SIP/2.0/TCP client.test;branch=z9hG4bKa\r\n", "", "Content-Length: 0", "X: y").Replace(good), 400, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, []Listener{listen(sip.TCP, "127.0.0.1")}, nil)
			s.recorder.malformed = func(m *sip.Message, err *sip.Error, flow sip.Flow) {
				_ = s.Send(flow, []byte("SIP/2.0 400 "+m.CallID+"\r\n\r\n"))
			}
			c := s.dialTCP(0)
			write(t, c, tc.request)
			want := ""
			if tc.answerable {
				e := s.next(t, "malformed")
				var se *sip.Error
				if !errors.As(e.err, &se) || tc.status != 0 && se.Status != tc.status {
					t.Fatalf("refused with %v", e.err)
				}
				want = "SIP/2.0 400 a\r\n\r\n"
			}
			if got := expectEnd(t, c); got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
			_ = c.Close()
			s.next(t, "closed")
			if st := s.Stats(); st.Malformed != 1 {
				t.Fatalf("counted %d malformed", st.Malformed)
			}
		})
	}
}

// A malformed request whose end is known is answered, and the connection goes
// on: the next request on it is served.
func TestMalformedRequestDoesNotEndTheStream(t *testing.T) {
	for tr := sip.UDP; tr <= sip.WSS; tr++ {
		t.Run(tr.String(), func(t *testing.T) {
			s := start(t, []Listener{listen(tr, "127.0.0.1")}, nil)
			p := s.peer(0, tr)
			p.send(strings.Replace(options(tr.String(), "bad"), "CSeq: 1 OPTIONS", "CSeq: 1 INVITE", 1))
			s.next(t, "malformed")
			p.send(options(tr.String(), "good"))
			s.next(t, "message")
		})
	}
}

// What is not SIP is dropped and counted, without a word, and a stream of it
// ends.
func TestJunk(t *testing.T) {
	for name, junk := range map[string]string{
		"TLS on TCP":  "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"HTTP on TCP": "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
		"high bytes":  "\xff\xfe\xfd",
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, []Listener{listen(sip.TCP, "127.0.0.1")}, nil)
			c := s.dialTCP(0)
			write(t, c, junk)
			if got := expectEnd(t, c); got != "" {
				t.Fatalf("got %q", got)
			}
			if e := s.next(t, "closed"); e.err != ErrNotSIP {
				t.Fatalf("closed with %v", e.err)
			}
			if st := s.Stats(); st.Junk != 1 {
				t.Fatalf("counted %d junk", st.Junk)
			}
		})
	}
}
