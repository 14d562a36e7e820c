package sipproxy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"onhook/internal/routing"
	"onhook/internal/sip"
	"onhook/internal/sipresolve"
)

// names is a resolver with fixed answers. What it does not know is asked for:
// then the answer waits for tell.
type names struct {
	hops    map[string][]sipresolve.Hop
	avoided map[netip.AddrPort]time.Duration
	waiting func([]sipresolve.Hop, error)
}

func (n *names) Resolve(d sipresolve.Destination, done func([]sipresolve.Hop, error)) {
	if hops, ok := n.hops[d.Host]; ok {
		done(hops, nil)
		return
	}
	n.waiting = done
}

func (n *names) Known(d sipresolve.Destination) []sipresolve.Hop { return n.hops[d.Host] }

func (n *names) Avoid(h sipresolve.Hop, d time.Duration) { n.avoided[h.Addr] = d }

func (n *names) Reached(h sipresolve.Hop) { delete(n.avoided, h.Addr) }

var (
	farA = netip.MustParseAddrPort("198.51.100.1:5060")
	farB = netip.MustParseAddrPort("198.51.100.2:5060")
)

// toOther is an INVITE of alice's to another domain, with credentials for ours.
var toOther = strings.NewReplacer("sip:bob@example.com", "sip:bob@far.example", "Content-Length",
	"Proxy-Authorization: Digest username=\"alice\", realm=\"192.0.2.1\", nonce=\"n\", uri=\"sip:far.example\", response=\"0\"\nP-Asserted-Identity: <sip:boss@example.com>\nContent-Length").Replace(invite)

// atFar makes a response that of the far server itself.
func atFar(response string) string {
	return strings.Replace(response, "192.0.2.20:5060", farA.String(), 1)
}

func withNames(t *testing.T, f func(w *world, n *names)) {
	inWorld(t, func(w *world) {
		n := &names{hops: map[string][]sipresolve.Hop{"far.example": {
			{Transport: sip.UDP, Addr: farA, Domain: "far.example"}, {Transport: sip.UDP, Addr: farB, Domain: "far.example"},
		}}, avoided: map[netip.AddrPort]time.Duration{}}
		w.proxy.Resolver = n
		f(w, n)
	})
}

// outside forwards a request to another domain in alice's name.
func (w *world) outside(text string) {
	w.t.Helper()
	m := parse(w.t, crlf(text))
	tx, ok := w.layer.Begin(m, udp(caller))
	if !ok {
		w.t.Fatal("no transaction")
	}
	w.proxy.Forward(tx, m, udp(caller), Caller{Endpoint: 3, Identity: "sip:alice@example.com"}, routing.Decision{Allowed: true, Via: routing.ViaOtherDomains})
}

// A call to another domain and back: what is for us alone stays here, and the
// dialog goes both ways by its cookie.
func TestOtherDomain(t *testing.T) {
	withNames(t, func(w *world, n *names) {
		w.outside(toOther)
		w.next(caller, "SIP/2.0 100")
		sent := w.next(farA, "INVITE sip:bob@far.example SIP/2.0")
		for _, id := range []sip.HeaderID{sip.ProxyAuthorization, sip.PAssertedIdentity} {
			if sent.Has(id) {
				t.Errorf("%s went out", id)
			}
		}
		if strings.Contains(string(sent.Bytes()), CallIDHeader) {
			t.Error("our call ID went out")
		}
		w.receive(farA, atFar(response(sent, 200, "far")))
		ok := w.next(caller, "SIP/2.0 200")
		w.receive(caller, inDialog("ACK", 1, ok))
		w.next(farA, "ACK")

		// The other side hangs up: from another server of its domain. Who does not
		// know the dialog's tags is not the other side.
		route, _ := sent.Value(sip.RecordRoute)
		bye := fmt.Sprintf("BYE sip:alice@192.0.2.10:5060 SIP/2.0\nVia: SIP/2.0/UDP %%s;branch=z9hG4bKbye%%s\nMax-Forwards: 70\nRoute: %s\nFrom: <sip:bob@far.example>;tag=far\nTo: <sip:alice@elsewhere.example>;tag=alice\nCall-ID: call@192.0.2.10\nCSeq: 7 BYE\nContent-Length: 0\n\n", route)
		stranger := netip.MustParseAddrPort("203.0.113.9:5060")
		w.receive(stranger, strings.Replace(fmt.Sprintf(bye, stranger, 1), "tag=far", "tag=guessed", 1))
		w.next(stranger, "SIP/2.0 403")
		w.receive(farB, fmt.Sprintf(bye, farB, 2))
		w.receive(caller, response(w.next(caller, "BYE"), 200, "alice"))
		w.next(farB, "SIP/2.0 200")
		if n := w.proxy.Stats().Calls; n != 0 {
			t.Errorf("%d calls are still open", n)
		}
	})
}

