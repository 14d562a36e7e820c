package server

import (
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"
)

// socket is a phone's UDP socket.
type socket struct {
	t *testing.T
	*net.UDPConn
}

func dial(t *testing.T, in *instance) socket {
	t.Helper()
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(in.Addr(0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return socket{t, c}
}

func (s socket) send(msg string) {
	s.t.Helper()
	if _, err := io.WriteString(s, strings.ReplaceAll(msg, "\n", "\r\n")); err != nil {
		s.t.Fatal(err)
	}
}

// receive waits for a message that begins so, passing over others.
func (s socket) receive(start string) string {
	s.t.Helper()
	if err := s.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	buf := make([]byte, 65536)
	for {
		n, err := s.Read(buf)
		if err != nil {
			s.t.Fatalf("no %q: %v", start, err)
		}
		if msg := string(buf[:n]); strings.HasPrefix(msg, start) {
			return strings.ReplaceAll(msg, "\r\n", "\n")
		}
	}
}

var (
	fromRequest = regexp.MustCompile(`(?m)^(Via|From|Call-ID|CSeq|Record-Route): .*\n`)
	toHeader    = regexp.MustCompile(`(?m)^To: .*`)
	recordRoute = regexp.MustCompile(`(?m)^Record-Route: (.*)$`)
)

// ok is a phone's 200 to a request.
func ok(req string, contact net.Addr) string {
	to := toHeader.FindString(req)
	if !strings.Contains(to, ";tag=") {
		to += ";tag=callee"
	}
	return "SIP/2.0 200 OK\n" + strings.Join(fromRequest.FindAllString(req, -1), "") + to +
		fmt.Sprintf("\nContact: <sip:bob@%s>\nContent-Length: 0\n\n", contact)
}

// A call that was established before a restart is ended through the server
// after it: nothing but the Route's cookie tells where the BYE goes.
func TestCallOutlivesRestart(t *testing.T) {
	cfg := testConfig(t)
	in := start(t, cfg)
	in.createBob(t)
	if got := in.login(t, 1, "password-1"); !strings.HasPrefix(got, "SIP/2.0 200") {
		t.Fatalf("bob cannot register:\n%s", got)
	}
	bob, caller := socket{t, in.client}, dial(t, in)
	caller.send(fmt.Sprintf("INVITE sip:bob@example.com SIP/2.0\nVia: SIP/2.0/UDP %[1]s;rport;branch=z9hG4bKinvite\nMax-Forwards: 70\n"+
		"From: <sip:caller@elsewhere.example>;tag=caller\nTo: <sip:bob@example.com>\nCall-ID: call\nCSeq: 1 INVITE\nContact: <sip:caller@%[1]s>\nContent-Length: 0\n\n",
		caller.LocalAddr()))
	bob.send(ok(bob.receive("INVITE "), bob.LocalAddr()))
	answer := caller.receive("SIP/2.0 200")
	route := recordRoute.FindStringSubmatch(answer)
	if route == nil {
		t.Fatalf("no Record-Route in\n%s", answer)
	}
	inDialog := func(method, route, callID string, cseq int) string {
		return fmt.Sprintf("%[1]s sip:bob@%[2]s SIP/2.0\nVia: SIP/2.0/UDP %[3]s;rport;branch=z9hG4bK%[1]s%[4]s%[5]d\nMax-Forwards: 70\nRoute: %[6]s\n"+
			"From: <sip:caller@elsewhere.example>;tag=caller\n%[7]s\nCall-ID: %[4]s\nCSeq: %[5]d %[1]s\nContent-Length: 0\n\n",
			method, bob.LocalAddr(), caller.LocalAddr(), callID, cseq, route, toHeader.FindString(answer))
	}
	caller.send(inDialog("ACK", route[1], "call", 1))
	bob.receive("ACK ")

	for i := range cfg.SIP.Listeners {
		cfg.SIP.Listeners[i].Address = in.Addr(i).String()
	}
	if err := in.stop(); err != nil {
		t.Fatal(err)
	}
	start(t, cfg)

	caller.send(inDialog("BYE", route[1], "another", 2)) // the cookie of this call in another
	caller.receive("SIP/2.0 403")
	caller.send(inDialog("BYE", route[1], "call", 3))
	bob.send(ok(bob.receive("BYE "), bob.LocalAddr()))
	caller.receive("SIP/2.0 200")
	caller.send(inDialog("BYE", route[1], "call", 4)) // and of a call that is over
	caller.receive("SIP/2.0 403")
}
