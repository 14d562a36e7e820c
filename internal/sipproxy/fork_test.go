package sipproxy

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"onhook/internal/location"
	"onhook/internal/routing"
	"onhook/internal/sip"
)

var deviceC = netip.MustParseAddrPort("192.0.2.22:5060")

// begin forwards a request as a caller who is an endpoint.
func (w *world) begin(text string, flow sip.Flow, caller Caller, targets ...location.Binding) {
	w.t.Helper()
	m := parse(w.t, crlf(text))
	tx, ok := w.layer.Begin(m, flow)
	if !ok {
		w.t.Fatal("no transaction")
	}
	w.proxy.Forward(tx, m, flow, caller, routing.Decision{Allowed: true, Callee: bob, Targets: targets})
}

// RFC 3261 16.7: an answered call, or a delivered message, goes to no further group.
func TestNoFurtherGroupAfterSuccess(t *testing.T) {
	for _, method := range []string{"INVITE", "MESSAGE"} {
		inWorld(t, func(w *world) {
			late := binding(deviceC)
			late.Q = 500
			w.begin(strings.ReplaceAll(invite, "INVITE", method), udp(caller), Caller{}, binding(deviceA), binding(deviceB), late)
			if method == "INVITE" {
				w.next(caller, "SIP/2.0 100")
			}
			a, b := w.next(deviceA, method), w.next(deviceB, method)
			w.receive(deviceA, response(a, 200, "a"))
			w.next(caller, "SIP/2.0 200")
			w.receive(deviceB, response(b, 487, "b"))
			w.nothing(deviceC)
			w.nothing(caller)
		})
	}
}

// RFC 3261 16.7 step 6: a lower q is tried when the higher one has failed.
func TestNextGroupAfterFailure(t *testing.T) {
	inWorld(t, func(w *world) {
		late := binding(deviceC)
		late.Q = 500
		w.begin(invite, udp(caller), Caller{}, binding(deviceA), binding(deviceB), late)
		w.next(caller, "SIP/2.0 100")
		a, b := w.next(deviceA, "INVITE"), w.next(deviceB, "INVITE")
		w.receive(deviceA, response(a, 486, "a"))
		w.nothing(deviceC)
		w.receive(deviceB, response(b, 486, "b"))
		w.next(deviceC, "INVITE")
		w.nothing(caller)
	})
}

// RFC 5626 5.3: a device with several flows rings once; the other flow is for
// when the first fails.
func TestSeveralFlowsOfOneDevice(t *testing.T) {
	inWorld(t, func(w *world) {
		first, second := binding(deviceA), binding(deviceB)
		first.InstanceID, second.InstanceID = "urn:uuid:1", "urn:uuid:1"
		first.RegID, second.RegID = 1, 2
		w.begin(invite, udp(caller), Caller{}, first, second)
		w.next(caller, "SIP/2.0 100")
		w.next(deviceA, "INVITE")
		w.nothing(deviceB)
		time.Sleep(33 * time.Second)
		w.receive(deviceB, response(w.next(deviceB, "INVITE"), 486, "b"))
		w.next(caller, "SIP/2.0 486")
	})
}

func TestSeveralFlowsOfOneDeviceAnswered(t *testing.T) {
	inWorld(t, func(w *world) {
		first, second := binding(deviceA), binding(deviceB)
		first.InstanceID, second.InstanceID = "urn:uuid:1", "urn:uuid:1"
		w.begin(invite, udp(caller), Caller{}, first, second)
		w.next(caller, "SIP/2.0 100")
		w.receive(deviceA, response(w.next(deviceA, "INVITE"), 486, "a"))
		w.next(caller, "SIP/2.0 486")
		w.nothing(deviceB)
	})
}

