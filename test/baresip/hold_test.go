package baresip

import (
	"bytes"
	"fmt"
	"testing"

	"onhook/test/devserver"
	"onhook/test/flows"
)

// A phone holds its call and goes on with it (RFC 3264 8.4), by offers that the
// other one answers.
func TestHold(t *testing.T) {
	t.Parallel()
	s := devserver.Shared(t)
	alice, a := register(t, s, "ba_hold_a", "tcp", "")
	bob, _ := register(t, s, "ba_hold_b", "udp", ";answermode=auto")
	dial(t, alice, bob)
	hears(t, bob)
	alice.Command(t, "hold", "")
	answered(t, s, a.ID, "a=sendonly", "a=recvonly")
	alice.Command(t, "resume", "")
	hears(t, alice)
	hears(t, bob)
	bob.Command(t, "hangup", "")
	alice.WaitEvent(t, "CALL_CLOSED", callLimit)
}

// The API ends a call of two phones: both hang up.
func TestCallIsEndedThroughTheAPI(t *testing.T) {
	t.Parallel()
	s := devserver.Shared(t)
	alice, a := register(t, s, "ba_end_a", "udp", "")
	bob, _ := register(t, s, "ba_end_b", "tls", ";answermode=auto")
	dial(t, alice, bob)
	hears(t, alice)
	if err := (flows.ServerAPI{Server: s}).EndCalls(a.ID); err != nil {
		t.Fatal(err)
	}
	alice.WaitEvent(t, "CALL_CLOSED", callLimit)
	bob.WaitEvent(t, "CALL_CLOSED", callLimit)
}

// hears waits until a phone has received more audio than it had.
func hears(t *testing.T, p *Phone) {
	t.Helper()
	_, before := p.Packets(t)
	err := devserver.Until(callLimit, func() error {
		if _, received := p.Packets(t); received < before+audioPackets {
			return fmt.Errorf("%s has received %d RTP packets, %d before", p.name, received, before)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// answered waits until an endpoint's trace shows an offer and behind it its
// answer, each by a line of its own.
func answered(t *testing.T, s *devserver.Server, id, offer, answer string) {
	t.Helper()
	err := devserver.Until(callLimit, func() error {
		_, text, err := s.APIBytes("GET", "Endpoint/"+id+"/Trace/?format=text", nil)
		_, behind, offered := bytes.Cut(text, []byte(offer))
		if err == nil && !(offered && bytes.Contains(behind, []byte(answer))) {
			err = fmt.Errorf("no %s and %s behind it in\n%s", offer, answer, text)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
