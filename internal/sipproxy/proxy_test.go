package sipproxy

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"onhook/internal/callrecord"
	"onhook/internal/location"
	"onhook/internal/routing"
	"onhook/internal/sip"
	"onhook/internal/siptransaction"
)

// world is a proxy between devices that are nothing but addresses: what is sent
// to one waits in its inbox.
type world struct {
	t        *testing.T
	proxy    *Proxy
	layer    *siptransaction.Layer
	mu       sync.Mutex
	inbox    map[netip.AddrPort][]string
	dead     map[netip.AddrPort]bool
	bindings map[location.Key][]location.Binding
	feeds    callrecord.Feeds
	records  []*callrecord.Record
	stop     func() // of the process that restart began
}

// Put keeps the records of finished calls.
func (w *world) Put(records []*callrecord.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.records = append(w.records, records...)
}

func (w *world) Send(flow sip.Flow, msg []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead[flow.Remote] {
		return errors.New("connection refused")
	}
	w.inbox[flow.Remote] = append(w.inbox[flow.Remote], string(msg))
	return nil
}

func (w *world) Dial(t sip.Transport, remote netip.AddrPort, _ string) (sip.Flow, error) {
	if t == sip.UDP {
		return udp(remote), nil
	}
	return sip.Flow{Transport: t, Conn: 99, Remote: remote}, nil
}

func (w *world) Alive(flow sip.Flow) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.dead[flow.Remote]
}

func (w *world) SentBy(sip.Flow) string { return "192.0.2.1:5060" }

func (w *world) Lookup(key location.Key, dst []location.Binding) []location.Binding {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append(dst, w.bindings[key]...)
}

func (w *world) Cancel(tx *siptransaction.Server, m *sip.Message) { w.proxy.Cancel(tx, m) }

var (
	caller  = netip.MustParseAddrPort("192.0.2.10:5060")
	deviceA = netip.MustParseAddrPort("192.0.2.20:5060")
	deviceB = netip.MustParseAddrPort("192.0.2.21:5060")
)

var bob = routing.Endpoint{ID: 7, Owner: "MA_BOB", Main: "MA_BOB", Username: "bob", Domain: "example.com"}

func udp(addr netip.AddrPort) sip.Flow { return sip.Flow{Transport: sip.UDP, Remote: addr} }

func binding(addr netip.AddrPort) location.Binding {
	return location.Binding{Contact: "sip:bob@" + addr.String(), Q: 1000, Flow: udp(addr)}
}

func inWorld(t *testing.T, f func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, inbox: map[netip.AddrPort][]string{}, dead: map[netip.AddrPort]bool{}, bindings: map[location.Key][]location.Binding{}}
		w.layer = newLayer(w)
		var err error
		w.proxy, err = New(Config{Transport: w, Transactions: w.layer, Bindings: w, Feeds: &w.feeds, Records: w, Key: []byte("key"), Logger: slog.New(slog.DiscardHandler),
			Ours: func(host string, port uint16) bool { return host == "192.0.2.1" }})
		if err != nil {
			t.Fatal(err)
		}
		go w.layer.Run(t.Context())
		f(w)
		w.layer.Close()
	})
}

func newLayer(w *world) *siptransaction.Layer {
	return siptransaction.New(siptransaction.Config{Sender: w, Handler: w})
}

func parse(t *testing.T, text string) *sip.Message {
	t.Helper()
	m := &sip.Message{}
	if err := m.Parse([]byte(text)); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return m
}