// RFC 3263 4.3: after an error of the transport, 503 or silence the next server,
// by a branch of its own; any other answer is the callee's.
func TestFailover(t *testing.T) {
	for name, c := range map[string]struct {
		dead   bool
		status int
		extra  string
		next   bool
		avoid  time.Duration
		final  string
	}{
		"dead":             {dead: true, next: true},
		"503":              {status: 503, next: true},
		"503, Retry-After": {status: 503, extra: "Retry-After: 120\n", next: true, avoid: 2 * time.Minute},
		"503, for ever":    {status: 503, extra: "Retry-After: 999999\n", next: true, avoid: maxAvoid},
		"silent":           {next: true},
		"500":              {status: 500, final: "SIP/2.0 500"},
		"486":              {status: 486, final: "SIP/2.0 486"},
		"603":              {status: 603, final: "SIP/2.0 603"},
		"302":              {status: 302, final: "SIP/2.0 302"},
	} {
		t.Run(name, func(t *testing.T) {
			withNames(t, func(w *world, n *names) {
				w.dead[farA] = c.dead
				w.outside(toOther)
				w.next(caller, "SIP/2.0 100")
				var first *sip.Message
				if !c.dead {
					first = w.next(farA, "INVITE")
				}
				if c.status != 0 {
					w.receive(farA, strings.Replace(response(first, c.status, "far"), "Contact:", c.extra+"Contact:", 1))
					w.next(farA, "ACK")
				} else if !c.dead {
					w.nothing(farB)
					time.Sleep(w.proxy.HopTimeout + 50*time.Millisecond)
				}
				if !c.next {
					w.next(caller, c.final)
					w.nothing(farB)
					return
				}
				second := w.next(farB, "INVITE")
				if first != nil && first.Via.Branch() == second.Via.Branch() {
					t.Error("the same branch again")
				}
				if got, ok := n.avoided[farA]; !ok || got != c.avoid {
					t.Errorf("avoided: %v for %v", ok, got)
				}
				w.receive(farB, response(second, 200, "b"))
				w.next(caller, "SIP/2.0 200")
			})
		})
	}
}

// A server that was given up and answers yet is cancelled.
func TestLateHopIsCancelled(t *testing.T) {
	withNames(t, func(w *world, n *names) {
		w.outside(toOther)
		w.next(caller, "SIP/2.0 100")
		first := w.next(farA, "INVITE")
		time.Sleep(w.proxy.HopTimeout + 50*time.Millisecond)
		second := w.next(farB, "INVITE")
		for range 3 { // its retransmissions
			w.next(farA, "INVITE")
		}
		w.receive(farA, response(first, 180, "late"))
		w.receive(farA, response(w.next(farA, "CANCEL"), 200, "late"))
		w.receive(farA, response(first, 487, "late"))
		w.next(farA, "ACK")
		w.nothing(caller)
		w.receive(farB, response(second, 486, "b"))
		w.next(caller, "SIP/2.0 486")
	})
}

// All servers of a domain failed: one final answer, with its reason.
func TestNoServerLeft(t *testing.T) {
	withNames(t, func(w *world, n *names) {
		w.dead[farA], w.dead[farB] = true, true
		w.outside(toOther)
		w.next(caller, "SIP/2.0 100")
		if reason := w.next(caller, "SIP/2.0 504"); !strings.Contains(string(reason.Bytes()), "other_domains.unreachable") {
			t.Errorf("%s", reason.Bytes())
		}
	})
}

// A name that leads to this server goes nowhere; one that leads nowhere is 404;
// where DNS does not answer it is 504, and a cancelled call is not sent any more.
func TestLookups(t *testing.T) {
	withNames(t, func(w *world, n *names) {
		n.hops["far.example"] = []sipresolve.Hop{{Transport: sip.UDP, Addr: netip.MustParseAddrPort("192.0.2.1:5060")}}
		w.outside(toOther)
		w.next(caller, "SIP/2.0 100")
		w.next(caller, "SIP/2.0 504")
	})
	for _, c := range []struct {
		err  error
		want string
	}{{sipresolve.ErrNotFound, "SIP/2.0 404"}, {sipresolve.ErrDNS, "SIP/2.0 504"}, {sipresolve.ErrBusy, "SIP/2.0 503"}, {sipresolve.ErrTransport, "SIP/2.0 404"}} {
		withNames(t, func(w *world, n *names) {
			delete(n.hops, "far.example")
			w.outside(toOther)
			w.next(caller, "SIP/2.0 100")
			w.nothing(caller)
			n.waiting(nil, c.err)
			w.next(caller, c.want)
		})
	}
	withNames(t, func(w *world, n *names) {
		hops := n.hops["far.example"]
		delete(n.hops, "far.example")
		w.outside(toOther)
		w.next(caller, "SIP/2.0 100")
		w.receive(caller, strings.NewReplacer("INVITE sip", "CANCEL sip", "1 INVITE", "1 CANCEL").Replace(toOther))
		w.next(caller, "SIP/2.0 200")
		w.next(caller, "SIP/2.0 487")
		n.waiting(hops, nil)
		w.nothing(farA)
	})
}

