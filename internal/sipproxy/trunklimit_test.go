package sipproxy

import (
	"strings"
	"testing"
	"time"

	"onhook/internal/location"
	"onhook/internal/routing"
	"onhook/internal/trunk"
)

// A full trunk is passed over, and all being full is said.
func TestTrunkLimit(t *testing.T) {
	full := trunkA
	full.MaxCalls = 1
	for _, trunks := range [][]trunk.Trunk{{full}, {full, trunkB}} {
		withTrunks(t, trunks, func(w *world, table *trunk.Table) {
			table.Lines()[0].Take(false)
			w.dial(toNumber, table)
			w.next(caller, "SIP/2.0 100")
			w.nothing(farA)
			if len(trunks) == 2 {
				w.next(farB, "INVITE")
				return
			}
			if m := w.next(caller, "SIP/2.0 503"); !strings.Contains(string(m.Bytes()), "phones.trunk_busy") {
				t.Errorf("%s", m.Bytes())
			}
		})
	}
}

// The limit of calls holds for those that come from the trunk as well.
func TestTrunkLimitIncoming(t *testing.T) {
	full := trunkA
	full.MaxCalls = 1
	withTrunks(t, []trunk.Trunk{full}, func(w *world, table *trunk.Table) {
		line := table.Lines()[0]
		comes := func(callID string) {
			t.Helper()
			m := parse(t, crlf(strings.ReplaceAll(strings.ReplaceAll(invite, "call@", callID+"@"), "z9hG4bK", "z9hG4bK"+callID)))
			tx, _ := w.layer.Begin(m, udp(caller))
			w.proxy.Forward(tx, m, udp(caller), Caller{Trunk: line}, routing.Decision{Allowed: true, Via: routing.ViaEndpoint,
				Callee: routing.Endpoint{ID: 7, Username: "bob", Domain: "example.com"}, Targets: []location.Binding{binding(deviceA)}})
		}
		comes("first")
		w.next(caller, "SIP/2.0 100")
		sent := w.next(deviceA, "INVITE")
		comes("second")
		if m := w.next(caller, "SIP/2.0 486"); !strings.Contains(string(m.Bytes()), "phones.trunk_busy") {
			t.Errorf("%s", m.Bytes())
		}
		w.nothing(deviceA)
		w.dial(toNumber, table)
		w.next(caller, "SIP/2.0 100")
		w.next(caller, "SIP/2.0 503")
		if line.Calls() != 1 || line.Refused() != 2 {
			t.Errorf("%d calls, %d refused", line.Calls(), line.Refused())
		}
		w.receive(deviceA, response(sent, 603, "a"))
		w.next(deviceA, "ACK")
		w.next(caller, "SIP/2.0 603")
		if line.Calls() != 0 {
			t.Errorf("%d calls after the last", line.Calls())
		}
		comes("third")
		w.next(caller, "SIP/2.0 100")
		w.next(deviceA, "INVITE")
	})
}

// Calls that go on after a restart are counted on their trunk, whichever way they
// came.
func TestTrunkLimitAfterRestart(t *testing.T) {
	for _, incoming := range []bool{true, false} {
		withTrunks(t, []trunk.Trunk{trunkA}, func(w *world, table *trunk.Table) {
			w.journalled()
			if incoming {
				m := parse(t, crlf(invite))
				tx, _ := w.layer.Begin(m, udp(caller))
				w.proxy.Forward(tx, m, udp(caller), Caller{Trunk: table.Lines()[0]}, routing.Decision{Allowed: true, Via: routing.ViaEndpoint,
					Callee: routing.Endpoint{ID: 7, Username: "bob", Domain: "example.com"}, Targets: []location.Binding{binding(deviceA)}})
				w.next(caller, "SIP/2.0 100")
				w.receive(deviceA, response(w.next(deviceA, "INVITE"), 200, "a"))
			} else {
				w.dial(toNumber, table)
				w.next(caller, "SIP/2.0 100")
				w.receive(farA, atFar(response(w.next(farA, "INVITE"), 200, "far")))
			}
			ok := w.next(caller, "SIP/2.0 200")
			time.Sleep(time.Second)
			after, err := trunk.NewTable("", "example.com")
			if err != nil {
				t.Fatal(err)
			}
			if err := after.Set([]trunk.Trunk{trunkA}, nil); err != nil {
				t.Fatal(err)
			}
			w.proxy.Trunks = lines{after}
			w.restart()
			line := after.Lines()[0]
			if line.Calls() != 1 {
				t.Errorf("incoming %t: %d calls after the restart", incoming, line.Calls())
			}
			w.receive(caller, inDialog("BYE", 2, ok))
			if incoming {
				w.receive(deviceA, response(w.next(deviceA, "BYE"), 200, "a"))
			} else {
				w.receive(farA, atFar(response(w.next(farA, "BYE"), 200, "far")))
			}
			w.next(caller, "SIP/2.0 200")
			if line.Calls() != 0 {
				t.Errorf("incoming %t: %d calls after the last", incoming, line.Calls())
			}
			w.stop()
		})
	}
}
