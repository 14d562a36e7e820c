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