func crlf(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") }

// receive hands a message from a device to the server, as the request path does.
func (w *world) receive(from netip.AddrPort, text string, devices ...netip.AddrPort) {
	w.t.Helper()
	m := parse(w.t, crlf(text))
	flow := udp(from)
	if m.IsRequest() {
		m = w.proxy.FromStrictRouter(m)
	}
	if w.layer.Receive(m, flow) {
		return
	}
	if !m.IsRequest() {
		w.proxy.Stray(m, flow)
		return
	}
	switch {
	case m.Method == sip.ACK:
		w.proxy.ACK(m, flow)
	case m.To.Tag() != "":
		a, refusal := w.proxy.Admit(m, flow)
		if refusal != nil {
			if err := w.Send(flow, AppendRefusal(nil, m, flow, refusal.Status, "", "", refusal.Reason, refusal.Sentence)); err != nil {
				w.t.Error(err)
			}
			return
		}
		tx, _ := w.layer.Begin(m, flow)
		w.proxy.ForwardInDialog(tx, m, flow, a)
	default:
		var targets []location.Binding
		for _, addr := range devices {
			targets = append(targets, binding(addr))
		}
		w.forward(m, flow, targets...)
	}
}

func (w *world) forward(m *sip.Message, flow sip.Flow, targets ...location.Binding) {
	w.t.Helper()
	tx, ok := w.layer.Begin(m, flow)
	if !ok {
		w.t.Fatal("no transaction")
	}
	w.proxy.Forward(tx, m, flow, Caller{}, routing.Decision{Allowed: true, Callee: bob, Targets: targets})
}

// next takes the oldest message from an inbox.
func (w *world) next(at netip.AddrPort, start string) *sip.Message {
	w.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.inbox[at]) == 0 {
		w.t.Fatalf("%s got nothing, wants %q", at, start)
	}
	text := w.inbox[at][0]
	w.inbox[at] = w.inbox[at][1:]
	if !strings.HasPrefix(text, start) {
		w.t.Fatalf("%s got\n%s\nwants %q", at, text, start)
	}
	return parse(w.t, text)
}

func (w *world) nothing(at netip.AddrPort) {
	w.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.inbox[at]) > 0 {
		w.t.Fatalf("%s got\n%s", at, w.inbox[at][0])
	}
}

const invite = `INVITE sip:bob@example.com SIP/2.0
Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bKinvite
Max-Forwards: 70
From: <sip:alice@elsewhere.example>;tag=alice
To: <sip:bob@example.com>
Call-ID: call@192.0.2.10
CSeq: 1 INVITE
Contact: <sip:alice@192.0.2.10:5060>
Content-Length: 0

`

var cancel = strings.NewReplacer("INVITE sip", "CANCEL sip", "1 INVITE", "1 CANCEL").Replace(invite)

// response is a device's response to a request it got.
func response(req *sip.Message, status int, tag string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "SIP/2.0 %d %s\n", status, sip.ReasonPhrase(status))
	for _, h := range req.Headers {
		switch h.ID {
		case sip.Via, sip.From, sip.CallID, sip.CSeq, sip.RecordRoute:
			fmt.Fprintf(&b, "%s: %s\n", h.Name, h.Value)
		case sip.To:
			fmt.Fprintf(&b, "To: %s;tag=%s\n", strings.TrimSuffix(h.Value, ";tag="+tag), tag)
		}
	}
	b.WriteString("Contact: <sip:bob@192.0.2.20:5060>\nContent-Length: 0\n\n")
	return b.String()
}

// inDialog is a request of the caller's within the call that ok began.
func inDialog(method string, cseq int, ok *sip.Message) string {
	route, _ := ok.Value(sip.RecordRoute)
	to, _ := ok.Value(sip.To)
	from, _ := ok.Value(sip.From)
	return fmt.Sprintf("%s sip:bob@192.0.2.20:5060 SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK%s%d\nMax-Forwards: 70\nRoute: %s\nFrom: %s\nTo: %s\nCall-ID: %s\nCSeq: %d %s\nContent-Length: 0\n\n",
		method, method, cseq, route, from, to, ok.CallID, cseq, method)
}

// RFC 3261 16.7: the first 2xx cancels the devices that still ring, and the
// cookie carries ACK and BYE until the call is over.
func TestForkAnswered(t *testing.T) {
	inWorld(t, func(w *world) {
		w.receive(caller, invite, deviceA, deviceB)
		w.next(caller, "SIP/2.0 100")
		a, b := w.next(deviceA, "INVITE sip:bob@192.0.2.20:5060 SIP/2.0"), w.next(deviceB, "INVITE sip:bob@192.0.2.21:5060 SIP/2.0")
		w.receive(deviceA, response(a, 180, "a"))
		w.receive(deviceB, response(b, 180, "b"))
		w.next(caller, "SIP/2.0 180")
		w.next(caller, "SIP/2.0 180")
		w.receive(deviceA, response(a, 200, "a"))
		ok := w.next(caller, "SIP/2.0 200")
		c := w.next(deviceB, "CANCEL")
		if reason, _ := c.Value(sip.Reason); reason != `SIP;cause=200;text="Call completed elsewhere"` {
			t.Errorf("Reason of the CANCEL: %q", reason)
		}
		w.receive(deviceB, response(c, 200, "b"))
		w.receive(deviceB, response(b, 487, "b"))
		w.next(deviceB, "ACK")
		w.nothing(caller)

		w.receive(caller, inDialog("ACK", 1, ok))
		w.next(deviceA, "ACK sip:bob@192.0.2.20:5060")
		w.receive(caller, inDialog("BYE", 2, ok))
		bye := w.next(deviceA, "BYE")
		if bye.Has(sip.Route) {
			t.Error("our Route went on to the device")
		}
		w.receive(deviceA, response(bye, 200, "a"))
		w.next(caller, "SIP/2.0 200")

		w.receive(caller, inDialog("BYE", 3, ok)) // the same cookie, after the call
		w.next(caller, "SIP/2.0 403")
		w.nothing(deviceA)
		if n := w.proxy.Stats().Calls; n != 0 {
			t.Errorf("%d calls are still open", n)
		}
	})
}