// Within a call, the server that took it may be gone: another one of its domain
// gets the request (RFC 3263 4.3).
func TestFailoverInDialog(t *testing.T) {
	withNames(t, func(w *world, n *names) {
		w.outside(toOther)
		w.next(caller, "SIP/2.0 100")
		w.receive(farA, atFar(response(w.next(farA, "INVITE"), 200, "far")))
		ok := w.next(caller, "SIP/2.0 200")
		w.dead[farA] = true
		w.receive(caller, inDialog("BYE", 2, ok))
		w.receive(farB, response(w.next(farB, "BYE"), 200, "far"))
		w.next(caller, "SIP/2.0 200")
	})
}

// A Route left after ours names the next hop, whatever the Request-URI says; and
// sips stays encrypted.
func TestNextHopOfOtherDomain(t *testing.T) {
	withNames(t, func(w *world, n *names) {
		w.outside(strings.Replace(toOther, "From:", "Route: <sip:192.0.2.1;lr>, <sip:far.example;lr>\nFrom:", 1))
		w.next(caller, "SIP/2.0 100")
		if route, _ := w.next(farA, "INVITE sip:bob@far.example").Value(sip.Route); route != "<sip:far.example;lr>" {
			t.Errorf("Route: %s", route)
		}
	})
	withNames(t, func(w *world, n *names) {
		w.outside(strings.NewReplacer("sip:bob@far.example SIP", "sips:bob@far.example SIP", "From:", "Route: <sip:far.example;lr>\nFrom:").Replace(toOther))
		w.next(caller, "SIP/2.0 404")
	})
}

// RFC 3261 12.2.1.1: a server that does not record-route stays out of the dialog,
// which goes to the address that the answer named; one that does stays in it, and
// so does one before an address out of reach.
func TestBeyondHop(t *testing.T) {
	phone := netip.MustParseAddrPort("203.0.113.77:5062")
	for name, c := range map[string]struct {
		contact, recordRoute string
		direct               bool
	}{
		"not record-routed":      {"sip:bob@203.0.113.77:5062", "", true},
		"record-routed":          {"sip:bob@203.0.113.77:5062", "<sip:198.51.100.1;lr>", false},
		"the server itself":      {"sip:bob@198.51.100.1", "", false},
		"a private address":      {"sip:bob@10.1.2.3:5062", "", false},
		"a name":                 {"sip:bob@phone.far.example", "", false},
		"this server's own":      {"sip:bob@192.0.2.1", "", false},
		"not over a connection":  {"sip:bob@203.0.113.77;transport=ws", "", false},
		"another kind of target": {"tel:+4930", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			withNames(t, func(w *world, n *names) {
				w.outside(toOther)
				w.next(caller, "SIP/2.0 100")
				answer := strings.Replace(response(w.next(farA, "INVITE"), 200, "far"), "<sip:bob@192.0.2.20:5060>", "<"+c.contact+">", 1)
				if c.recordRoute != "" {
					answer = strings.Replace(answer, "Record-Route:", "Record-Route: "+c.recordRoute+"\nRecord-Route:", 1)
				}
				w.receive(farA, answer)
				ok := w.next(caller, "SIP/2.0 200")
				to := farA
				if c.direct {
					to = phone
				}
				ours := ""
				for r := ok.Values(sip.RecordRoute); r.Next(); {
					ours = r.Value // the last is the nearest
				}
				within := func(method string, cseq int) string {
					return strings.Replace(inDialog(method, cseq, ok), "Route: "+value(t, ok, sip.RecordRoute), "Route: "+ours, 1)
				}
				w.receive(caller, within("ACK", 1))
				w.next(to, "ACK")
				w.receive(caller, within("BYE", 2))
				w.receive(to, response(w.next(to, "BYE"), 200, "far"))
				w.next(caller, "SIP/2.0 200")
			})
		})
	}
}
