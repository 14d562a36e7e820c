package baresip

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"onhook/test/devserver"
)

func TestMain(m *testing.M) { os.Exit(devserver.Main(m)) }

const (
	registerLimit = 30 * time.Second
	callLimit     = 30 * time.Second
	audioPackets  = 100 // two seconds of speech
)

func register(t *testing.T, s *devserver.Server, name, transport, parameters string) (*Phone, devserver.Endpoint) {
	t.Helper()
	e := s.CreateEndpoint(t, name, nil)
	p := Start(t, s, e, transport, parameters)
	p.WaitLog(t, `200 OK \(.*\[1 binding\]`, registerLimit)
	shown := s.WaitRegistered(t, e.ID, true)
	if !strings.HasPrefix(*shown.UserAgent, "baresip v1.0") {
		t.Errorf("sip_user_agent is %q", *shown.UserAgent)
	}
	if bindings := s.Bindings(t, e.ID); len(bindings) != 1 || !strings.EqualFold(bindings[0].Transport, transport) {
		t.Errorf("bindings over %s: %+v", transport, bindings)
	}
	return p, e
}

// Two real phones register, call each other and exchange audio.
func TestCall(t *testing.T) {
	t.Parallel()
	for i, transport := range []string{"udp", "tcp", "tls"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := devserver.Shared(t)
			alice, _ := register(t, s, "ba_alice_"+transport, transport, "")
			bob, _ := register(t, s, "ba_bob_"+transport, transport, ";answermode=auto")
			callerEnds := i%2 == 0
			talk(t, alice, bob, callerEnds)
		})
	}
}

// A call between phones on different transports.
func TestCallAcrossTransports(t *testing.T) {
	t.Parallel()
	s := devserver.Shared(t)
	alice, _ := register(t, s, "ba_mixed_a", "tls", "")
	bob, _ := register(t, s, "ba_mixed_b", "udp", ";answermode=auto")
	talk(t, alice, bob, false)
}

// dial lets alice call bob, who answers.
func dial(t *testing.T, alice, bob *Phone) {
	t.Helper()
	call(t, alice, bob)
	alice.WaitEvent(t, "CALL_ESTABLISHED", callLimit)
	bob.WaitEvent(t, "CALL_ESTABLISHED", callLimit)
}

// call lets alice call bob.
func call(t *testing.T, alice, bob *Phone) {
	t.Helper()
	// Each dials by the address it has registered at itself: the server knows
	// its own addresses as its domain.
	user := strings.TrimPrefix(bob.URI[:strings.IndexByte(bob.URI, '@')], "sip:")
	_, host, _ := strings.Cut(alice.URI, "@")
	alice.Command(t, "dial", "sip:"+user+"@"+host)
}

// talk lets alice call bob until both have heard enough, and one of them hang up.
func talk(t *testing.T, alice, bob *Phone, callerEnds bool) {
	t.Helper()
	dial(t, alice, bob)
	for _, p := range []*Phone{alice, bob} {
		err := devserver.Until(callLimit, func() error {
			if sent, received := p.Packets(t); sent < audioPackets || received < audioPackets {
				return fmt.Errorf("%s has sent %d RTP packets and received %d, want %d each", p.name, sent, received, audioPackets)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	ends, hears := alice, bob
	if !callerEnds {
		ends, hears = bob, alice
	}
	ends.Command(t, "hangup", "")
	hears.WaitEvent(t, "CALL_CLOSED", callLimit)
	for _, p := range []*Phone{alice, bob} {
		if sent, received := p.Totals(t); sent < audioPackets || received < audioPackets {
			t.Errorf("%s: %d RTP packets sent, %d received in all", p.name, sent, received)
		}
	}
}

// A callee that is not there, and a caller that gives up: the phone is told.
func TestRefusalReachesThePhone(t *testing.T) {
	t.Parallel()
	s := devserver.Shared(t)
	alice, _ := register(t, s, "ba_lonely", "udp", "")
	away := s.CreateEndpoint(t, "ba_away", nil)
	alice.Command(t, "dial", "sip:"+away.Username+"@"+s.SIP.UDP)
	if closed := alice.WaitEvent(t, "CALL_CLOSED", callLimit); !strings.Contains(closed.Param, "480") {
		t.Errorf("the call ended with %q, want 480", closed.Param)
	}
}

// A wrong password is refused, and no retry makes a binding. baresip tries again
// at once until it is banned.
func TestWrongPassword(t *testing.T) {
	t.Parallel()
	s := devserver.Shared(t)
	e := s.CreateEndpoint(t, "ba_wrong", nil)
	id := e.ID
	e.Password = "not-the-password"
	p := Start(t, s, e, "tcp", "")
	p.WaitLog(t, `(?i)401 unauthorized|403 forbidden|authentication failed`, registerLimit)
	if got := s.Endpoint(t, id); got.Registered != "false" {
		t.Error("registered with a wrong password")
	}
}
