package sipproxy

import (
	"strings"
	"testing"

	"onhook/internal/sip"
)

// RFC 3261 16.4: a strict router puts our Route into the Request-URI and the
// target behind the others; the request goes where it should all the same.
func TestFromStrictRouter(t *testing.T) {
	inWorld(t, func(w *world) {
		_, ok := w.established()
		route, _ := ok.Value(sip.RecordRoute)
		uri := strings.Trim(route, "<>")
		strict := strings.Replace(inDialog("BYE", 2, ok), "BYE sip:bob@192.0.2.20:5060 ", "BYE "+uri+" ", 1)
		strict = strings.Replace(strict, "Route: "+route, "Route: <sip:q.example;lr>\nRoute: <sip:bob@192.0.2.20:5060>", 1)
		w.receive(caller, strict)
		m := w.next(deviceA, "BYE sip:bob@192.0.2.20:5060 ")
		if r, _ := m.Value(sip.Route); r != "<sip:q.example;lr>" {
			t.Errorf("Route: %s", r)
		}
		w.receive(deviceA, response(m, 200, "a"))
		w.next(caller, "SIP/2.0 200")

		for name, other := range map[string]string{
			"a loose router":  inDialog("INFO", 3, ok),
			"no Route":        strings.Replace(strict, "Route: <sip:q.example;lr>\nRoute: <sip:bob@192.0.2.20:5060>\n", "", 1),
			"another server":  strings.Replace(strict, "192.0.2.1", "192.0.2.2", 1),
			"a first request": strings.Replace(strict, ">;tag=a\n", ">\n", 1),
		} {
			if m := parse(t, crlf(other)); w.proxy.FromStrictRouter(m) != m {
				t.Errorf("%s: changed", name)
			}
		}
	})
}

// RFC 3261 16.6 step 6: to a strict router its own address goes as Request-URI.
func TestToStrictRouter(t *testing.T) {
	inWorld(t, func(w *world) {
		_, ok := w.established()
		w.receive(caller, strings.Replace(inDialog("INFO", 2, ok), "\nFrom:", "\nRoute: <sip:strict.example>, <sip:q.example;lr>\nFrom:", 1))
		m := w.next(deviceA, "INFO sip:strict.example ")
		var routes []string
		for c := m.Values(sip.Route); c.Next(); {
			routes = append(routes, c.Value)
		}
		if got := strings.Join(routes, " "); got != "<sip:q.example;lr> <sip:bob@192.0.2.20:5060>" {
			t.Errorf("Route: %s", got)
		}
	})
}

// A BYE of our own goes to a strict router likewise.
func TestEndThroughStrictRouter(t *testing.T) {
	inWorld(t, func(w *world) {
		w.begin(invite, udp(caller), alice, binding(deviceA))
		w.next(caller, "SIP/2.0 100")
		answer := response(w.next(deviceA, "INVITE"), 200, "a")
		w.receive(deviceA, strings.Replace(answer, "Record-Route:", "Record-Route: <sip:far.example;lr>, <sip:strict.example>\nRecord-Route:", 1))
		w.next(caller, "SIP/2.0 200")
		w.proxy.EndOf(7, EndByAPI)
		w.next(deviceA, "ACK sip:strict.example ")
		m := w.next(deviceA, "BYE sip:strict.example ")
		var routes []string
		for c := m.Values(sip.Route); c.Next(); {
			routes = append(routes, c.Value)
		}
		if got := strings.Join(routes, " "); got != "<sip:far.example;lr> <sip:bob@192.0.2.20:5060>" {
			t.Errorf("Route: %s", got)
		}
	})
}

// RFC 3261 16.6 step 4: a sips: request is record-routed as such.
func TestRecordRouteOfSIPS(t *testing.T) {
	inWorld(t, func(w *world) {
		secure := binding(deviceA)
		secure.Flow.Transport, secure.Flow.Conn = sip.TLS, 2
		from := sip.Flow{Transport: sip.WSS, Conn: 1, Remote: caller}
		w.begin(strings.Replace(invite, "INVITE sip:", "INVITE sips:", 1), from, alice, secure)
		var got []string
		for c := w.next(deviceA, "INVITE").Values(sip.RecordRoute); c.Next(); {
			uri, _, _ := strings.Cut(c.Value, ";lr")
			got = append(got, uri)
		}
		if strings.Join(got, " ") != "<sips:192.0.2.1:5060;transport=tcp <sips:192.0.2.1:5060;transport=ws" {
			t.Errorf("Record-Route: %s", got)
		}
	})
}
