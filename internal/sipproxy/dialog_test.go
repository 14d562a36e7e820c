package sipproxy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"onhook/internal/location"
	"onhook/internal/sip"
)

// answeredTwice is a call that two devices have answered.
func (w *world) answeredTwice() (a, b *sip.Message) {
	w.t.Helper()
	w.receive(caller, invite, deviceA, deviceB)
	w.next(caller, "SIP/2.0 100")
	toA, toB := w.next(deviceA, "INVITE"), w.next(deviceB, "INVITE")
	w.receive(deviceA, response(toA, 200, "a"))
	a = w.next(caller, "SIP/2.0 200")
	w.receive(deviceB, response(toB, 200, "b"))
	return a, w.next(caller, "SIP/2.0 200")
}

// RFC 3261 13.2.2.4: a caller who gets two answers ends one call and keeps the other.
func TestEndingOneOfTwoAnswers(t *testing.T) {
	inWorld(t, func(w *world) {
		a, b := w.answeredTwice()
		w.receive(caller, inDialog("ACK", 1, b))
		w.next(deviceB, "ACK")
		w.receive(caller, inDialog("BYE", 2, b))
		w.receive(deviceB, response(w.next(deviceB, "BYE"), 200, "b"))
		w.next(caller, "SIP/2.0 200")

		w.receive(caller, inDialog("ACK", 1, a))
		w.next(deviceA, "ACK")
		w.receive(caller, inDialog("INFO", 3, a))
		w.next(deviceA, "INFO")
		w.receive(caller, inDialog("INFO", 4, b))
		w.next(caller, "SIP/2.0 403")
		w.receive(caller, inDialog("BYE", 5, a))
		w.receive(deviceA, response(w.next(deviceA, "BYE"), 200, "a"))
		w.next(caller, "SIP/2.0 200")
		if n := w.proxy.Stats().Calls; n != 0 {
			t.Errorf("%d calls are still open", n)
		}
	})
}

// RFC 3261 16.11: an ACK that comes again, because the 200 did, goes on with the
// branch it had: some phones take another one for a mistake, and hang up.
func TestRepeatedACK(t *testing.T) {
	inWorld(t, func(w *world) {
		a, b := w.answeredTwice()
		ack := func(ok *sip.Message) string {
			w.receive(caller, inDialog("ACK", 1, ok))
			to := deviceA
			if ok == b {
				to = deviceB
			}
			return w.next(to, "ACK").Via.Branch()
		}
		first, other := ack(a), ack(b)
		if again := ack(a); again != first || other == first || !strings.HasPrefix(first, sip.MagicCookie) {
			t.Errorf("branches %s and %s, of the other dialog %s", first, again, other)
		}
	})
}

// RFC 3261 22.1: a BYE may be challenged, and comes again then.
func TestChallengedBye(t *testing.T) {
	inWorld(t, func(w *world) {
		w.receive(caller, invite, deviceA)
		w.next(caller, "SIP/2.0 100")
		w.receive(deviceA, response(w.next(deviceA, "INVITE"), 200, "a"))
		ok := w.next(caller, "SIP/2.0 200")
		w.receive(caller, inDialog("BYE", 2, ok))
		w.receive(deviceA, response(w.next(deviceA, "BYE"), 401, "a"))
		w.next(caller, "SIP/2.0 401")
		w.receive(caller, inDialog("BYE", 3, ok))
		w.receive(deviceA, response(w.next(deviceA, "BYE"), 481, "a"))
		w.next(caller, "SIP/2.0 481")
		if n := w.proxy.Stats().Calls; n != 0 {
			t.Errorf("%d calls are still open", n)
		}
	})
}

// A server that restarts within a second knows the calls of that second.
func TestRestartWithinTheSecond(t *testing.T) {
	inWorld(t, func(w *world) {
		w.receive(caller, invite, deviceA)
		w.next(caller, "SIP/2.0 100")
		w.receive(deviceA, response(w.next(deviceA, "INVITE"), 200, "a"))
		ok := w.next(caller, "SIP/2.0 200")
		restarted, err := New(w.proxy.Config)
		if err != nil {
			t.Fatal(err)
		}
		w.proxy = restarted
		w.receive(caller, inDialog("BYE", 2, ok))
		w.receive(deviceA, response(w.next(deviceA, "BYE"), 200, "a"))
		w.next(caller, "SIP/2.0 200")
		w.receive(caller, inDialog("BYE", 3, ok))
		w.next(caller, "SIP/2.0 403")
		if n := w.proxy.Stats().Calls; n != 0 {
			t.Errorf("%d calls are still open", n)
		}
	})
}

