package registration

import (
	"strings"
	"testing"
	"time"

	"onhook/test/devserver"
	"onhook/test/sippeer"
)

// subscribe makes a SUBSCRIBE of a phone to its own registration.
func subscribe(p *sippeer.Phone, callID, cseq, toTag string) *sippeer.Message {
	m := &sippeer.Message{Start: "SUBSCRIBE " + p.AOR() + " SIP/2.0"}
	m.Add("Via", p.Via())
	m.Add("Max-Forwards", "70")
	m.Add("From", "<"+p.AOR()+">;tag=watcher")
	m.Add("To", "<"+p.AOR()+">"+toTag)
	m.Add("Call-ID", callID)
	m.Add("CSeq", cseq+" SUBSCRIBE")
	m.Add("Contact", p.Contact)
	m.Add("Event", "reg")
	m.Add("Expires", "600")
	return m
}

func notified(t *testing.T, p *sippeer.Phone) *sippeer.Message {
	t.Helper()
	m, err := p.Take(5*time.Second, func(m *sippeer.Message) bool { return m.Method() == "NOTIFY" })
	if err != nil {
		t.Fatal(err)
	}
	ok := &sippeer.Message{Start: "SIP/2.0 200 OK"}
	for _, name := range []string{"Via", "From", "To", "Call-ID", "CSeq"} {
		ok.Add(name, m.Get(name))
	}
	if err := p.Send(ok); err != nil {
		t.Fatal(err)
	}
	return m
}

// lastNotify expects the NOTIFY that ends a subscription. It is not answered: the
// connection ends with it.
func lastNotify(t *testing.T, p *sippeer.Phone, reason string) {
	t.Helper()
	m, err := p.Take(5*time.Second, func(m *sippeer.Message) bool { return m.Method() == "NOTIFY" })
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(m.Get("Subscription-State"), "terminated;reason="+reason) {
		t.Errorf("%s", m)
	}
}

// RFC 6665 4.1.3: a server that stops ends its subscriptions; one that was
// killed knows nothing of them. Either way a new one brings the whole state.
func TestSubscriptionsAcrossRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := devserver.StartIn(t, dir)
	e := s.CreateEndpoint(t, "watch", nil)
	begin := func(s *devserver.Server) (*sippeer.Phone, string) {
		t.Helper()
		p := phone(t, s, "tcp", e)
		register(t, p, 600, 200)
		resp, err := p.Ask(subscribe(p, "first", "1", ""))
		if err != nil || resp.Status() != 200 || resp.Get("Expires") != "600" {
			t.Fatalf("%v\n%s", err, resp)
		}
		if m := notified(t, p); !strings.Contains(m.Body, `state="full"`) || !strings.HasPrefix(m.Get("Subscription-State"), "active") {
			t.Fatalf("%s", m)
		}
		return p, ";tag=" + sippeer.Param(resp.Get("To"), "tag")
	}

	p, _ := begin(s)
	s.Terminate(t, 15*time.Second)
	lastNotify(t, p, "probation")

	s = devserver.StartIn(t, dir)
	_, tag := begin(s)
	s.Kill()
	s = devserver.StartIn(t, dir)
	p = phone(t, s, "tcp", e)
	register(t, p, 600, 200)
	if resp, err := p.Ask(subscribe(p, "first", "2", tag)); err != nil || resp.Status() != 481 {
		t.Errorf("a refresh after the kill: %v\n%s", err, resp)
	}
	begin(s)
}

// A new password ends the subscriptions that were made with the old one.
func TestPasswordEndsSubscription(t *testing.T) {
	t.Parallel()
	s := devserver.Shared(t)
	e := s.CreateEndpoint(t, "watchpw", nil)
	p := phone(t, s, "tcp", e)
	register(t, p, 600, 200)
	if resp, err := p.Ask(subscribe(p, "first", "1", "")); err != nil || resp.Status() != 200 {
		t.Fatalf("%v\n%s", err, resp)
	}
	notified(t, p)
	s.UpdateEndpoint(t, e.ID, map[string]any{"password": "another horse 4"})
	lastNotify(t, p, "deactivated")
}
