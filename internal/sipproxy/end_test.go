package sipproxy

import (
	"strings"
	"testing"
	"time"

	"onhook/internal/callrecord"
	"onhook/internal/sip"
)

// established is a call of alice's that deviceA has answered; it returns the
// INVITE as the device got it and the 200 as the caller did.
func (w *world) established() (atDevice, atCaller *sip.Message) {
	w.t.Helper()
	w.begin(invite, udp(caller), alice, binding(deviceA))
	w.next(caller, "SIP/2.0 100")
	atDevice = w.next(deviceA, "INVITE")
	w.receive(deviceA, response(atDevice, 200, "a"))
	atCaller = w.next(caller, "SIP/2.0 200")
	w.receive(caller, inDialog("ACK", 1, atCaller))
	w.next(deviceA, "ACK")
	return atDevice, atCaller
}

// The server ends a call: each side gets a BYE that continues what the other has
// said, and what they say meanwhile is answered.
func TestEnd(t *testing.T) {
	inWorld(t, func(w *world) {
		atDevice, ok := w.established()
		w.receive(caller, inDialog("INFO", 7, ok))
		w.receive(deviceA, response(w.next(deviceA, "INFO"), 200, "a"))
		w.next(caller, "SIP/2.0 200")
		id := w.proxy.Live("MA_ALICE")[0].ID
		time.Sleep(time.Second)
		if !w.proxy.End(id, EndByAPI) {
			t.Fatal("not ended")
		}
		toDevice, toCaller := w.next(deviceA, "BYE sip:bob@192.0.2.20:5060 "), w.next(caller, "BYE sip:alice@192.0.2.10:5060 ")
		if toDevice.CSeq != 8 || toDevice.From.Tag() != "alice" || toDevice.To.Tag() != "a" || toDevice.CallID != ok.CallID {
			t.Errorf("to the device:\n%s", toDevice.Bytes())
		}
		if toCaller.CSeq != 1 || toCaller.From.Tag() != "a" || toCaller.To.Tag() != "alice" || toCaller.Has(sip.Route) {
			t.Errorf("to the caller:\n%s", toCaller.Bytes())
		}
		if reason, _ := toCaller.Value(sip.Reason); reason != `Q.850;cause=16;text="The call was ended through the API"` {
			t.Errorf("Reason: %s", reason)
		}
		w.receive(deviceA, response(toDevice, 200, "a"))
		w.receive(caller, inDialog("BYE", 8, ok)) // crosses ours
		w.next(caller, "SIP/2.0 200")
		w.receive(caller, response(toCaller, 481, "alice"))
		w.receive(deviceA, strings.Replace(bye(atDevice, "a", 3), "BYE", "INFO", 2))
		w.next(deviceA, "SIP/2.0 481")
		if w.proxy.End(id, EndByAPI) || w.proxy.Stats().Calls != 0 {
			t.Error("it is still there")
		}
		r := w.record("MA_BOB")
		if r.Cause != callrecord.EndedByAPI || r.Source != callrecord.APIRequest || r.Status != callrecord.Completed || r.Billed(time.Time{}) != time.Second {
			t.Errorf("%+v", r)
		}
		time.Sleep(remembered + time.Second)
		w.receive(caller, inDialog("BYE", 9, ok))
		w.next(caller, "SIP/2.0 403")
	})
}

// The route sets of both sides: what stood above and below us in Record-Route
// (RFC 3261 12.1), and the Contact of the latest re-INVITE.
func TestEndThroughProxies(t *testing.T) {
	inWorld(t, func(w *world) {
		text := strings.Replace(invite, "Contact:", "Record-Route: <sip:p2.example;lr>\nRecord-Route: <sip:p1.example;lr>\nContact:", 1)
		w.begin(text, udp(caller), alice, binding(deviceA))
		w.next(caller, "SIP/2.0 100")
		answer := response(w.next(deviceA, "INVITE"), 200, "a")
		answer = strings.Replace(answer, "Record-Route:", "Record-Route: <sip:q2.example;lr>, <sip:q1.example;lr>\nRecord-Route:", 1)
		w.receive(deviceA, answer)
		ok := w.next(caller, "SIP/2.0 200")
		var route string
		for c := ok.Values(sip.RecordRoute); c.Next(); {
			if strings.Contains(c.Value, ";c=") {
				route = c.Value
			}
		}
		again := strings.Replace(inDialog("INVITE", 2, ok), "Content-Length", "Contact: <sip:alice@192.0.2.10:7777>\nContent-Length", 1)
		lines := strings.Split(again, "\n")
		for i := range lines {
			if strings.HasPrefix(lines[i], "Route:") {
				lines[i] = "Route: " + route + ", <sip:q1.example;lr>, <sip:q2.example;lr>"
			}
		}
		w.receive(caller, strings.Join(lines, "\n"))
		w.next(caller, "SIP/2.0 100")
		w.next(deviceA, "INVITE")
		w.proxy.EndOf(7, EndWithCredentials)
		w.next(deviceA, "ACK")
		toDevice, toCaller := w.next(deviceA, "BYE"), w.next(caller, "BYE sip:alice@192.0.2.10:7777 ")
		if r, _ := toDevice.Value(sip.Route); r != "<sip:q1.example;lr>, <sip:q2.example;lr>" || toDevice.CSeq != 3 {
			t.Errorf("to the device: Route %s, CSeq %d", r, toDevice.CSeq)
		}
		if r, _ := toCaller.Value(sip.Route); r != "<sip:p2.example;lr>, <sip:p1.example;lr>" {
			t.Errorf("to the caller: Route %s", r)
		}
	})
}