// RFC 3261 22.3: credentials for this server do not reach the other side; those
// for others do.
func TestOwnCredentialsStayHere(t *testing.T) {
	inWorld(t, func(w *world) {
		const ours = `Proxy-Authorization: Digest username="alice", realm="192.0.2.1", nonce="n", uri="sip:x", response="r"` + "\n"
		theirs := strings.Replace(ours, `"192.0.2.1"`, `"elsewhere.example"`, 1)
		check := func(m *sip.Message) {
			t.Helper()
			n := 0
			for c := m.Values(sip.ProxyAuthorization); c.Next(); n++ {
				if strings.Contains(c.Value, "192.0.2.1") {
					t.Errorf("%s carries our credentials", m.Method)
				}
			}
			if !m.Has(sip.ProxyAuthorization) {
				t.Errorf("%s lost credentials for others", m.Method)
			}
		}
		add := func(text string) string {
			return strings.Replace(text, "Content-Length", ours+theirs+"Content-Length", 1)
		}
		w.receive(caller, add(invite), deviceA)
		w.next(caller, "SIP/2.0 100")
		m := w.next(deviceA, "INVITE")
		check(m)
		w.receive(deviceA, response(m, 200, "a"))
		ok := w.next(caller, "SIP/2.0 200")
		for _, method := range []string{"ACK", "INFO", "BYE"} {
			w.receive(caller, add(inDialog(method, 2, ok)))
			check(w.next(deviceA, method))
		}
	})
}

// RFC 3323 4.2: the values of Privacy are parted by semicolons.
func TestPrivacy(t *testing.T) {
	for value, asserted := range map[string]bool{"id": false, "header;id": false, "ID ; critical": false, "none": true, "identity": true} {
		inWorld(t, func(w *world) {
			w.begin(strings.Replace(invite, "Contact:", "Privacy: "+value+"\nContact:", 1), udp(caller), Caller{Endpoint: 3, Identity: "sip:alice@example.com"}, binding(deviceA))
			if got := w.next(deviceA, "INVITE").Has(sip.PAssertedIdentity); got != asserted {
				t.Errorf("Privacy: %s: asserted %v", value, got)
			}
		})
	}
}

// RFC 3261 18.3: a datagram needs no Content-Length, a stream does.
func TestContentLength(t *testing.T) {
	inWorld(t, func(w *world) {
		w.receive(caller, strings.Replace(invite, "Content-Length: 0\n", "", 1), deviceA)
		w.next(caller, "SIP/2.0 100")
		m := w.next(deviceA, "INVITE")
		if !m.Has(sip.ContentLength) {
			t.Error("the request went on without Content-Length")
		}
		w.receive(deviceA, strings.Replace(response(m, 180, "a"), "Content-Length: 0\n", "", 1))
		if !w.next(caller, "SIP/2.0 180").Has(sip.ContentLength) {
			t.Error("the response went on without Content-Length")
		}
	})
}

// RFC 3261 16.4: Routes of ours without a cookie, from an outbound proxy setting
// of the phone, are removed; one of another pass through this server stays.
func TestRoutesOnTop(t *testing.T) {
	inWorld(t, func(w *world) {
		w.receive(caller, strings.Replace(invite, "Contact:", "Route: <sip:alice@192.0.2.1;lr>\nContact:", 1), deviceA)
		w.next(caller, "SIP/2.0 100")
		m := w.next(deviceA, "INVITE")
		if m.Has(sip.Route) {
			t.Error("our Route went on to the device")
		}
		w.receive(deviceA, response(m, 200, "a"))
		ok := w.next(caller, "SIP/2.0 200")
		w.receive(caller, strings.Replace(inDialog("INFO", 2, ok), "Route: ", "Route: <sip:192.0.2.1;lr>, ", 1))
		if w.next(deviceA, "INFO").Has(sip.Route) {
			t.Error("our Route went on to the device")
		}
		w.receive(caller, strings.Replace(inDialog("INFO", 3, ok), "\nFrom:", "\nRoute: <sip:192.0.2.1;lr;c=another>\nFrom:", 1))
		if route, _ := w.next(deviceA, "INFO").Value(sip.Route); !strings.Contains(route, "c=another") {
			t.Errorf("Route %q", route)
		}
	})
}

