package sipproxy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"onhook/internal/account"
	"onhook/internal/location"
	"onhook/internal/routing"
	"onhook/internal/sip"
	"onhook/internal/sipresolve"
	"onhook/internal/trunk"
)

// lines are trunks on fixed addresses; alice, endpoint 3, has a number.
type lines struct{ *trunk.Table }

func (l lines) NumberOf(id account.EndpointID) string {
	if id == 3 {
		return "+4930100"
	}
	return ""
}

func withTrunks(t *testing.T, trunks []trunk.Trunk, f func(w *world, table *trunk.Table)) {
	withNames(t, func(w *world, n *names) {
		table, err := trunk.NewTable("", "example.com")
		if err != nil {
			t.Fatal(err)
		}
		if err := table.Set(trunks, nil); err != nil {
			t.Fatal(err)
		}
		n.hops["a.example"] = []sipresolve.Hop{{Transport: sip.UDP, Addr: farA, Domain: "a.example"}}
		n.hops["b.example"] = []sipresolve.Hop{{Transport: sip.UDP, Addr: farB, Domain: "b.example"}}
		w.proxy.Trunks = lines{table}
		f(w, table)
	})
}

var (
	trunkA = trunk.Trunk{Name: "a", URI: "sip:a.example", Username: "us", Password: "secret", CallerIDIn: trunk.FromHeader}
	trunkB = trunk.Trunk{Name: "b", URI: "sip:b.example", Priority: 1, Strip: 1, Prepend: "00"}
)

// toNumber is alice's call to a phone number.
var toNumber = strings.ReplaceAll(toOther, "sip:bob@far.example", "sip:+49301234@example.com")

// dial forwards a request to a number, from alice or the caller given.
func (w *world) dial(text string, table *trunk.Table) {
	w.t.Helper()
	m := parse(w.t, crlf(text))
	tx, ok := w.layer.Begin(m, udp(caller))
	if !ok {
		w.t.Fatal("no transaction")
	}
	w.proxy.Forward(tx, m, udp(caller), Caller{Endpoint: 3, Identity: "sip:alice@example.com"},
		routing.Decision{Allowed: true, Via: routing.ViaPhones, Lines: table.Candidates("+49301234")})
}

// challenge is a carrier's 401 or 407.
func challenge(req *sip.Message, status int, more string) string {
	name := map[int]string{401: "WWW-Authenticate", 407: "Proxy-Authenticate"}[status]
	return strings.Replace(response(req, status, "c"), "Contact:", name+": Digest realm=\"carrier\", nonce=\"n1\", qop=\"auth\""+more+"\nContact:", 1)
}

func value(t *testing.T, m *sip.Message, id sip.HeaderID) string {
	t.Helper()
	v, _ := m.Value(id)
	return v
}

