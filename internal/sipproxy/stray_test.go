package sipproxy

import (
	"testing"
	"time"

	"onhook/internal/account"
	"onhook/internal/callrecord"
	"onhook/internal/sip"
	"onhook/internal/trunk"
)

// A call that a killed process had placed is answered after the restart: the
// answer finds its caller, and the call goes on and has its record.
func TestAnsweredAfterRestart(t *testing.T) {
	inWorld(t, func(w *world) {
		w.proxy.Config.Owners = func(account.EndpointID) (string, string) { return "MA_BOB", "MA_BOB" }
		n := w.journalled()
		time.Sleep(time.Second)
		n.kill()
		w.begin(invite, udp(caller), alice, binding(deviceA))
		w.next(caller, "SIP/2.0 100")
		a := w.next(deviceA, "INVITE")
		time.Sleep(100 * time.Millisecond)
		n.revive()
		w.restart()
		time.Sleep(3 * time.Second)
		answered := time.Now().UTC()
		w.receive(deviceB, response(a, 200, "a")) // from elsewhere
		w.nothing(caller)
		w.receive(deviceA, response(a, 200, "a"))
		ok := w.next(caller, "SIP/2.0 200")
		if ok.Via.Branch() != "z9hG4bKinvite" {
			t.Errorf("%s", ok.Bytes())
		}
		w.receive(caller, inDialog("ACK", 1, ok))
		w.next(deviceA, "ACK")
		time.Sleep(2 * time.Second)
		w.receive(caller, inDialog("BYE", 2, ok))
		w.receive(deviceA, response(w.next(deviceA, "BYE"), 200, "a"))
		w.next(caller, "SIP/2.0 200")
		if r := w.record("MA_BOB"); !r.Answer.Equal(answered) || r.Billed(time.Time{}) != 2*time.Second || r.Legs[0].Contact == "" {
			t.Errorf("%+v", r)
		}
		w.receive(deviceA, response(a, 200, "a")) // the call is over
		w.nothing(caller)
	})
}

// The ACK of an answer is lost with the process that it was sent to: the repeated
// answer reaches the caller, who acknowledges it again.
func TestACKLostInRestart(t *testing.T) {
	inWorld(t, func(w *world) {
		w.journalled()
		w.begin(invite, udp(caller), alice, binding(deviceA))
		w.next(caller, "SIP/2.0 100")
		a := w.next(deviceA, "INVITE")
		w.receive(deviceA, response(a, 200, "a"))
		w.next(caller, "SIP/2.0 200")
		w.restart()
		w.receive(deviceA, response(a, 200, "a"))
		w.receive(caller, inDialog("ACK", 1, w.next(caller, "SIP/2.0 200")))
		w.next(deviceA, "ACK")
		if live := w.proxy.Live("MA_ALICE"); len(live) != 1 || live[0].Status != callrecord.InProgress {
			t.Errorf("live: %+v", live)
		}
	})
}

// The same on a trunk, which knows the call by another From and a higher CSeq.
func TestTrunkACKLostInRestart(t *testing.T) {
	withTrunks(t, []trunk.Trunk{trunkA}, func(w *world, table *trunk.Table) {
		w.journalled()
		sent := w.sentToTrunk(table)
		w.receive(farA, atFar(response(sent, 200, "far")))
		first := w.next(caller, "SIP/2.0 200")
		w.restart()
		w.receive(farA, atFar(response(sent, 200, "far")))
		again := w.next(caller, "SIP/2.0 200")
		if again.CSeq != 1 || value(t, again, sip.From) != value(t, first, sip.From) {
			t.Errorf("the caller got CSeq %d, From %s", again.CSeq, value(t, again, sip.From))
		}
		w.receive(caller, inDialog("ACK", 1, again))
		if ack := w.next(farA, "ACK"); ack.CSeq != 2 {
			t.Errorf("ACK with CSeq %d", ack.CSeq)
		}
	})
}

// A trunk answers only after the restart, and the journal had no time to note
// that the call rang: the caller's call begins all the same.
func TestTrunkAnswersAfterRestart(t *testing.T) {
	withTrunks(t, []trunk.Trunk{trunkA}, func(w *world, table *trunk.Table) {
		n := w.journalled()
		time.Sleep(time.Second)
		n.kill()
		sent := w.sentToTrunk(table)
		time.Sleep(10 * time.Millisecond)
		n.revive()
		w.restart()
		w.receive(farA, atFar(response(sent, 200, "far")))
		ok := w.next(caller, "SIP/2.0 200")
		if ok.CSeq != 1 || ok.From.Tag() != "alice" {
			t.Errorf("the caller got CSeq %d, From %s", ok.CSeq, value(t, ok, sip.From))
		}
		w.receive(caller, inDialog("ACK", 1, ok))
		if ack := w.next(farA, "ACK"); ack.CSeq != 2 {
			t.Errorf("ACK with CSeq %d", ack.CSeq)
		}
	})
}

// A device answers a call of which the caller was told at the restart that it is
// over: the call is ended there.
func TestAnsweredTooLate(t *testing.T) {
	inWorld(t, func(w *world) {
		w.journalled()
		w.begin(invite, udp(caller), alice, binding(deviceA))
		w.next(caller, "SIP/2.0 100")
		a := w.next(deviceA, "INVITE")
		w.receive(deviceA, response(a, 180, "a"))
		w.next(caller, "SIP/2.0 180")
		time.Sleep(time.Second)
		w.restart()
		w.next(caller, "SIP/2.0 480")
		c := w.next(deviceA, "CANCEL")
		w.receive(deviceA, response(c, 481, "a"))
		w.receive(deviceA, response(a, 200, "a"))
		w.next(deviceA, "ACK sip:bob@192.0.2.20:5060 ")
		bye := w.next(deviceA, "BYE sip:bob@192.0.2.20:5060 ")
		w.receive(deviceA, response(bye, 200, "a"))
		w.next(caller, "BYE sip:alice@192.0.2.10:5060 ")
		w.receive(deviceA, response(a, 200, "a")) // the ACK was lost
		w.next(deviceA, "ACK sip:bob@192.0.2.20:5060 ")
		w.nothing(deviceA)
	})
}
