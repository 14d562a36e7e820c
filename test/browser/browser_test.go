package browser

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"onhook/test/devserver"
)

func TestMain(m *testing.M) { os.Exit(devserver.Main(m)) }

// audioPackets is two seconds of speech at least.
const audioPackets = 100

func register(t *testing.T, s *devserver.Server, p *Page, url string, e devserver.Endpoint) {
	t.Helper()
	registerToAnswer(t, s, p, url, e, nil)
}

// registerToAnswer registers a page that answers calls with these options, see
// media in phone.html.
func registerToAnswer(t *testing.T, s *devserver.Server, p *Page, url string, e devserver.Endpoint, answer map[string]any) {
	t.Helper()
	if got := p.Do(t, "register", map[string]any{"url": url, "uri": e.URI, "password": e.Password, "answer": answer}); got != "" {
		t.Fatalf("JsSIP does not register: %s\npage:\n%s", got, p.log())
	}
	shown := s.WaitRegistered(t, e.ID, true)
	if !strings.Contains(*shown.UserAgent, "JsSIP") {
		t.Errorf("sip_user_agent is %q", *shown.UserAgent)
	}
	if !strings.Contains(shown.Registration.Contact, ".invalid") || *shown.Contact != shown.Registration.Received {
		t.Errorf("a browser's contact is shown as %q, registered as %q, received from %q",
			*shown.Contact, shown.Registration.Contact, shown.Registration.Received)
	}
}

// flows waits until so many RTP packets of a kind have gone both ways between two
// pages.
func flows(t *testing.T, alice, bob *Page, kind string, packets int) {
	t.Helper()
	for name, page := range map[string]*Page{"alice": alice, "bob": bob} {
		err := devserver.Until(60*time.Second, func() error {
			n, err := page.packets(kind)
			if err == nil && (n.Sent < packets || n.Received < packets) {
				err = fmt.Errorf("%s has sent %d %s packets and received %d", name, n.Sent, kind, n.Received)
			}
			return err
		})
		if err != nil {
			t.Fatalf("%v\nalice:\n%s\nbob:\n%s", err, alice.log(), bob.log())
		}
	}
}

// Two pages register, one calls the other, media flows both ways, one hangs up.
func TestBrowsersCallEachOther(t *testing.T) {
	s := devserver.Shared(t)
	b := Start(t)
	alice, bob := b.Open(t), b.Open(t)
	a, o := s.CreateEndpoint(t, "js_alice", nil), s.CreateEndpoint(t, "js_bob", nil)
	register(t, s, alice, s.SIP.WSS, a)
	register(t, s, bob, s.SIP.WSS, o)

	if got := alice.Do(t, "call", o.URI); strings.HasPrefix(got, "failed") {
		t.Fatalf("the call: %s\nalice:\n%s\nbob:\n%s", got, alice.log(), bob.log())
	}
	if from := bob.Do(t, "until", "incoming"); from != a.URI {
		t.Errorf("the call comes from %q, want %q", from, a.URI)
	}
	flows(t, alice, bob, "audio", audioPackets)
	bob.Do(t, "hangup")
	alice.Do(t, "until", "ended")

	alice.Do(t, "unregister")
	s.WaitRegistered(t, a.ID, false)
	if s.Endpoint(t, o.ID).Registered != "true" {
		t.Error("the other page lost its registration")
	}
}

// goesOn waits until more audio has gone both ways than had before.
func goesOn(t *testing.T, alice, bob *Page) {
	t.Helper()
	before, err := alice.packets("audio")
	if err != nil {
		t.Fatal(err)
	}
	other, err := bob.packets("audio")
	if err != nil {
		t.Fatal(err)
	}
	flows(t, alice, bob, "audio", max(before.Sent, before.Received, other.Sent, other.Received)+audioPackets/2)
}

// Alice talks to bob, asks carol, and transfers: bob is referred to carol, whose
// call with alice he takes over (RFC 5589 7, RFC 3891).
func TestAttendedTransfer(t *testing.T) {
	s := devserver.Shared(t)
	b := Start(t)
	alice, bob, carol := b.Open(t), b.Open(t), b.Open(t)
	a, o, c := s.CreateEndpoint(t, "js_alice", nil), s.CreateEndpoint(t, "js_bob", nil), s.CreateEndpoint(t, "js_carol", nil)
	register(t, s, alice, s.SIP.WSS, a)
	register(t, s, bob, s.SIP.WS, o)
	register(t, s, carol, s.SIP.WSS, c)
	failed := func(what, got string) {
		t.Helper()
		t.Fatalf("%s: %s\nalice:\n%s\nbob:\n%s\ncarol:\n%s", what, got, alice.log(), bob.log(), carol.log())
	}
	if got := alice.Do(t, "call", o.URI); strings.HasPrefix(got, "failed") {
		failed("the first call", got)
	}
	if got := alice.Do(t, "hold"); got != "held" {
		failed("hold", got)
	}
	if who := bob.Do(t, "until", "hold"); who != "remote" {
		t.Errorf("bob is held by %q", who)
	}
	if got := alice.Do(t, "call", c.URI); strings.HasPrefix(got, "failed") {
		failed("the second call", got)
	}
	if got := alice.Do(t, "transfer"); got != "accepted" {
		failed("the transfer", got)
	}
	alice.Do(t, "until", "ended") // carol has ended her call with alice
	alice.Do(t, "hangupFirst")
	bob.Do(t, "until", "ended")
	flows(t, bob, carol, "audio", audioPackets)
	bob.Do(t, "forget", "ended")
	carol.Do(t, "hangup")
	bob.Do(t, "until", "ended")
	var page struct {
		Data []struct {
			To     string `json:"to"`
			Status string `json:"call_status"`
		}
	}
	err := devserver.Until(20*time.Second, func() error {
		_, err := s.API("GET", "cdr?endpoint_id="+o.ID, nil, &page)
		if err == nil && (len(page.Data) != 2 || page.Data[0].To != c.URI || page.Data[0].Status != "completed") {
			err = fmt.Errorf("bob's records: %+v", page.Data)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// A wrong password is told to the page; nothing is registered.
func TestBrowserWithWrongPassword(t *testing.T) {
	s := devserver.Shared(t)
	e := s.CreateEndpoint(t, "js_wrong", nil)
	page := Start(t).Open(t)
	got := page.Do(t, "register", map[string]string{"url": s.SIP.WS, "uri": e.URI, "password": "not-the-password"})
	if !strings.HasPrefix(got, "failed") {
		t.Errorf("register: %q", got)
	}
	if s.Endpoint(t, e.ID).Registered != "false" {
		t.Error("registered with a wrong password")
	}
}