// RFC 3261 22.2: the proxy answers a trunk's challenge with a higher CSeq, and
// the caller notices nothing of it through the whole call.
func TestTrunkChallenge(t *testing.T) {
	withTrunks(t, []trunk.Trunk{trunkA}, func(w *world, table *trunk.Table) {
		w.dial(toNumber, table)
		w.next(caller, "SIP/2.0 100")
		first := w.next(farA, "INVITE sip:+49301234@a.example SIP/2.0")
		if first.Has(sip.ProxyAuthorization) || first.Has(sip.Authorization) {
			t.Error("credentials before a challenge")
		}
		w.receive(farA, challenge(first, 407, ""))
		w.next(farA, "ACK")
		w.nothing(caller)
		second := w.next(farA, "INVITE sip:+49301234@a.example SIP/2.0")
		if second.CSeq != first.CSeq+1 || second.Via.Branch() == first.Via.Branch() || second.CallID != first.CallID {
			t.Errorf("CSeq %d after %d", second.CSeq, first.CSeq)
		}
		if got := value(t, second, sip.ProxyAuthorization); !strings.Contains(got, `username="us", realm="carrier", nonce="n1", uri="sip:+49301234@a.example"`) {
			t.Errorf("Proxy-Authorization: %s", got)
		}
		if from := value(t, second, sip.From); from != "<sip:+4930100@a.example>;tag=alice" {
			t.Errorf("From: %s", from)
		}
		if id := value(t, second, sip.PAssertedIdentity); id != "<sip:+4930100@a.example>" {
			t.Errorf("P-Asserted-Identity: %s", id)
		}
		w.receive(farA, response(second, 180, "far"))
		ringing := w.next(caller, "SIP/2.0 180")
		w.receive(farA, atFar(response(second, 200, "far")))
		ok := w.next(caller, "SIP/2.0 200")
		for _, m := range []*sip.Message{ringing, ok} {
			if m.CSeq != 1 || value(t, m, sip.From) != "<sip:alice@elsewhere.example>;tag=alice" {
				t.Errorf("the caller got CSeq %d, From %s", m.CSeq, value(t, m, sip.From))
			}
		}
		w.receive(farA, atFar(response(second, 200, "far"))) // its retransmission
		if m := w.next(caller, "SIP/2.0 200"); m.CSeq != 1 {
			t.Errorf("again with CSeq %d", m.CSeq)
		}
		w.receive(caller, inDialog("ACK", 1, ok))
		if ack := w.next(farA, "ACK"); ack.CSeq != 2 || value(t, ack, sip.From) != "<sip:+4930100@a.example>;tag=alice" {
			t.Errorf("ACK with CSeq %d, From %s", ack.CSeq, value(t, ack, sip.From))
		}
		w.receive(caller, strings.Replace(inDialog("PRACK", 2, ok), "Content-Length", "RAck: 7 1 INVITE\nContent-Length", 1))
		prack := w.next(farA, "PRACK")
		if rack := value(t, prack, sip.RAck); prack.CSeq != 3 || rack != "7 2 INVITE" {
			t.Errorf("PRACK with CSeq %d, RAck %s", prack.CSeq, rack)
		}
		w.receive(farA, atFar(response(prack, 200, "far")))
		if m := w.next(caller, "SIP/2.0 200"); m.CSeq != 2 {
			t.Errorf("200 to PRACK with CSeq %d", m.CSeq)
		}

		// RFC 3261 12.2.2: a challenge within the dialog is answered with the same CSeq.
		w.receive(caller, inDialog("BYE", 3, ok))
		bye := w.next(farA, "BYE")
		w.receive(farA, challenge(bye, 407, ""))
		again := w.next(farA, "BYE")
		if bye.CSeq != 4 || again.CSeq != 4 || bye.Via.Branch() == again.Via.Branch() || !again.Has(sip.ProxyAuthorization) {
			t.Errorf("BYE with CSeq %d, then %d", bye.CSeq, again.CSeq)
		}
		w.receive(farA, atFar(response(again, 200, "far")))
		if m := w.next(caller, "SIP/2.0 200"); m.CSeq != 3 {
			t.Errorf("200 to BYE with CSeq %d", m.CSeq)
		}
		if n := table.Lines()[0].Calls(); n != 0 {
			t.Errorf("%d calls on the trunk after the last", n)
		}
	})
}

// The trunk's own requests within a call go to the caller as they are.
func TestTrunkHangsUp(t *testing.T) {
	withTrunks(t, []trunk.Trunk{trunkA}, func(w *world, table *trunk.Table) {
		w.dial(toNumber, table)
		w.next(caller, "SIP/2.0 100")
		w.receive(farA, challenge(w.next(farA, "INVITE"), 401, ""))
		w.next(farA, "ACK")
		sent := w.next(farA, "INVITE")
		w.receive(farA, atFar(response(sent, 200, "far")))
		w.next(caller, "SIP/2.0 200")
		if n := table.Lines()[0].Calls(); n != 1 {
			t.Errorf("%d calls on the trunk", n)
		}
		w.receive(farA, fmt.Sprintf("BYE sip:alice@192.0.2.10:5060 SIP/2.0\nVia: SIP/2.0/UDP %s;branch=z9hG4bKbye\nMax-Forwards: 70\nRoute: %s\nFrom: <sip:+49301234@a.example>;tag=far\nTo: <sip:+4930100@a.example>;tag=alice\nCall-ID: call@192.0.2.10\nCSeq: 9 BYE\nContent-Length: 0\n\n", farA, value(t, sent, sip.RecordRoute)))
		bye := w.next(caller, "BYE")
		if bye.CSeq != 9 {
			t.Errorf("BYE with CSeq %d", bye.CSeq)
		}
		w.receive(caller, response(bye, 200, "alice"))
		if m := w.next(farA, "SIP/2.0 200"); m.CSeq != 9 {
			t.Errorf("200 with CSeq %d", m.CSeq)
		}
		if n := table.Lines()[0].Calls(); n != 0 {
			t.Errorf("%d calls on the trunk after the last", n)
		}
	})
}

