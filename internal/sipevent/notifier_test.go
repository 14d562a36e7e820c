package sipevent

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"onhook/internal/location"
	"onhook/internal/location/journaltest"
	"onhook/internal/sip"
	"onhook/internal/siptransaction"
)

const domain = "example.com"

var alice = AOR{Key: 7, Username: "alice", Domain: domain, URI: "sip:alice@example.com"}

// world is one notifier with a subscriber who answers every NOTIFY.
type world struct {
	t        *testing.T
	index    *location.Index
	layer    *siptransaction.Layer
	notifier *Notifier
	cseq     int

	mu       sync.Mutex
	notifies []*sip.Message
	answer   int // to NOTIFYs; 0: none
	broken   bool
}

func newWorld(t *testing.T, edit func(*Config)) *world {
	w := &world{t: t, answer: 200}
	w.index = location.New(location.Config{Journal: journaltest.NewMemory()})
	w.layer = siptransaction.New(siptransaction.Config{Sender: w})
	c := Config{
		Transactions: w.layer, Index: w.index,
		OwnURI: func(dst []byte, f sip.Flow) []byte {
			return append(dst, "sip:192.0.2.1:5060;transport="+f.Transport.Param()...)
		},
		SentBy: func(sip.Flow) string { return "192.0.2.1:5060" },
	}
	if edit != nil {
		edit(&c)
	}
	w.notifier = New(c)
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { _ = w.index.Run(ctx) })
	group.Go(func() { _ = w.layer.Run(ctx) })
	group.Go(func() { _ = w.notifier.Run(ctx) })
	t.Cleanup(func() { cancel(); group.Wait() })
	return w
}

