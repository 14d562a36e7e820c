package siptransport

import (
	"crypto/tls"
	"net/netip"
	"strings"
	"testing"
	"time"

	"onhook/internal/sip"
)

// Messages sent while the connection is being made arrive in order; the
// connection is shared; answers come back over it.
func TestDial(t *testing.T) {
	for _, tr := range []sip.Transport{sip.TCP, sip.TLS} {
		t.Run(tr.String(), func(t *testing.T) {
			far := start(t, []Listener{listen(tr, "127.0.0.1")}, nil)
			near := New(Config{Listeners: []Listener{listen(tr, "127.0.0.1")}, DialTLS: &tls.Config{RootCAs: testRoots()}, Poison: true}, nil)
			h := &recorder{events: make(chan event, 4096)}
			near.handler = h
			if err := near.Listen(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- near.Run(t.Context()) }()
			far.answer = func(m *sip.Message, flow sip.Flow) { _ = far.Send(flow, []byte(answerTo(m))) }

			flow, err := near.Dial(tr, far.Addr(0), "sip.test")
			if err != nil {
				t.Fatal(err)
			}
			for i := range 100 {
				if err := near.Send(flow, []byte(options(tr.String(), callID(i)))); err != nil {
					t.Fatal(err)
				}
			}
			for i := range 100 {
				e := far.next(t, "message")
				if !strings.Contains(e.text, "Call-ID: "+callID(i)+"\r\n") {
					t.Fatalf("message %d is %q", i, e.text)
				}
				if e := h.next(t, "message"); e.flow != flow || !strings.Contains(e.text, callID(i)) {
					t.Fatalf("answer %d: %+v", i, e)
				}
			}
			again, err := near.Dial(tr, far.Addr(0), "sip.test")
			if err != nil || again != flow {
				t.Fatalf("a second Dial: %+v, %v", again, err)
			}
			near.CloseFlow(flow)
			h.next(t, "closed")
			far.next(t, "closed")
			again, err = near.Dial(tr, far.Addr(0), "sip.test")
			if err != nil || again == flow {
				t.Fatalf("Dial after the end: %+v, %v", again, err)
			}
			if err := near.Close(); err != nil {
				t.Fatal(err)
			}
			<-ended
			h.next(t, "closed")
		})
	}
}

func answerTo(m *sip.Message) string {
	var b strings.Builder
	b.WriteString("SIP/2.0 200 OK\r\n")
	for _, h := range m.Headers {
		if h.ID == sip.Via || h.ID == sip.From || h.ID == sip.To || h.ID == sip.CallID || h.ID == sip.CSeq {
			b.WriteString(h.Name + ": " + h.Value + "\r\n")
		}
	}
	b.WriteString("Content-Length: 0\r\n\r\n")
	return b.String()
}

// A failed connection is reported as closed, once, and by Send afterwards.
func TestDialFailures(t *testing.T) {
	tlsServer := listen(sip.TLS, "127.0.0.1")
	for name, tc := range map[string]struct {
		tr         sip.Transport
		serverName string
		roots      bool
		listening  bool
	}{
		"refused":           {sip.TCP, "", false, false},
		"TLS refused":       {sip.TLS, "", true, false},
		"unknown authority": {sip.TLS, "sip.test", false, true},
		"another name":      {sip.TLS, "other.test", true, true},
	} {
		t.Run(name, func(t *testing.T) {
			far := New(Config{Listeners: []Listener{tlsServer}}, &recorder{})
			if err := far.Listen(); err != nil {
				t.Fatal(err)
			}
			if tc.listening {
				go func() { _ = far.Run(t.Context()) }()
			} else {
				_ = far.Close()
			}
			s := New(Config{Listeners: []Listener{listen(sip.TCP, "127.0.0.1"), tlsServer}, DialTLS: &tls.Config{}}, nil)
			h := &recorder{events: make(chan event, 8)}
			s.handler = h
			if tc.roots {
				s.cfg.DialTLS.RootCAs = testRoots()
			}
			if err := s.Listen(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- s.Run(t.Context()) }()
			flow, err := s.Dial(tc.tr, far.Addr(0), tc.serverName)
			if err != nil {
				t.Fatal(err)
			}
			_ = s.Send(flow, []byte(options("TCP", "a")))
			if e := h.next(t, "closed"); e.flow != flow || e.err == nil || !strings.Contains(e.err.Error(), far.Addr(0).String()) {
				t.Fatalf("closed %+v", e)
			}
			if err := s.Send(flow, []byte("x")); err != ErrFlowGone {
				t.Fatalf("Send: %v", err)
			}
			if st := s.Stats(); st.DialFailed != 1 {
				t.Fatalf("counted %d", st.DialFailed)
			}
			_ = s.Close()
			_ = far.Close()
			<-ended
		})
	}
}

func TestDialLimits(t *testing.T) {
	s := start(t, []Listener{listen(sip.UDP, "127.0.0.1"), listen(sip.TCP, "127.0.0.1"), listen(sip.WS, "127.0.0.1")}, func(c *Config) {
		c.QueueBytes = 1000
		c.Deadlines.Dial = time.Minute
	})
	if _, err := s.Dial(sip.WS, s.Addr(2), ""); err != ErrNotDialled {
		t.Fatalf("WS: %v", err)
	}
	if _, err := s.Dial(sip.TLS, s.Addr(1), ""); err != ErrNoListener {
		t.Fatalf("no listener: %v", err)
	}
	if _, err := s.Dial(sip.TCP, netip.MustParseAddrPort("[::1]:5060"), ""); err != ErrNoListener {
		t.Fatalf("no listener of the family: %v", err)
	}
	flow, err := s.Dial(sip.UDP, s.Addr(1), "")
	if err != nil || flow.Transport != sip.UDP || flow.Remote != s.Addr(1) || !s.Alive(flow) {
		t.Fatalf("UDP: %+v, %v", flow, err)
	}
}

// A dialled connection that nobody uses ends like any other without a binding.
func TestDialledIdle(t *testing.T) {
	s := start(t, []Listener{listen(sip.TCP, "127.0.0.1")}, func(c *Config) {
		c.Deadlines = Deadlines{Idle: short, FirstMessage: time.Minute, Linger: short}
	})
	flow, err := s.Dial(sip.TCP, s.Addr(0), "") // to itself
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s.next(t, "closed")
	}
	if s.Alive(flow) {
		t.Fatal("alive after the end")
	}
}