// One dead contact never fails the fork.
func TestForkDeadDevice(t *testing.T) {
	inWorld(t, func(w *world) {
		w.dead[deviceA] = true
		w.receive(caller, invite, deviceA, deviceB)
		w.next(caller, "SIP/2.0 100")
		w.receive(deviceB, response(w.next(deviceB, "INVITE"), 486, "b"))
		w.next(deviceB, "ACK")
		w.next(caller, "SIP/2.0 486")
	})
}

// RFC 3261 16.7: a 6xx ends all and wins.
func TestForkDeclined(t *testing.T) {
	inWorld(t, func(w *world) {
		w.receive(caller, invite, deviceA, deviceB)
		w.next(caller, "SIP/2.0 100")
		a, b := w.next(deviceA, "INVITE"), w.next(deviceB, "INVITE")
		w.receive(deviceB, response(b, 180, "b"))
		w.next(caller, "SIP/2.0 180")
		w.receive(deviceA, response(a, 603, "a"))
		w.receive(deviceB, response(w.next(deviceB, "CANCEL"), 200, "b"))
		w.receive(deviceB, response(b, 487, "b"))
		w.next(caller, "SIP/2.0 603")
	})
}

func TestCancelled(t *testing.T) {
	inWorld(t, func(w *world) {
		w.receive(caller, invite, deviceA)
		w.next(caller, "SIP/2.0 100")
		a := w.next(deviceA, "INVITE")
		w.receive(deviceA, response(a, 180, "a"))
		w.next(caller, "SIP/2.0 180")
		w.receive(caller, cancel)
		w.next(caller, "SIP/2.0 200")
		w.receive(deviceA, response(w.next(deviceA, "CANCEL"), 200, "a"))
		w.receive(deviceA, response(a, 487, "a"))
		w.next(caller, "SIP/2.0 487")
		w.next(deviceA, "ACK")
	})
}

// RFC 3261 9.1: the device answered before the CANCEL reached it. The caller
// learns of the call, and its ACK and BYE have their answer in those of ours.
func TestCancelLosesRace(t *testing.T) {
	inWorld(t, func(w *world) {
		w.receive(caller, invite, deviceA)
		w.next(caller, "SIP/2.0 100")
		a := w.next(deviceA, "INVITE")
		w.receive(deviceA, response(a, 180, "a"))
		w.next(caller, "SIP/2.0 180")
		w.receive(caller, cancel)
		w.next(caller, "SIP/2.0 200")
		w.next(deviceA, "CANCEL")
		w.receive(deviceA, response(a, 200, "a"))
		ok := w.next(caller, "SIP/2.0 200")
		if ok.CSeqMethod != sip.INVITE {
			t.Fatal("not the INVITE's 200")
		}
		w.receive(caller, inDialog("ACK", 1, ok))
		w.next(deviceA, "ACK")
		w.receive(caller, inDialog("BYE", 2, ok))
		w.next(deviceA, "BYE")
	})
}

