package registration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"onhook/test/devserver"
	"onhook/test/sippeer"
)

// The Registration resource shows each device, ends one or all of them, and
// closes their connections.
func TestRegistrationResource(t *testing.T) {
	t.Parallel()
	s := devserver.Shared(t)
	e := s.CreateEndpoint(t, "resource", nil)
	udp, tcp, wss := phone(t, s, "udp", e), phone(t, s, "tcp", e), phone(t, s, "wss", e)
	for _, p := range []*sippeer.Phone{udp, tcp, wss} {
		register(t, p, 300, 200)
	}
	all := s.Bindings(t, e.ID)
	if len(all) != 3 || all[0].Transport != "wss" || all[1].Received != tcp.Local() || all[2].UserAgent != udp.UserAgent {
		t.Fatalf("%+v", all)
	}
	path := "Endpoint/" + e.ID + "/Registration/"
	if status, _ := s.API("DELETE", path+all[1].ID+"/", nil, nil); status != http.StatusNoContent {
		t.Errorf("ending one: %d", status)
	}
	if err := tcp.WaitClosed(); err != nil {
		t.Error(err)
	}
	if left := s.Bindings(t, e.ID); len(left) != 2 || left[0].ID != all[0].ID || left[1].ID != all[2].ID {
		t.Errorf("%+v", left)
	}
	var list struct{ Objects []devserver.Endpoint }
	filter := "Endpoint/?username__exact=" + e.Username + "&sip_registered="
	if _, err := s.API("GET", filter+"true", nil, &list); err != nil || len(list.Objects) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
	if status, _ := s.API("DELETE", path, nil, nil); status != http.StatusNoContent {
		t.Errorf("ending all: %d", status)
	}
	if err := wss.WaitClosed(); err != nil {
		t.Error(err)
	}
	s.WaitRegistered(t, e.ID, false)
	if _, err := s.API("GET", filter+"false", nil, &list); err != nil || len(list.Objects) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
	register(t, udp, 300, 200) // ended is not banned
}

// One binding more than max_contacts replaces the oldest.
func TestMaxContacts(t *testing.T) {
	t.Parallel()
	s := devserver.Shared(t)
	e := s.CreateEndpoint(t, "limit", map[string]any{"max_contacts": 2})
	first, second, third := phone(t, s, "udp", e), phone(t, s, "tcp", e), phone(t, s, "udp", e)
	for _, p := range []*sippeer.Phone{first, second, third} {
		register(t, p, 300, 200)
	}
	var resource struct {
		MaxContacts int `json:"max_contacts"`
		Objects     []devserver.Binding
	}
	if _, err := s.API("GET", "Endpoint/"+e.ID+"/Registration/", nil, &resource); err != nil {
		t.Fatal(err)
	}
	if resource.MaxContacts != 2 || len(resource.Objects) != 2 || resource.Objects[0].Received != third.Local() || resource.Objects[1].Received != second.Local() {
		t.Errorf("%+v", resource)
	}
}

// RFC 3840 9: what a device says it can do is kept, and told whoever asks.
func TestFeatureTags(t *testing.T) {
	t.Parallel()
	s := devserver.Shared(t)
	e := s.CreateEndpoint(t, "tags", nil)
	p := phone(t, s, "udp", e)
	const tags = `;audio;video;methods="INVITE,ACK,BYE";+sip.instance="<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>"`
	p.Contact += tags
	register(t, p, 300, 200)
	resp := register(t, phone(t, s, "tcp", e), 300, 200)
	for _, contact := range resp.All("Contact") {
		if sippeer.Address(contact) == sippeer.Address(p.Contact) && strings.Contains(contact, tags) {
			return
		}
	}
	t.Errorf("the tags are not among\n%s", resp)
}