// RFC 5393 4.2: a request that comes back as it went is a loop.
func TestLoop(t *testing.T) {
	inWorld(t, func(w *world) {
		w.receive(caller, invite, deviceA)
		w.next(caller, "SIP/2.0 100")
		m := w.next(deviceA, "INVITE")
		var vias strings.Builder
		vias.WriteString("Via: SIP/2.0/UDP 192.0.2.20:5060;branch=z9hG4bKloop\n")
		for c := m.Values(sip.Via); c.Next(); {
			vias.WriteString("Via: " + c.Value + "\n")
		}
		spiral := strings.Replace(strings.Replace(invite, "Via:", vias.String()+"X-Via:", 1), "sip:bob@", "sip:carol@", 1)
		w.receive(deviceA, spiral, deviceB)
		w.next(deviceA, "SIP/2.0 100")
		w.next(deviceB, "INVITE") // on its way to somebody else: a spiral
		looped := strings.Replace(strings.Replace(invite, "Via:", vias.String()+"X-Via:", 1), "z9hG4bKloop", "z9hG4bKloop2", 1)
		w.receive(deviceA, looped, deviceB)
		w.next(deviceA, "SIP/2.0 482")
		w.nothing(deviceB)
	})
}

// A cancelled request goes nowhere, also when the device it waited for returns.
func TestCancelledWhileWaiting(t *testing.T) {
	inWorld(t, func(w *world) {
		w.receive(caller, invite, deviceA)
		w.next(caller, "SIP/2.0 100")
		w.receive(deviceA, response(w.next(deviceA, "INVITE"), 200, "a"))
		ok := w.next(caller, "SIP/2.0 200")
		w.bindings[7] = []location.Binding{{Contact: "sip:bob@192.0.2.21:5060", FlowBound: true, Flow: sip.Flow{Transport: sip.TCP, Remote: deviceB}}}
		w.dead[deviceB] = true
		reinvite := parse(t, crlf(inDialog("INVITE", 2, ok)))
		tx, _ := w.layer.Begin(reinvite, udp(caller))
		a, refusal := w.proxy.Admit(reinvite, udp(caller))
		if refusal != nil {
			t.Fatal(refusal)
		}
		a.to.Flow = w.bindings[7][0].Flow
		w.proxy.ForwardInDialog(tx, reinvite, udp(caller), a)
		w.next(caller, "SIP/2.0 100")
		w.receive(caller, strings.Replace(inDialog("CANCEL", 2, ok), "z9hG4bKCANCEL2", "z9hG4bKINVITE2", 1))
		w.next(caller, "SIP/2.0 200")
		w.next(caller, "SIP/2.0 487")
		w.mu.Lock()
		w.dead[deviceB] = false
		w.mu.Unlock()
		time.Sleep(time.Second)
		w.nothing(deviceB)
	})
}

// A stranger is not told that an endpoint exists whose device is gone.
func TestStrangerLearnsNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		w.dead[deviceA] = true
		w.begin(strings.ReplaceAll(invite, "INVITE", "MESSAGE"), udp(caller), Caller{}, binding(deviceA))
		if m := w.next(caller, "SIP/2.0 480"); field(m, ReasonHeader) != "" || m.Has(sip.Warning) {
			t.Errorf("%s: %q", ReasonHeader, field(m, ReasonHeader))
		}
		w.begin(strings.NewReplacer("INVITE", "MESSAGE", "z9hG4bKinvite", "z9hG4bKother").Replace(invite), udp(caller), Caller{Endpoint: 3}, binding(deviceA))
		if m := w.next(caller, "SIP/2.0 480"); field(m, ReasonHeader) != "endpoint.unreachable" {
			t.Errorf("%s: %q", ReasonHeader, field(m, ReasonHeader))
		}
	})
}

// What is kept of an answered call does not hold its request.
func TestForkLetsGoOfTheRequest(t *testing.T) {
	inWorld(t, func(w *world) {
		m := parse(t, crlf(invite))
		tx, _ := w.layer.Begin(m, udp(caller))
		w.proxy.Forward(tx, m, udp(caller), Caller{}, routing.Decision{Callee: routing.Endpoint{ID: 7}, Targets: []location.Binding{binding(deviceA)}})
		w.next(caller, "SIP/2.0 100")
		f := tx.User().(*fork)
		w.receive(deviceA, response(w.next(deviceA, "INVITE"), 200, "a"))
		w.next(caller, "SIP/2.0 200")
		if f.req != nil {
			t.Error("the request is still held")
		}
		if tx.User() != nil {
			t.Error("the INVITE's transaction still holds what answered it")
		}
	})
}