// sentToTrunk begins a call through a trunk that asks for the password, and returns
// the INVITE that has it.
func (w *world) sentToTrunk(table *trunk.Table) *sip.Message {
	w.t.Helper()
	w.dial(toNumber, table)
	w.next(caller, "SIP/2.0 100")
	w.receive(farA, challenge(w.next(farA, "INVITE"), 407, ""))
	w.next(farA, "ACK")
	return w.next(farA, "INVITE")
}

// answeredOnTrunk sets up a call through a trunk that asks for the password, and
// returns the 200 that the caller got.
func (w *world) answeredOnTrunk(table *trunk.Table) (ok *sip.Message) {
	w.t.Helper()
	w.receive(farA, atFar(response(w.sentToTrunk(table), 200, "far")))
	ok = w.next(caller, "SIP/2.0 200")
	w.receive(caller, inDialog("ACK", 1, ok))
	w.next(farA, "ACK")
	return ok
}

// A call that we end ourselves has the CSeq of its own at the trunk too.
func TestEndingCallOnTrunk(t *testing.T) {
	withTrunks(t, []trunk.Trunk{trunkA}, func(w *world, table *trunk.Table) {
		w.answeredOnTrunk(table)
		w.proxy.EndOf(3, EndByAPI)
		bye := w.next(farA, "BYE")
		if bye.CSeq != 3 {
			t.Errorf("BYE with CSeq %d after INVITE with 2", bye.CSeq)
		}
		w.next(caller, "BYE")

		// RFC 3261 22.2: our own BYE is said again with a higher CSeq.
		w.receive(farA, challenge(bye, 407, ""))
		again := w.next(farA, "BYE")
		credentials := value(t, again, sip.ProxyAuthorization)
		if again.CSeq != 4 || again.Via.Branch() == bye.Via.Branch() || !strings.Contains(credentials, `uri="`+again.RequestURI+`"`) {
			t.Errorf("BYE again with CSeq %d, %s", again.CSeq, credentials)
		}
		w.receive(farA, challenge(again, 407, "")) // the password is wrong
		w.nothing(farA)
	})
}

// A re-INVITE is said again with the password too, and one that the trunk does not
// take is refused to the caller, while the call goes on.
func TestTrunkChallengesReINVITE(t *testing.T) {
	withTrunks(t, []trunk.Trunk{trunkA}, func(w *world, table *trunk.Table) {
		ok := w.answeredOnTrunk(table)
		for cseq := uint32(2); cseq <= 3; cseq++ {
			taken := cseq == 2
			w.receive(caller, inDialog("INVITE", int(cseq), ok))
			w.next(caller, "SIP/2.0 100")
			first := w.next(farA, "INVITE")
			w.receive(farA, challenge(first, 407, ""))
			w.next(farA, "ACK")
			again := w.next(farA, "INVITE")
			if first.CSeq != cseq+1 || again.CSeq != cseq+1 || !again.Has(sip.ProxyAuthorization) {
				t.Errorf("re-INVITE with CSeq %d, then %d", first.CSeq, again.CSeq)
			}
			if taken {
				w.receive(farA, atFar(response(again, 200, "far")))
				w.next(caller, "SIP/2.0 200")
				w.receive(caller, inDialog("ACK", int(cseq), ok))
				w.next(farA, "ACK")
				continue
			}
			w.receive(farA, challenge(again, 407, ""))
			w.next(farA, "ACK")
			if m := w.next(caller, "SIP/2.0 502"); m.CSeq != cseq || !strings.Contains(string(m.Bytes()), "phones.trunk_refused") {
				t.Errorf("%s", m.Bytes())
			}
			w.receive(caller, strings.Replace(inDialog("ACK", int(cseq), ok), "z9hG4bKACK", "z9hG4bKINVITE", 1))
			w.nothing(farA)
		}
		w.receive(caller, inDialog("BYE", 4, ok))
		w.receive(farA, atFar(response(w.next(farA, "BYE"), 200, "far")))
		w.next(caller, "SIP/2.0 200")
	})
}