// Send takes what the notifier sends, and answers it (siptransaction.Sender).
func (w *world) Send(flow sip.Flow, msg []byte) error {
	m := new(sip.Message)
	if err := m.Parse([]byte(string(msg))); err != nil {
		w.t.Errorf("%v in\n%s", err, msg)
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken {
		return errors.New("gone")
	}
	w.notifies = append(w.notifies, m)
	if w.answer != 0 {
		answer := sip.AppendBody(sip.AppendReply(nil, m, flow.Remote, w.answer, "", "s"), nil)
		go func() {
			r := new(sip.Message)
			if err := r.Parse(answer); err != nil {
				w.t.Error(err)
			}
			w.layer.Receive(r, flow)
		}()
	}
	return nil
}

// sent returns the NOTIFYs since it was last asked, repetitions left out.
func (w *world) sent() (list []*sip.Message) {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	var last uint32
	for _, m := range w.notifies {
		if m.CSeq != last {
			list = append(list, m)
		}
		last = m.CSeq
	}
	w.notifies = nil
	return list
}

type replier struct{ got string }

func (r *replier) Respond(_ int, msg []byte) { r.got = string(msg) }

var udp = sip.Flow{Transport: sip.UDP, Remote: netip.MustParseAddrPort("198.51.100.1:5060")}

// subscribe sends a SUBSCRIBE with further fields and returns the answer.
func (w *world) subscribe(flow sip.Flow, callID, toTag string, fields ...string) *sip.Message {
	w.t.Helper()
	w.cseq++
	to := "<sip:alice@example.com>"
	if toTag != "" {
		to += ";tag=" + toTag
	}
	text := "SUBSCRIBE sip:alice@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bK" + fmt.Sprint(w.cseq) + "\r\n" +
		"From: <sip:alice@example.com>;tag=phone\r\nTo: " + to + "\r\nCall-ID: " + callID + "\r\nCSeq: " + fmt.Sprint(w.cseq) + " SUBSCRIBE\r\n" +
		"Contact: <sip:alice@198.51.100.1:5060>\r\nEvent: reg\r\nMax-Forwards: 70\r\n"
	for _, f := range fields {
		text += f + "\r\n"
	}
	m := new(sip.Message)
	if err := m.Parse([]byte(text + "Content-Length: 0\r\n\r\n")); err != nil {
		w.t.Fatal(err)
	}
	r := &replier{}
	w.notifier.Subscribe(r, m, flow, alice)
	answer := new(sip.Message)
	if err := answer.Parse([]byte(r.got)); err != nil {
		w.t.Fatalf("%v in\n%s", err, r.got)
	}
	return answer
}

// begin subscribes and returns the tag of the subscription.
func (w *world) begin(fields ...string) string {
	w.t.Helper()
	answer := w.subscribe(udp, "c1", "", fields...)
	if answer.Status != 200 {
		w.t.Fatalf("%d", answer.Status)
	}
	return answer.To.Tag()
}

// editor puts and removes bindings by their contact.
type editor struct {
	add, remove string
	params      string
	expires     time.Duration
}

func (e editor) Edit(s *location.Set) error {
	b := location.Binding{Contact: e.add, Params: e.params, Q: 500, CallID: "r", CSeq: 3, Flow: udp, Expires: s.Now.Add(e.expires), InstanceID: ""}
	for i := len(s.Bindings) - 1; i >= 0; i-- {
		if s.Bindings[i].Contact == e.remove {
			s.Remove(i, location.Unregistered)
		}
	}
	if e.add != "" {
		s.Add(b)
	}
	return nil
}

func (editor) Committed(error) {}

func (w *world) bind(e editor) {
	w.t.Helper()
	if e.expires == 0 {
		e.expires = time.Hour
	}
	if err := w.index.Update(alice.Key, e); err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
}

// brief is what a NOTIFY says, in one line.
func brief(t *testing.T, m *sip.Message) string {
	t.Helper()
	var doc struct {
		Version      int    `xml:"version,attr"`
		State        string `xml:"state,attr"`
		Registration struct {
			AOR      string `xml:"aor,attr"`
			State    string `xml:"state,attr"`
			Contacts []struct {
				State string `xml:"state,attr"`
				Event string `xml:"event,attr"`
				URI   string `xml:"uri"`
			} `xml:"contact"`
		} `xml:"registration"`
	}
	if err := xml.Unmarshal(m.Body, &doc); err != nil {
		t.Fatalf("%v in\n%s", err, m.Body)
	}
	if kind, _ := m.Value(sip.ContentType); kind != ContentType || doc.Registration.AOR != alice.URI || m.Method != sip.NOTIFY {
		t.Errorf("%s", m.Bytes())
	}
	state, _ := m.Value(sip.SubscriptionState)
	text := fmt.Sprintf("%s v%d %s %s", state, doc.Version, doc.State, doc.Registration.State)
	for _, c := range doc.Registration.Contacts {
		text += fmt.Sprintf(" %s=%s/%s", c.URI, c.State, c.Event)
	}
	return text
}

func (w *world) expect(want ...string) {
	w.t.Helper()
	sent := w.sent()
	var got []string
	for _, m := range sent {
		got = append(got, brief(w.t, m))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		w.t.Fatalf("told\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func play(t *testing.T, edit func(*Config), f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newWorld(t, edit)) })
}

// RFC 6665 4.2.1.2, RFC 3680 4.7: the whole state at once, then what changes.
func TestStateAndChanges(t *testing.T) {
	play(t, nil, func(t *testing.T, w *world) {
		w.bind(editor{add: "sip:a@h"})
		tag := w.begin("Record-Route: <sip:p1;lr>", "Record-Route: <sip:p2;lr>")
		sent := w.sent()
		if len(sent) != 1 {
			t.Fatalf("%d NOTIFYs", len(sent))
		}
		if got := brief(t, sent[0]); got != "active;expires=3761 v0 full active sip:a@h=active/registered" {
			t.Error(got)
		}
		m := sent[0]
		var routes []string
		for c := m.Values(sip.Route); c.Next(); {
			routes = append(routes, c.Value)
		}
		event, _ := m.Value(sip.Event)
		contact, _ := m.Value(sip.Contact)
		if m.RequestURI != "sip:alice@198.51.100.1:5060" || m.From.Tag() != tag || m.To.Tag() != "phone" || m.CallID != "c1" ||
			event != "reg" || contact != "<sip:192.0.2.1:5060;transport=udp>" || strings.Join(routes, " ") != "<sip:p1;lr> <sip:p2;lr>" {
			t.Errorf("%s", m.Bytes())
		}

		time.Sleep(time.Minute)
		w.bind(editor{add: "sip:b@h"})
		w.expect("active;expires=3701 v1 partial active sip:b@h=active/registered")
		time.Sleep(time.Minute)
		w.bind(editor{remove: "sip:a@h"})
		w.expect("active;expires=3641 v2 partial active sip:a@h=terminated/unregistered")
		time.Sleep(time.Minute)
		w.bind(editor{remove: "sip:b@h"})
		w.expect("active;expires=3581 v3 partial terminated sip:b@h=terminated/unregistered")
	})
}

// Every end of a binding has its event (RFC 3680 4.7.1).
func TestContactEvents(t *testing.T) {
	for why, want := range map[location.Reason]string{
		location.Unregistered: "unregistered", location.Replaced: "unregistered",
		location.FlowLost: "deactivated", location.Deactivated: "deactivated", location.CredentialsChanged: "rejected",
	} {
		play(t, nil, func(t *testing.T, w *world) {
			w.bind(editor{add: "sip:a@h"})
			w.begin()
			w.sent()
			time.Sleep(time.Minute)
			if _, err := w.index.EndAll(t.Context(), alice.Key, why); err != nil {
				t.Fatal(err)
			}
			w.expect("active;expires=3701 v1 partial terminated sip:a@h=terminated/" + want)
		})
	}
	play(t, nil, func(t *testing.T, w *world) {
		w.bind(editor{add: "sip:a@h", expires: 2 * time.Minute})
		w.begin()
		w.sent()
		time.Sleep(2*time.Minute + time.Second)
		w.expect("active;expires=3641 v1 partial terminated sip:a@h=terminated/expired")
	})
}

// RFC 3680 4.10: changes are gathered, at most one NOTIFY every 5 s; very many
// are told as the whole state.
func TestChangesAreGathered(t *testing.T) {
	play(t, nil, func(t *testing.T, w *world) {
		w.begin()
		w.expect("active;expires=3761 v0 full init")
		w.bind(editor{add: "sip:a@h"})
		w.bind(editor{add: "sip:b@h"})
		w.bind(editor{remove: "sip:a@h"})
		time.Sleep(4 * time.Second)
		w.expect()
		time.Sleep(1100 * time.Millisecond)
		w.expect("active;expires=3756 v1 partial active sip:a@h=terminated/unregistered sip:b@h=active/registered")
		for i := range maxChanges + 10 {
			w.bind(editor{add: fmt.Sprintf("sip:c%d@h", i), remove: fmt.Sprintf("sip:c%d@h", i-1)})
		}
		time.Sleep(6 * time.Second)
		w.expect(fmt.Sprintf("active;expires=3751 v2 full active sip:c%d@h=active/registered sip:b@h=active/registered", maxChanges+9))
	})
}

// RFC 6665 4.2.1.4, 4.4.3: refresh, end and fetch.
func TestRefreshEndFetch(t *testing.T) {
	play(t, nil, func(t *testing.T, w *world) {
		tag := w.begin("Expires: 600")
		w.expect("active;expires=600 v0 full init")
		time.Sleep(500 * time.Second)
		if a := w.subscribe(udp, "c1", tag, "Expires: 600"); a.Status != 200 || a.To.Tag() != tag {
			t.Errorf("%s", a.Bytes())
		}
		w.expect("active;expires=600 v1 full init")
		time.Sleep(500 * time.Second)
		w.expect()
		w.cseq -= 2
		if a := w.subscribe(udp, "c1", tag, "Expires: 600"); a.Status != 500 {
			t.Errorf("an older CSeq gets %d", a.Status)
		}
		w.cseq += 2
		a := w.subscribe(udp, "c1", tag, "Expires: 0")
		if e, _ := a.Number(sip.Expires); a.Status != 200 || e != 0 || !a.Has(sip.Expires) {
			t.Errorf("%s", a.Bytes())
		}
		w.expect("terminated;reason=timeout v2 full init")
		if a := w.subscribe(udp, "c1", tag, "Expires: 600"); a.Status != 481 {
			t.Errorf("after the end %d", a.Status)
		}
		if a := w.subscribe(udp, "c2", "", "Expires: 0"); a.Status != 200 {
			t.Errorf("a fetch gets %d", a.Status)
		}
		w.expect("terminated;reason=timeout v0 full init")
		if s := w.notifier.Stats(); s.Subscriptions != 0 || w.notifier.feed != nil {
			t.Errorf("%+v", s)
		}
	})
}

// RFC 6665 4.1.3: a subscription that is not refreshed ends with a NOTIFY.
func TestTimeIsOver(t *testing.T) {
	play(t, nil, func(t *testing.T, w *world) {
		w.begin("Expires: 60")
		w.sent()
		time.Sleep(61 * time.Second)
		w.expect("terminated;reason=timeout v1 full init")
		w.bind(editor{add: "sip:a@h"})
		time.Sleep(time.Minute)
		w.expect()
	})
}

// RFC 6665 4.2.2: one who refuses a NOTIFY, or does not answer, or whose
// connection is gone, is subscribed no more.
func TestLostSubscribers(t *testing.T) {
	for name, lose := range map[string]func(*world){
		"481":    func(w *world) { w.answer = 481 },
		"silent": func(w *world) { w.answer = 0 },
		"broken": func(w *world) { w.broken = true },
	} {
		t.Run(name, func(t *testing.T) {
			play(t, nil, func(t *testing.T, w *world) {
				w.begin()
				w.sent()
				time.Sleep(time.Minute)
				w.mu.Lock()
				lose(w)
				w.mu.Unlock()
				w.bind(editor{add: "sip:a@h"})
				time.Sleep(40 * time.Second)
				if s := w.notifier.Stats(); s.Subscriptions != 0 || s.Failed != 1 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
	play(t, nil, func(t *testing.T, w *world) {
		tcp := sip.Flow{Transport: sip.TCP, Conn: 3, Remote: udp.Remote}
		w.subscribe(tcp, "c1", "")
		w.subscribe(udp, "c2", "")
		w.sent()
		w.notifier.FlowClosed(tcp)
		if s := w.notifier.Stats(); s.Subscriptions != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// What a subscriber may make us keep is bounded.
func TestLimits(t *testing.T) {
	play(t, func(c *Config) { c.MaxPerAOR = 3 }, func(t *testing.T, w *world) {
		for i := range 3 {
			if a := w.subscribe(udp, fmt.Sprint("c", i), ""); a.Status != 200 {
				t.Fatalf("%d", a.Status)
			}
		}
		if a := w.subscribe(udp, "c9", ""); a.Status != 503 || !a.Has(sip.RetryAfter) {
			t.Errorf("one too many gets\n%s", a.Bytes())
		}
		if s := w.notifier.Stats(); s.Subscriptions != 3 || s.Refused != 1 {
			t.Errorf("%+v", s)
		}
	})
	play(t, nil, func(t *testing.T, w *world) {
		for want, fields := range map[int][]string{
			423: {"Expires: 5"},
			406: {"Accept: application/pidf+xml"},
			400: {"Record-Route: <sip:p;lr;x=" + strings.Repeat("x", maxValue) + ">"},
		} {
			a := w.subscribe(udp, "c1", "", fields...)
			if a.Status != want || want == 423 && !a.Has(sip.MinExpires) || want == 406 && !a.Has(sip.Accept) {
				t.Errorf("want %d, got\n%s", want, a.Bytes())
			}
		}
		if a := w.subscribe(udp, "c1", "", "Accept: text/plain, application/reginfo+xml", "Expires: 99999"); a.Status != 200 {
			t.Errorf("%d", a.Status)
		} else if e, _ := a.Number(sip.Expires); e != 7200 {
			t.Errorf("granted %d s", e)
		}
	})
}

// A server that stops says so, and takes no further subscription; a changed
// password ends those to that endpoint.
func TestEnds(t *testing.T) {
	play(t, nil, func(t *testing.T, w *world) {
		w.begin()
		w.sent()
		w.notifier.End(alice.Key, "deactivated")
		w.expect("terminated;reason=deactivated v1 full init")
		w.subscribe(udp, "c2", "")
		w.sent()
		w.notifier.Stop()
		w.expect("terminated;reason=probation;retry-after=10 v1 full init")
		if a := w.subscribe(udp, "c3", ""); a.Status != 503 {
			t.Errorf("after the stop %d", a.Status)
		}
		if s := w.notifier.Stats(); s.Subscriptions != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// What devices say of themselves is data in the document, and never markup.
func TestDocument(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	b := location.Binding{
		ID: "b1", Contact: "sip:a@h;x=1&y", Params: `;+sip.instance="<urn:uuid:1>";audio;methods="INVITE,ACK"`, InstanceID: "urn:uuid:1", Q: 500,
		CallID: `<"&>`, CSeq: 9, RegisteredAt: now.Add(-90 * time.Second), Expires: now.Add(30 * time.Second),
	}
	got, err := document(alice, 4, true, []location.Binding{b}, nil, now)
	want := xml.Header + `<reginfo xmlns="urn:ietf:params:xml:ns:reginfo" xmlns:gr="urn:ietf:params:xml:ns:gruuinfo" version="4" state="full">` +
		`<registration aor="sip:alice@example.com" id="r7" state="active">` +
		`<contact id="b1" state="active" event="registered" duration-registered="90" expires="30" q="0.5" callid="&lt;&#34;&amp;&gt;" cseq="9">` +
		`<uri>sip:a@h;x=1&amp;y</uri>` +
		`<unknown-param name="+sip.instance">&lt;urn:uuid:1&gt;</unknown-param><unknown-param name="audio"></unknown-param>` +
		`<unknown-param name="methods">INVITE,ACK</unknown-param>` +
		`<gr:pub-gruu uri="sip:alice@example.com;gr=urn:uuid:1"></gr:pub-gruu></contact></registration></reginfo>`
	if err != nil || string(got) != want {
		t.Errorf("%v\n%s\nwant\n%s", err, got, want)
	}
}
