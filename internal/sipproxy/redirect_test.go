package sipproxy

import (
	"strings"
	"testing"
	"time"

	"onhook/internal/callrecord"
	"onhook/internal/location"
	"onhook/internal/routing"
	"onhook/internal/sip"
)

// carolsPhone is where every redirection to carol goes.
type carolsPhone struct{ carol routing.Endpoint }

func (r carolsPhone) Redirect(_ *sip.Message, _ Caller, target sip.URI) (routing.Decision, bool) {
	return routing.Decision{Allowed: true, Via: routing.ViaEndpoint, Callee: r.carol, Targets: []location.Binding{binding(deviceB)}}, target.User == "carol"
}

// A call that was redirected keeps through a restart who had it, which device was
// whose, and everybody's record.
func TestRedirectedCallIsResumed(t *testing.T) {
	inWorld(t, func(w *world) {
		w.proxy.Config.Redirects = carolsPhone{routing.Endpoint{ID: 8, Owner: "MA_CAROL", Main: "MA_CAROL", Username: "carol", Domain: "example.com"}}
		w.journalled()
		w.begin(invite, udp(caller), alice, binding(deviceA))
		w.next(caller, "SIP/2.0 100")
		moved := response(w.next(deviceA, "INVITE"), 302, "a")
		w.receive(deviceA, strings.Replace(moved, "<sip:bob@192.0.2.20:5060>", "<sip:carol@example.com>", 1))
		w.next(deviceA, "ACK")
		w.receive(deviceB, response(w.next(deviceB, "INVITE"), 200, "b"))
		ok := w.next(caller, "SIP/2.0 200")
		w.receive(caller, inDialog("ACK", 1, ok))
		w.next(deviceB, "ACK")
		time.Sleep(time.Second)
		w.restart()
		w.receive(caller, inDialog("BYE", 2, ok))
		w.receive(deviceB, response(w.next(deviceB, "BYE"), 200, "b"))
		w.next(caller, "SIP/2.0 200")
		for account, direction := range map[string]callrecord.Direction{"MA_ALICE": callrecord.Outbound, "MA_BOB": callrecord.Inbound, "MA_CAROL": callrecord.Inbound} {
			r := w.record(account)
			if r.Direction != direction || r.Status != callrecord.Completed || len(r.Legs) != 2 {
				t.Fatalf("%s: %+v", account, r)
			}
			if a, b := r.Legs[0], r.Legs[1]; a.To != "sip:bob@example.com" || a.SIPCode != 302 || b.To != "sip:carol@example.com" || b.Answer.IsZero() {
				t.Errorf("%s: legs %+v", account, r.Legs)
			}
		}
	})
}
