package events

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"onhook/test/devserver"
	"onhook/test/sippeer"
)

func TestMain(m *testing.M) { os.Exit(devserver.Main(m)) }

func register(t *testing.T, s *devserver.Server, e devserver.Endpoint, transport string, expires int) *sippeer.Phone {
	t.Helper()
	p, err := sippeer.NewPhone(s.Target(), transport, e.Username, e.Password)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	resp, err := p.Register(expires)
	if err != nil || resp.Status() != 200 {
		t.Fatalf("REGISTER: %v %v", err, resp)
	}
	return p
}

// The life of an endpoint and its registrations, in order, each with its cause.
func TestLifeOfAnEndpoint(t *testing.T) {
	s := devserver.Start(t)
	stream := Open(t, s, "")
	e := s.CreateEndpoint(t, "life", nil)
	name := e.Username
	if made := stream.Expect(t, "created "+name); made.Data.EndpointID != e.ID || made.Data.Registered != "false" || made.Account != s.AuthID {
		t.Errorf("%+v", made)
	}
	p := register(t, s, e, "tcp", 300)
	if got := stream.Expect(t, "registered "+name); got.Data.Registered != "true" || got.Data.Binding == nil || got.Data.Binding.Transport != "tcp" {
		t.Errorf("%+v", got)
	}
	if _, err := p.Register(300); err != nil { // a refresh is no event
		t.Fatal(err)
	}
	s.UpdateEndpoint(t, e.ID, map[string]any{"alias": "Other", "allow_voice": false})
	if got := stream.Expect(t, "updated "+name); !slices.Equal(got.Data.Changed, []string{"alias", "allow_voice"}) {
		t.Errorf("%+v", got)
	}
	s.UpdateEndpoint(t, e.ID, map[string]any{"password": "another-horse-2"})
	if got := stream.Expect(t, "updated "+name); !slices.Equal(got.Data.Changed, []string{"password"}) {
		t.Errorf("%+v", got)
	}
	if got := stream.Expect(t, "credentials_changed "+name); got.Data.Registered != "false" || got.Data.Binding == nil {
		t.Errorf("%+v", got)
	}
	e.Password = "another-horse-2"
	p = register(t, s, e, "tcp", 300)
	stream.Expect(t, "registered "+name)
	if _, err := p.Register(0); err != nil {
		t.Fatal(err)
	}
	stream.Expect(t, "unregistered "+name)
	p = register(t, s, e, "tcp", 300)
	stream.Expect(t, "registered "+name)
	p.Close()
	stream.Expect(t, "flow_lost "+name)
	register(t, s, e, "udp", 300)
	stream.Expect(t, "registered "+name)
	s.DeleteEndpoint(t, e.ID)
	stream.Expect(t, "credentials_changed "+name, "deleted "+name)
}

// The server is killed and started again, and the stream is cut and resumed all
// the time: every change of the API comes once, in order.
func TestKilledInTheMiddle(t *testing.T) {
	dir := t.TempDir()
	s := devserver.StartIn(t, dir)
	stream, order := Open(t, s, ""), &unique{}
	var want, got []string
	next := func() {
		e := stream.Next(t)
		if err := order.see(e); err != nil {
			t.Fatal(err)
		}
		if e.Type == "endpoint.created" || e.Type == "endpoint.deleted" || e.Type == "endpoint.updated" {
			got = append(got, e.what())
		}
	}
	for round := range 5 {
		for range 10 {
			e := s.CreateEndpoint(t, "kill", nil)
			want = append(want, "created "+e.Username)
			register(t, s, e, "udp", 300)
			s.UpdateEndpoint(t, e.ID, map[string]any{"alias": "A"})
			want = append(want, "updated "+e.Username)
			if round%2 == 0 {
				s.DeleteEndpoint(t, e.ID)
				want = append(want, "deleted "+e.Username)
			}
			for range 3 {
				next()
			}
		}
		s.Kill() // right behind the answer to the last change
		s = devserver.StartIn(t, dir)
		stream.Close()
		stream = Open(t, s, order.last)
	}
	for len(got) < len(want) {
		next()
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// A stream ends when the server drains, so that the drain does.
func TestDrainEndsStreams(t *testing.T) {
	s := devserver.Start(t)
	Open(t, s, "")
	s.Terminate(t)
	if strings.Contains(s.Log(), "cut off") {
		t.Errorf("the stream held up the drain:\n%s", s.Log())
	}
}