// A trunk may be deleted while it carries a call, which goes on with the numbers
// that it has begun with.
func TestTrunkDeletedInCall(t *testing.T) {
	withTrunks(t, []trunk.Trunk{trunkA}, func(w *world, table *trunk.Table) {
		ok := w.answeredOnTrunk(table)
		line := table.Lines()[0]
		if err := table.Set(nil, nil); err != nil {
			t.Fatal(err)
		}
		w.receive(caller, inDialog("BYE", 2, ok))
		bye := w.next(farA, "BYE")
		if bye.CSeq != 3 {
			t.Errorf("BYE with CSeq %d after INVITE with 2", bye.CSeq)
		}
		w.receive(farA, atFar(response(bye, 200, "far")))
		if m := w.next(caller, "SIP/2.0 200"); m.CSeq != 2 {
			t.Errorf("200 to BYE with CSeq %d", m.CSeq)
		}
		if n := line.Calls(); n != 0 {
			t.Errorf("%d calls on the trunk after the last", n)
		}
	})
}

// 408, 5xx, silence and refused credentials lead to the next trunk, which gets
// the number in its form; anything else is the callee's answer.
func TestTrunkFailover(t *testing.T) {
	for name, c := range map[string]struct {
		status  int
		dead    bool
		next    bool
		upwards string
	}{
		"500":              {status: 500, next: true},
		"503":              {status: 503, next: true},
		"408":              {status: 408, next: true},
		"dead":             {dead: true, next: true},
		"bad credentials":  {status: 407, next: true},
		"486":              {status: 486, upwards: "SIP/2.0 486"},
		"404":              {status: 404, upwards: "SIP/2.0 404"},
		"603":              {status: 603, upwards: "SIP/2.0 603"},
		"answered by none": {status: 500, next: true, upwards: "SIP/2.0 500"},
	} {
		t.Run(name, func(t *testing.T) {
			withTrunks(t, []trunk.Trunk{trunkA, trunkB}, func(w *world, table *trunk.Table) {
				w.dead[farA] = c.dead
				w.dial(toNumber, table)
				w.next(caller, "SIP/2.0 100")
				for tries := 0; !c.dead && (tries == 0 || c.status == 407 && tries < 2); tries++ {
					req := w.next(farA, "INVITE")
					if c.status == 407 {
						w.receive(farA, challenge(req, 407, ""))
					} else {
						w.receive(farA, response(req, c.status, "far"))
					}
					w.next(farA, "ACK")
				}
				if !c.next {
					w.next(caller, c.upwards)
					w.nothing(farB)
					return
				}
				second := w.next(farB, "INVITE sip:0049301234@b.example SIP/2.0")
				if second.CSeq != 1 || value(t, second, sip.From) != "<sip:alice@elsewhere.example>;tag=alice" {
					t.Errorf("the next trunk got CSeq %d, From %s", second.CSeq, value(t, second, sip.From))
				}
				if table.Lines()[0].Calls() != 0 || table.Lines()[1].Calls() != 1 {
					t.Errorf("%d and %d calls", table.Lines()[0].Calls(), table.Lines()[1].Calls())
				}
				if c.upwards != "" {
					w.receive(farB, response(second, 503, "b"))
					w.next(farB, "ACK")
					w.next(caller, c.upwards)
					return
				}
				w.receive(farB, response(second, 486, "b"))
				w.next(farB, "ACK")
				w.next(caller, "SIP/2.0 486")
			})
		})
	}
}