// A phone that restarts comes back with its instance, at another address: its
// old binding is replaced and no duplicate is left.
func TestRestartedPhone(t *testing.T) {
	eachTransport(t, func(t *testing.T, transport string) {
		s := devserver.Shared(t)
		e := s.CreateEndpoint(t, "reboot_"+transport, nil)
		const instance = `;+sip.instance="<urn:uuid:00000000-0000-1000-8000-000A95A0E128>"`
		before := phone(t, s, transport, e)
		before.Contact += instance
		register(t, before, 300, 200)
		after := phone(t, s, transport, e)
		after.Contact += instance
		if resp := register(t, after, 300, 200); len(resp.All("Contact")) != 1 {
			t.Errorf("after the restart:\n%s", resp)
		}
		if got := s.Bindings(t, e.ID); len(got) != 1 || got[0].Received != after.Local() {
			t.Errorf("%+v", got)
		}
	})
}

// RFC 3327 5.3: a REGISTER that came through an edge proxy keeps its Path, which
// the API shows.
func TestPathIsShown(t *testing.T) {
	t.Parallel()
	s := devserver.Shared(t)
	e := s.CreateEndpoint(t, "path", nil)
	p := phone(t, s, "udp", e)
	const path = "<sip:token@edge.example.com;lr;ob>"
	resp := register(t, p, 300, 200, func(m *sippeer.Message) {
		m.Set("Path", path)
		m.Set("Supported", "path")
	})
	if resp.Get("Path") != path {
		t.Errorf("the 200 has Path %q", resp.Get("Path"))
	}
	if got := s.WaitRegistered(t, e.ID, true).Registration; got == nil || got.Path == nil || *got.Path != path {
		t.Errorf("%+v", got)
	}
}

// RFC 5626 6: a device with outbound is told how often its keepalive is due, and
// that the registrar took part.
func TestOutboundIsConfirmed(t *testing.T) {
	eachTransport(t, func(t *testing.T, transport string) {
		s := devserver.Shared(t)
		e := s.CreateEndpoint(t, "outbound_"+transport, nil)
		p := phone(t, s, transport, e)
		p.Contact += `;reg-id=1;+sip.instance="<urn:uuid:00000000-0000-1000-8000-000A95A0E129>"`
		resp := register(t, p, 300, 200, func(m *sippeer.Message) { m.Set("Supported", "path, outbound") })
		timer := map[bool]string{true: "30", false: "120"}[transport == "udp"]
		if resp.Get("Require") != "outbound" || resp.Get("Flow-Timer") != timer {
			t.Errorf("Require %q, Flow-Timer %q", resp.Get("Require"), resp.Get("Flow-Timer"))
		}
		if route := resp.Get("Service-Route"); !strings.HasPrefix(route, "<sip:") || !strings.HasSuffix(route, ";lr>") {
			t.Errorf("Service-Route %q", route)
		}
	})
}

// REGISTERs that a device sends one after the other on its connection, without
// waiting, are answered in that order, and the last one counts.
func TestPipelinedRegisters(t *testing.T) {
	for _, transport := range []string{"tcp", "wss"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := devserver.Shared(t)
			e := s.CreateEndpoint(t, "pipe_"+transport, nil)
			p := phone(t, s, transport, e)
			var template *sippeer.Message
			challenge, err := p.RegisterOnce(func(m *sippeer.Message) { template = m })
			if err != nil || challenge.Status() != 401 {
				t.Fatalf("%v, %v", challenge, err)
			}
			const n = 200
			for i := 1; i <= n; i++ {
				m := template.Clone()
				m.Set("Via", p.Via())
				m.Set("CSeq", fmt.Sprint(100+i, " REGISTER"))
				m.Set("Expires", fmt.Sprint(300*(i%2))) // bound, gone, bound …
				answer, err := p.Answer(challenge.All401(), "REGISTER", m.URI(), i)
				if err != nil {
					t.Fatal(err)
				}
				m.Set("Authorization", answer)
				if err := p.Send(m); err != nil {
					t.Fatal(err)
				}
			}
			for i := 1; i <= n; i++ {
				m, err := p.Take(30*time.Second, func(m *sippeer.Message) bool { return m.Status() >= 200 })
				if err != nil {
					t.Fatal(err)
				}
				if m.Status() != 200 || m.Get("CSeq") != fmt.Sprint(100+i, " REGISTER") || len(m.All("Contact")) != i%2 {
					t.Fatalf("answer %d is\n%s", i, m)
				}
			}
			s.WaitRegistered(t, e.ID, false) // 200 is even
		})
	}
}