// RFC 3261 16.8: a device that rings for ever is cancelled by Timer C, and the
// caller hears 408 also where it ignores the CANCEL.
func TestNobodyAnswers(t *testing.T) {
	inWorld(t, func(w *world) {
		w.receive(caller, invite, deviceA)
		w.next(caller, "SIP/2.0 100")
		w.receive(deviceA, response(w.next(deviceA, "INVITE"), 180, "a"))
		w.next(caller, "SIP/2.0 180")
		time.Sleep(191 * time.Second) // in the bubble's time
		w.next(deviceA, "CANCEL")
		w.nothing(caller)
		time.Sleep(33 * time.Second)
		refused := w.next(caller, "SIP/2.0 408")
		if reason := field(refused, ReasonHeader); reason != "call.no_answer" {
			t.Errorf("reason %q", reason)
		}
	})
}

func field(m *sip.Message, name string) string {
	for _, h := range m.Headers {
		if strings.EqualFold(h.Name, name) {
			return h.Value
		}
	}
	return ""
}

// A device that does not answer at all: 408 after 64*T1.
func TestSilentDevice(t *testing.T) {
	inWorld(t, func(w *world) {
		w.receive(caller, invite, deviceA)
		w.next(caller, "SIP/2.0 100")
		w.next(deviceA, "INVITE")
		time.Sleep(33 * time.Second)
		w.next(caller, "SIP/2.0 408")
	})
}

// lostDevice is registered over a connection that a restart has ended.
func (w *world) lostDevice() location.Binding {
	gone := location.Binding{Contact: "sip:bob@192.0.2.20:5060", Q: 1000, FlowBound: true, State: location.Suspect,
		Flow: sip.Flow{Transport: sip.TCP, Conn: 1, Remote: deviceA}}
	w.dead[deviceA] = true
	w.bindings[7] = []location.Binding{gone}
	return gone
}

// A call waits for a device that was registered before a restart.
func TestWaitsForSuspect(t *testing.T) {
	inWorld(t, func(w *world) {
		w.forward(parse(t, crlf(invite)), udp(caller), w.lostDevice())
		w.next(caller, "SIP/2.0 100")
		time.Sleep(2 * time.Second)
		w.nothing(caller)
		w.mu.Lock()
		w.bindings[7] = []location.Binding{binding(deviceB)}
		w.mu.Unlock()
		time.Sleep(time.Second)
		w.next(deviceB, "INVITE")
	})
}

func TestSuspectDoesNotReturn(t *testing.T) {
	inWorld(t, func(w *world) {
		w.forward(parse(t, crlf(invite)), udp(caller), w.lostDevice())
		w.next(caller, "SIP/2.0 100")
		time.Sleep(6 * time.Second)
		w.next(caller, "SIP/2.0 480")
	})
}

// A Contact in somebody's private network, or the server's own address, is
// never dialled: the request goes where the REGISTER came from.
func TestPrivateContactIsNotDialled(t *testing.T) {
	inWorld(t, func(w *world) {
		for _, contact := range []string{"sip:bob@10.0.0.5:5060", "sip:bob@192.0.2.1:5060", "sip:bob@abc.invalid;transport=ws"} {
			b := binding(deviceA)
			b.Contact = contact
			if flow, err := w.proxy.deviceFlow(&b); err != nil || flow != udp(deviceA) {
				t.Errorf("%s: goes to %v, %v", contact, flow, err)
			}
		}
		b := binding(deviceA)
		b.Contact = "sip:bob@192.0.2.20:5070"
		if flow, err := w.proxy.deviceFlow(&b); err != nil || flow.Remote.Port() != 5070 {
			t.Errorf("a Contact on the very host: goes to %v, %v", flow, err)
		}
	})
}