// RFC 3327 5.3: a device behind a proxy is reached through that proxy, also
// where both are on one host.
func TestPathOnOneHost(t *testing.T) {
	inWorld(t, func(w *world) {
		b := binding(deviceA)
		b.Contact, b.Path = "sip:bob@192.0.2.20:6000", "<sip:edge@192.0.2.20:5060;lr>, <sip:192.0.2.99;lr>"
		if flow, err := w.proxy.deviceFlow(&b); err != nil || flow != udp(deviceA) {
			t.Errorf("goes to %v, %v", flow, err)
		}
		b.Path = "nonsense"
		if flow, err := w.proxy.deviceFlow(&b); err != nil || flow != udp(deviceA) {
			t.Errorf("goes to %v, %v", flow, err)
		}
	})
}

// Within a call, a device is found again on the flow of its latest registration.
func TestDeviceMoved(t *testing.T) {
	inWorld(t, func(w *world) {
		was := binding(deviceA)
		was.CallID = "registration-1"
		moved := was
		moved.Flow = udp(netip.AddrPortFrom(deviceA.Addr(), 40000))
		moved.Contact = "sip:bob@10.0.0.5"
		other := binding(deviceB)
		w.bindings[7] = []location.Binding{other, moved}
		s := side{Endpoint: 7, Flow: was.Flow, Device: deviceOf(&was)}
		if flow, err := w.proxy.flowOf(s); err != nil || flow != moved.Flow {
			t.Errorf("goes to %v, %v", flow, err)
		}
		w.bindings[7] = []location.Binding{other} // it has unregistered: the call goes on
		if flow, err := w.proxy.flowOf(s); err != nil || flow != was.Flow {
			t.Errorf("goes to %v, %v", flow, err)
		}
	})
}

// A caller over TCP whose connection is gone is called back where it listens.
func TestCallerIsDialled(t *testing.T) {
	inWorld(t, func(w *world) {
		from := sip.Flow{Transport: sip.TCP, Conn: 5, Remote: netip.AddrPortFrom(caller.Addr(), 40001)}
		s := w.proxy.callerSide(parse(t, crlf(invite)), from, Caller{})
		if flow, err := w.proxy.flowOf(s); err != nil || flow != from {
			t.Errorf("goes to %v, %v", flow, err)
		}
		w.dead[from.Remote] = true
		if flow, err := w.proxy.flowOf(s); err != nil || flow.Remote != caller {
			t.Errorf("goes to %v, %v", flow, err)
		}
	})
}

// Calls that nobody ends are forgotten.
func TestIdleCallsAreForgotten(t *testing.T) {
	inWorld(t, func(w *world) {
		w.proxy.calls.max = 3
		for i := range 4 {
			w.receive(caller, strings.NewReplacer("INVITE", "SUBSCRIBE", "z9hG4bKinvite", fmt.Sprint("z9hG4bK", i)).Replace(invite), deviceA)
			if i < 3 {
				w.receive(deviceA, response(w.next(deviceA, "SUBSCRIBE"), 200, fmt.Sprint(i)))
				w.next(caller, "SIP/2.0 200")
			}
		}
		w.next(caller, "SIP/2.0 503")
		sweep := func() {
			for i := range callShards {
				w.proxy.sweep(i, time.Now())
			}
		}
		if sweep(); w.proxy.Stats().Calls != 3 {
			t.Errorf("%d calls are open", w.proxy.Stats().Calls)
		}
		time.Sleep(subscriptionIdle + time.Second)
		if sweep(); w.proxy.Stats().Calls != 0 {
			t.Errorf("%d calls are open", w.proxy.Stats().Calls)
		}
	})
}