// What belongs to a call is let go of with its BYE, not with Timer M, unless we
// ended it: a 2xx that comes again has to be acknowledged then.
func TestCallLetsGoOfItsTransactions(t *testing.T) {
	inWorld(t, func(w *world) {
		w.begin(invite, udp(caller), Caller{}, binding(deviceA))
		w.next(caller, "SIP/2.0 100")
		a := w.next(deviceA, "INVITE")
		w.receive(deviceA, response(a, 200, "a"))
		ok := w.next(caller, "SIP/2.0 200")
		w.receive(deviceA, response(a, 200, "a")) // the ACK is late
		w.next(caller, "SIP/2.0 200")
		w.receive(caller, inDialog("ACK", 1, ok))
		w.next(deviceA, "ACK")
		w.receive(caller, inDialog("BYE", 2, ok))
		w.receive(deviceA, response(w.next(deviceA, "BYE"), 200, "a"))
		w.next(caller, "SIP/2.0 200")
		if n := w.layer.Stats().Clients; n != 1 {
			t.Errorf("%d client transactions after the BYE, whose own is one", n)
		}
		w.receive(deviceA, response(a, 200, "a"))
		w.nothing(caller)
	})
}

// A caller whose connection is gone cannot be told anything any more: what rings
// for it stops.
func TestCallerVanishes(t *testing.T) {
	inWorld(t, func(w *world) {
		browser := sip.Flow{Transport: sip.WSS, Conn: 3, Remote: caller}
		w.begin(invite, browser, Caller{}, binding(deviceA))
		a := w.next(deviceA, "INVITE")
		w.receive(deviceA, response(a, 180, "a"))
		w.proxy.FlowClosed(sip.Flow{Transport: sip.WSS, Conn: 4, Remote: caller})
		w.nothing(deviceA)
		w.proxy.FlowClosed(browser)
		w.receive(deviceA, response(w.next(deviceA, "CANCEL"), 200, "a"))
		w.receive(deviceA, response(a, 487, "a"))
		w.next(deviceA, "ACK")
		if n := w.proxy.Stats().Calls; n != 0 {
			t.Errorf("%d calls are still open", n)
		}
	})
}

// A call that was answered is not touched by the end of a connection.
func TestAnsweredCallOutlivesConnection(t *testing.T) {
	inWorld(t, func(w *world) {
		browser := sip.Flow{Transport: sip.WSS, Conn: 3, Remote: caller}
		w.begin(invite, browser, Caller{}, binding(deviceA))
		w.receive(deviceA, response(w.next(deviceA, "INVITE"), 200, "a"))
		if n := len(w.proxy.ringing.forks); n != 0 {
			t.Errorf("%d connections are still watched", n)
		}
		w.proxy.FlowClosed(browser)
		w.nothing(deviceA)
		if n := w.proxy.Stats().Calls; n != 1 {
			t.Errorf("%d calls are open", n)
		}
	})
}

// The devices of a group fail at the same time: one of the two moves on, and the
// caller hears nothing while the next group rings.
func TestFailuresAtTheSameTime(t *testing.T) {
	for range 300 {
		inWorld(t, func(w *world) {
			late := binding(deviceC)
			late.Q = 500
			w.begin(invite, udp(caller), Caller{}, binding(deviceA), binding(deviceB), late)
			w.next(caller, "SIP/2.0 100")
			a, b := response(w.next(deviceA, "INVITE"), 486, "a"), response(w.next(deviceB, "INVITE"), 486, "b")
			go w.receive(deviceA, a)
			go w.receive(deviceB, b)
			w.next(deviceC, "INVITE")
			w.nothing(caller)
		})
	}
}