// What a cookie admits, and what not.
func TestAdmit(t *testing.T) {
	inWorld(t, func(w *world) {
		w.receive(caller, invite, deviceA)
		w.next(caller, "SIP/2.0 100")
		w.receive(deviceA, response(w.next(deviceA, "INVITE"), 200, "a"))
		good := crlf(inDialog("BYE", 2, w.next(caller, "SIP/2.0 200")))
		stranger := netip.MustParseAddrPort("203.0.113.9:5060")
		at := strings.Index(good, ";c=") + 20
		flipped := "A"
		if good[at] == 'A' {
			flipped = "B"
		}
		for _, c := range []struct {
			name   string
			msg    string
			from   netip.AddrPort
			status int
		}{
			{"the caller", good, caller, 0},
			{"from another port of the caller", good, netip.AddrPortFrom(caller.Addr(), 9999), 0},
			{"another Call-ID", strings.Replace(good, "call@", "other@", 1), caller, 403},
			{"tags of another dialog", strings.Replace(good, "tag=alice", "tag=mallory", 1), caller, 403},
			{"from somebody else", good, stranger, 403},
			{"a forged cookie", good[:at] + flipped + good[at+1:], caller, 481},
			{"no cookie", strings.Replace(good, ";c=", ";d=", 1), caller, 481},
			{"a strict router's Request-URI", strings.Replace(strings.Replace(good, "Route: <", "X-Route: <", 1), "BYE sip:bob@192.0.2.20:5060", "BYE sip:192.0.2.1:5060;lr"+good[strings.Index(good, ";c="):strings.Index(good, ">\r\nFrom")], 1), caller, 481},
			{"no Route", strings.Replace(good, "Route:", "X-Route:", 1), caller, 481},
			{"another host first", strings.Replace(good, "Route: ", "Route: <sip:198.51.100.1;lr>, ", 1), caller, 481},
		} {
			status := 0
			if _, refusal := w.proxy.Admit(parse(t, c.msg), udp(c.from)); refusal != nil {
				status = refusal.Status
			}
			if status != c.status {
				t.Errorf("%s: %d, wants %d", c.name, status, c.status)
			}
		}
	})
}

// SIPp takes the first CSeq in a message for the header.
func TestCookieIsNotMisread(t *testing.T) {
	s, err := newSealer([]byte("key"))
	if err != nil {
		t.Fatal(err)
	}
	c := cookie{Invite: true, Caller: side{Flow: udp(caller)}, Callee: side{Flow: udp(deviceA), Host: strings.Repeat("host.", 20)}}
	var text []byte
	for range 300_000 {
		if text = s.seal(text[:0], &c); strings.Contains(string(text), "CSeq") {
			t.Fatalf("%s", text)
		}
	}
}

// RFC 3261 16.6: what a forwarded request keeps, gains and loses.
func TestRewrite(t *testing.T) {
	inWorld(t, func(w *world) {
		w.receive(caller, strings.Replace(invite, "Contact:", "P-Asserted-Identity: <sip:boss@example.com>\nX-Onhook-Call-Id: forged\nX-Unknown:  kept\nRoute: <sip:192.0.2.1;lr>\nContact:", 1), deviceA)
		m := w.next(deviceA, "INVITE")
		if n, _ := m.Number(sip.MaxForwards); n != 69 {
			t.Errorf("Max-Forwards %d", n)
		}
		for _, gone := range []sip.HeaderID{sip.PAssertedIdentity, sip.Route} {
			if m.Has(gone) {
				t.Errorf("%s went on", gone)
			}
		}
		if field(m, "X-Unknown") != "kept" || field(m, CallIDHeader) == "forged" || field(m, CallIDHeader) == "" {
			t.Errorf("X-Unknown %q, %s %q", field(m, "X-Unknown"), CallIDHeader, field(m, CallIDHeader))
		}
		vias := 0
		for c := m.Values(sip.Via); c.Next(); {
			vias++
		}
		if vias != 2 {
			t.Errorf("%d Via", vias)
		}
	})
}

func TestCookieRoundTrip(t *testing.T) {
	s, err := newSealer([]byte("key"))
	if err != nil {
		t.Fatal(err)
	}
	want := cookie{Call: callrecord.NewID(time.Now()), Epoch: 77, Invite: true, CallID: hash8("a"), Tag: hash8("b"),
		Caller: side{Endpoint: 123456789012345, Flow: sip.Flow{Transport: sip.WSS, Listener: 3, Conn: 1 << 60, Remote: netip.MustParseAddrPort("[2001:db8::1]:50000")}, Port: 5070, Device: hash8("urn:uuid:1")},
		Callee: side{Flow: udp(deviceA)}}
	text := s.seal(nil, &want)
	var got cookie
	if err := s.open(&got, string(text)); err != nil || got != want {
		t.Fatalf("%+v, %v, wants %+v", got, err, want)
	}
	other, err := newSealer([]byte("another key"))
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{"": "", "short": "AAAA", "not base64": "!!", "long": strings.Repeat("A", 1000), "cut": string(text[:len(text)-4])} {
		if s.open(&got, bad) == nil {
			t.Errorf("%s: opened", name)
		}
	}
	if other.open(&got, string(text)) == nil {
		t.Error("opened by another key")
	}
}
