// Package registration tests the registrar from outside: an independent phone
// registers, and the REST API is asked each time. It imports nothing of the
// program.
package registration

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"onhook/test/devserver"
	"onhook/test/sippeer"
)

func TestMain(m *testing.M) { os.Exit(devserver.Main(m)) }

var transports = []string{"udp", "tcp", "tls", "ws", "wss"}

func phone(t *testing.T, s *devserver.Server, transport string, e devserver.Endpoint) *sippeer.Phone {
	t.Helper()
	p, err := sippeer.NewPhone(s.Target(), transport, e.Username, e.Password)
	if err != nil {
		t.Fatalf("connecting: %v", err)
	}
	t.Cleanup(p.Close)
	return p
}

// register sends a REGISTER and insists on one of the wanted statuses.
func register(t *testing.T, p *sippeer.Phone, expires, want int, edits ...sippeer.Edit) *sippeer.Message {
	t.Helper()
	resp, err := p.Register(expires, edits...)
	if err != nil {
		t.Fatalf("REGISTER over %s: %v", p.Transport, err)
	}
	if resp.Status() != want {
		t.Fatalf("REGISTER over %s: want %d, got\n%s", p.Transport, want, resp)
	}
	return resp
}

func eachTransport(t *testing.T, f func(t *testing.T, transport string)) {
	t.Helper()
	t.Parallel()
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			f(t, transport)
		})
	}
}