// A call that still rings: its devices are cancelled, its caller is told.
func TestEndRinging(t *testing.T) {
	inWorld(t, func(w *world) {
		w.begin(invite, udp(caller), alice, binding(deviceA), binding(deviceB))
		w.next(caller, "SIP/2.0 100")
		a, b := w.next(deviceA, "INVITE"), w.next(deviceB, "INVITE")
		w.receive(deviceA, response(a, 180, "a"))
		w.next(caller, "SIP/2.0 180")
		w.receive(deviceB, response(b, 180, "b"))
		w.next(caller, "SIP/2.0 180")
		if !w.proxy.End(w.proxy.Live("MA_BOB")[0].ID, EndByAPI) {
			t.Fatal("not ended")
		}
		if m := w.next(caller, "SIP/2.0 480"); field(m, ReasonHeader) != "call.ended_by_api" {
			t.Errorf("%s", m.Bytes())
		}
		c := w.next(deviceA, "CANCEL")
		if reason, _ := c.Value(sip.Reason); !strings.Contains(reason, "ended through the API") {
			t.Errorf("Reason: %s", reason)
		}
		w.next(deviceB, "CANCEL")
		w.receive(deviceA, response(a, 487, "a"))
		w.next(deviceA, "ACK")
		w.receive(deviceB, response(b, 200, "b")) // answered in the same moment
		w.next(deviceB, "ACK")
		w.next(deviceB, "BYE")
		w.nothing(caller)
		r := w.record("MA_ALICE")
		if r.Cause != callrecord.EndedByAPI || r.Source != callrecord.APIRequest || r.SIPCode != 480 || !r.Answer.IsZero() {
			t.Errorf("%+v", r)
		}
	})
}

// RFC 3261 9.1: a device answers although it was cancelled. It gets its ACK and a
// BYE whether or not the caller, who is told, does anything about it.
func TestNoGhostCall(t *testing.T) {
	inWorld(t, func(w *world) {
		w.begin(invite, udp(caller), alice, binding(deviceA))
		w.next(caller, "SIP/2.0 100")
		a := w.next(deviceA, "INVITE")
		w.receive(deviceA, response(a, 180, "a"))
		w.next(caller, "SIP/2.0 180")
		w.receive(caller, cancel)
		w.next(caller, "SIP/2.0 200")
		w.next(deviceA, "CANCEL")
		w.receive(deviceA, response(a, 200, "a"))
		ack, bye := w.next(deviceA, "ACK sip:bob@192.0.2.20:5060 "), w.next(deviceA, "BYE sip:bob@192.0.2.20:5060 ")
		if ack.CSeq != 1 || bye.CSeq != 2 || bye.To.Tag() != "a" {
			t.Errorf("CSeq %d and %d, To tag %s", ack.CSeq, bye.CSeq, bye.To.Tag())
		}
		ok := w.next(caller, "SIP/2.0 200")
		w.receive(deviceA, response(a, 200, "a")) // the ACK was lost
		w.next(deviceA, "ACK")
		w.receive(deviceA, response(bye, 200, "a"))
		w.receive(caller, inDialog("ACK", 1, ok))
		w.receive(caller, inDialog("BYE", 2, ok))
		w.next(caller, "SIP/2.0 200")
		w.nothing(deviceA)
		if r := w.record("MA_ALICE"); r.Status != callrecord.Cancelled || r.Source != callrecord.Caller || !r.Answer.IsZero() {
			t.Errorf("%+v", r)
		}
	})
}

// The same where the caller's connection is gone.
func TestNoGhostCallOfLostCaller(t *testing.T) {
	inWorld(t, func(w *world) {
		from := sip.Flow{Transport: sip.TCP, Conn: 5, Remote: caller}
		w.begin(invite, from, alice, binding(deviceA))
		a := w.next(deviceA, "INVITE")
		w.receive(deviceA, response(a, 180, "a"))
		w.mu.Lock()
		w.dead[caller] = true
		w.mu.Unlock()
		w.proxy.FlowClosed(from)
		w.next(deviceA, "CANCEL")
		w.receive(deviceA, response(a, 200, "a"))
		w.next(deviceA, "ACK")
		w.next(deviceA, "BYE")
		if r := w.record("MA_ALICE"); r.Cause != callrecord.ConnectionLost {
			t.Errorf("%+v", r)
		}
	})
}