// A trunk that does not take our password is no matter of the caller's phone.
func TestTrunkRefusesUs(t *testing.T) {
	withTrunks(t, []trunk.Trunk{trunkA}, func(w *world, table *trunk.Table) {
		w.dial(toNumber, table)
		w.next(caller, "SIP/2.0 100")
		for range 3 { // the first, one for a stale nonce, and no more
			w.receive(farA, challenge(w.next(farA, "INVITE"), 407, ", stale=true"))
			w.next(farA, "ACK")
		}
		refusal := w.next(caller, "SIP/2.0 502")
		if refusal.Has(sip.ProxyAuthenticate) || !strings.Contains(string(refusal.Bytes()), "phones.trunk_refused") {
			t.Errorf("%s", refusal.Bytes())
		}
	})
}

// RFC 3325 9.3: who wants privacy is named to no trunk; whose number is not known
// is named by the address-of-record.
func TestCallerID(t *testing.T) {
	withTrunks(t, []trunk.Trunk{trunkA}, func(w *world, table *trunk.Table) {
		w.dial(strings.Replace(toNumber, "From:", "Privacy: id\nFrom:", 1), table)
		w.next(caller, "SIP/2.0 100")
		if m := w.next(farA, "INVITE"); m.Has(sip.PAssertedIdentity) || strings.Contains(value(t, m, sip.From), "4930100") {
			t.Errorf("%s", m.Bytes())
		}
	})
	withTrunks(t, []trunk.Trunk{trunkB}, func(w *world, table *trunk.Table) {
		w.proxy.Trunks = nobodys{table}
		w.dial(toNumber, table)
		w.next(caller, "SIP/2.0 100")
		if id := value(t, w.next(farB, "INVITE"), sip.PAssertedIdentity); id != "<sip:alice@example.com>" {
			t.Errorf("P-Asserted-Identity: %s", id)
		}
	})
}

type nobodys struct{ *trunk.Table }

func (nobodys) NumberOf(account.EndpointID) string { return "" }

// What a trunk asserts of a caller reaches the endpoint; its requests may come
// from any of its addresses.
func TestFromTrunk(t *testing.T) {
	incoming := trunkB
	incoming.Networks = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	withTrunks(t, []trunk.Trunk{incoming}, func(w *world, table *trunk.Table) {
		m := parse(t, crlf(strings.Replace(invite, "From:", "P-Asserted-Identity: <sip:+4940999@b.example>\nFrom:", 1)))
		tx, _ := w.layer.Begin(m, udp(caller))
		w.proxy.Forward(tx, m, udp(caller), Caller{Trunk: table.Lines()[0]}, routing.Decision{Allowed: true, Via: routing.ViaEndpoint,
			Callee: routing.Endpoint{ID: 7, Username: "bob", Domain: "example.com"}, Targets: []location.Binding{binding(deviceA)}})
		w.next(caller, "SIP/2.0 100")
		sent := w.next(deviceA, "INVITE")
		if id := value(t, sent, sip.PAssertedIdentity); id != "<sip:+4940999@b.example>" {
			t.Errorf("P-Asserted-Identity: %s", id)
		}
		w.receive(deviceA, response(sent, 200, "a"))
		ok := w.next(caller, "SIP/2.0 200")
		if n := table.Lines()[0].Calls(); n != 1 {
			t.Errorf("%d calls on the trunk", n)
		}
		w.receive(farB, strings.Replace(inDialog("BYE", 2, ok), "192.0.2.10:5060", farB.String(), 1))
		w.receive(deviceA, response(w.next(deviceA, "BYE"), 200, "a"))
		w.next(farB, "SIP/2.0 200")
		if n := table.Lines()[0].Calls(); n != 0 {
			t.Errorf("%d calls on the trunk after the last", n)
		}
	})
}