// RFC 3261 10.2: register, refresh and unregister; the API agrees each time.
func TestRegisterRefreshUnregister(t *testing.T) {
	eachTransport(t, func(t *testing.T, transport string) {
		s := devserver.Shared(t)
		e := s.CreateEndpoint(t, "reg_"+transport, nil)
		p := phone(t, s, transport, e)
		if got := s.Endpoint(t, e.ID); got.Registered != "false" || got.Contact != nil || got.UserAgent != nil || got.Registration != nil {
			t.Fatalf("a new endpoint is shown as %+v", got)
		}

		resp := register(t, p, 300, 200)
		if contacts := resp.All("Contact"); len(contacts) != 1 || sippeer.Address(contacts[0]) != sippeer.Address(p.Contact) {
			t.Errorf("the 200 lists %q, want the one contact %s", contacts, p.Contact)
		}
		got := s.WaitRegistered(t, e.ID, true)
		checkShown(t, got, p, 300)

		p.UserAgent = "sippeer-refreshed/2"
		register(t, p, 600, 200)
		if err := devserver.Until(30*time.Second, func() error {
			got = s.Endpoint(t, e.ID)
			if got.UserAgent == nil || *got.UserAgent != p.UserAgent {
				return fmt.Errorf("the user agent is still %v", got.UserAgent)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		checkShown(t, got, p, 600)
		if bindings := s.Bindings(t, e.ID); len(bindings) != 1 {
			t.Errorf("a refresh makes %d bindings, want 1", len(bindings))
		}

		if resp := register(t, p, 0, 200); len(resp.All("Contact")) != 0 {
			t.Errorf("after unregistering the 200 lists %q", resp.All("Contact"))
		}
		if got := s.WaitRegistered(t, e.ID, false); got.Contact != nil || got.Expires != nil || got.UserAgent != nil || got.Registration != nil {
			t.Errorf("an unregistered endpoint is shown as %+v", got)
		}
	})
}

// checkShown compares what the API shows with what the phone said.
func checkShown(t *testing.T, e devserver.Endpoint, p *sippeer.Phone, expires int) {
	t.Helper()
	if e.Contact == nil || e.Expires == nil || e.UserAgent == nil || e.Registration == nil {
		t.Fatalf("a registered endpoint is shown as %+v", e)
	}
	// Also for a Contact that ends in .invalid: then the received address is shown.
	if *e.Contact != p.Local() {
		t.Errorf("sip_contact is %q, want %q", *e.Contact, p.Local())
	}
	if *e.UserAgent != p.UserAgent || e.Registration.UserAgent != p.UserAgent {
		t.Errorf("sip_user_agent is %q and %q, want %q", *e.UserAgent, e.Registration.UserAgent, p.UserAgent)
	}
	if e.Registration.Received != p.Local() || e.Registration.Path != nil {
		t.Errorf("received is %q, want %q; path %v", e.Registration.Received, p.Local(), e.Registration.Path)
	}
	if e.Registration.Contact != sippeer.Address(p.Contact) {
		t.Errorf("sip_registration.contact is %q, want %q", e.Registration.Contact, sippeer.Address(p.Contact))
	}
	at, err := time.Parse("2006-01-02T15:04:05Z", *e.Expires)
	if left := time.Until(at); err != nil || left > time.Duration(expires+2)*time.Second || left < time.Duration(expires-60)*time.Second {
		t.Errorf("sip_expires %q is %v away, want about %d s (%v)", *e.Expires, left, expires, err)
	}
}

// RFC 3261 10.3: a binding that is not refreshed goes on time. 60 s is the
// shortest that may be asked for.
func TestExpiry(t *testing.T) {
	if testing.Short() {
		t.Skip("a registration lives 60 s at least: not with -short")
	}
	eachTransport(t, func(t *testing.T, transport string) {
		s := devserver.Shared(t)
		e := s.CreateEndpoint(t, "exp_"+transport, nil)
		p := phone(t, s, transport, e)
		registered := time.Now()
		register(t, p, 60, 200)
		s.WaitRegistered(t, e.ID, true)
		s.WaitRegisteredWithin(t, e.ID, false, 90*time.Second)
		if lived := time.Since(registered); lived < 59*time.Second {
			t.Errorf("the binding lived %v, want 60 s", lived)
		}
		if err := p.Ping(s.Domain); err != nil {
			t.Errorf("the connection outlives the binding: %v", err)
		}
	})
}

func TestWrongPassword(t *testing.T) {
	eachTransport(t, func(t *testing.T, transport string) {
		s := devserver.Shared(t)
		e := s.CreateEndpoint(t, "bad_"+transport, nil)
		wrong, unknown := e, e
		wrong.Password = "wrong horse 22"
		unknown.Username = devserver.Name("nobody")
		refused := register(t, phone(t, s, transport, wrong), 300, 401)
		stranger := register(t, phone(t, s, transport, unknown), 300, 401)
		// A scanner cannot tell an unknown user from a wrong password.
		if a, b := shape(refused), shape(stranger); a != b {
			t.Errorf("the refusals differ:\n%s\n---\n%s", a, b)
		}
		if got := s.Endpoint(t, e.ID); got.Registered != "false" {
			t.Error("registered with a wrong password")
		}
		register(t, phone(t, s, transport, e), 300, 200)
		s.WaitRegistered(t, e.ID, true)
	})
}

// shape is a response without what differs between any two.
func shape(m *sippeer.Message) string {
	lines := []string{m.Start}
	for _, h := range m.Headers {
		if strings.HasSuffix(h.Name, "Authenticate") {
			c := sippeer.ParseChallenge(h.Value)
			lines = append(lines, fmt.Sprintf("%s %s stale=%s nonce of %d bytes", h.Name, c["algorithm"], c["stale"], len(c["nonce"])))
		} else {
			lines = append(lines, h.Name)
		}
	}
	return strings.Join(lines, "\n") + m.Body
}

// RFC 8760 2.4: both algorithms are offered, MD5 first, and either is good.
func TestBothDigestAlgorithms(t *testing.T) {
	t.Parallel()
	s := devserver.Shared(t)
	e := s.CreateEndpoint(t, "algo", nil)
	resp, err := phone(t, s, "udp", e).RegisterOnce()
	if err != nil {
		t.Fatal(err)
	}
	var offered []string
	for _, challenge := range resp.All401() {
		offered = append(offered, sippeer.ParseChallenge(challenge)["algorithm"])
	}
	if strings.Join(offered, " ") != "MD5 SHA-256" {
		t.Fatalf("the 401 offers %q", offered)
	}
	for _, algorithm := range offered {
		p := phone(t, s, "udp", e)
		p.Algorithm = algorithm
		register(t, p, 300, 200)
	}
	// baresip 1.0 fails on any 401 that contains SHA-256.
	old := phone(t, s, "udp", e)
	old.UserAgent = "baresip v1.0.0 (x86_64/linux)"
	if resp, err = old.RegisterOnce(); err != nil {
		t.Fatal(err)
	}
	if n := len(resp.All401()); n != 1 {
		t.Errorf("baresip 1.0 is offered %d challenges, want MD5 alone", n)
	}
}

// RFC 3261 10.3 step 7: shorter than the least we take.
func TestIntervalTooBrief(t *testing.T) {
	t.Parallel()
	s := devserver.Shared(t)
	e := s.CreateEndpoint(t, "brief", nil)
	p := phone(t, s, "tcp", e)
	if resp := register(t, p, 5, 423); resp.Get("Min-Expires") != "60" {
		t.Errorf("Min-Expires is %q, want 60", resp.Get("Min-Expires"))
	}
	if got := s.Endpoint(t, e.ID); got.Registered != "false" {
		t.Error("a refused interval makes a binding")
	}
	// The Contact's own expires counts before the header's.
	resp := register(t, p, 5, 200, func(m *sippeer.Message) { m.Set("Contact", p.Contact+";expires=90") })
	if got := sippeer.Param(resp.Get("Contact"), "expires"); got != "90" && got != "89" {
		t.Errorf("granted %q s, want 90", got)
	}
}

// RFC 3261 10.2.2, 10.3 step 6: "*" ends all bindings, and only with expires 0.
func TestContactStar(t *testing.T) {
	t.Parallel()
	s := devserver.Shared(t)
	e := s.CreateEndpoint(t, "star", nil)
	one, two := phone(t, s, "udp", e), phone(t, s, "tcp", e)
	register(t, one, 300, 200)
	if resp := register(t, two, 300, 200); len(resp.All("Contact")) != 2 {
		t.Fatalf("the 200 must list both bindings:\n%s", resp)
	}
	star := func(m *sippeer.Message) { m.Set("Contact", "*") }
	register(t, one, 300, 400, star)
	register(t, one, 0, 400, func(m *sippeer.Message) { m.Set("Contact", "*, "+one.Contact) })
	if n := len(s.Bindings(t, e.ID)); n != 2 {
		t.Fatalf("after refused stars %d bindings, want 2", n)
	}
	if resp := register(t, one, 0, 200, star); len(resp.All("Contact")) != 0 {
		t.Errorf("bindings left:\n%s", resp)
	}
	s.WaitRegistered(t, e.ID, false)
}

// RFC 3261 10.3 step 4: nobody registers somebody else's address-of-record.
func TestForeignAddressOfRecord(t *testing.T) {
	eachTransport(t, func(t *testing.T, transport string) {
		s := devserver.Shared(t)
		mallory, victim := s.CreateEndpoint(t, "mallory", nil), s.CreateEndpoint(t, "victim", nil)
		p := phone(t, s, transport, mallory)
		register(t, p, 300, 403, func(m *sippeer.Message) { m.Set("To", "<"+victim.URI+">") })
		if got := s.Endpoint(t, victim.ID); got.Registered != "false" {
			t.Error("the victim's address was taken")
		}
		if got := s.Endpoint(t, mallory.ID); got.Registered != "false" {
			t.Error("a refused REGISTER made a binding")
		}
	})
}

// RFC 7616 3.3: a nonce count used before is a replay; the honest phone gets a
// new nonce and is not told its password is wrong.
func TestReplayIsStale(t *testing.T) {
	t.Parallel()
	s := devserver.Shared(t)
	e := s.CreateEndpoint(t, "replay", nil)
	p := phone(t, s, "tcp", e)
	var seen *sippeer.Message
	register(t, p, 300, 200)
	register(t, p, 300, 200, func(m *sippeer.Message) { seen = m })
	replayed := seen.Clone()
	replayed.Set("Via", p.Via())
	replayed.Set("CSeq", "77 REGISTER")
	resp, err := p.Ask(replayed)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Status() != 401 || !strings.EqualFold(sippeer.ParseChallenge(resp.All401()[0])["stale"], "true") {
		t.Fatalf("a replayed REGISTER gets\n%s", resp)
	}
	p.Forget()
	register(t, p, 300, 200)
}
