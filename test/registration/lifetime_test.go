package registration

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"onhook/test/devserver"
	"onhook/test/sippeer"
)

// A binding ends with its connection (RFC 5626 4.2.2: a dead flow is no way to
// the device): at once, long before a browser's grace or its expiry would end it.
func TestConnectionLossUnregisters(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"tcp", "tls"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := devserver.Shared(t)
			e := s.CreateEndpoint(t, "loss", nil)
			p := phone(t, s, transport, e)
			register(t, p, 300, 200)
			s.WaitRegistered(t, e.ID, true)
			p.Close()
			gone := time.Now()
			s.WaitRegisteredWithin(t, e.ID, false, 10*time.Second)
			t.Logf("shown after %v", time.Since(gone))
		})
	}
}

// A TCP phone that listens where its Contact says can be dialled: it keeps its
// binding when the connection goes.
func TestListeningPhoneKeepsItsBinding(t *testing.T) {
	t.Parallel()
	s := devserver.Shared(t)
	e := s.CreateEndpoint(t, "listens", nil)
	p := phone(t, s, "tcp", e)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	p.Contact = "<sip:" + e.Username + "@" + listener.Addr().String() + ";transport=tcp>"
	register(t, p, 300, 200)
	p.Close()
	other := phone(t, s, "tcp", e) // by the time it is served, the loss has been seen
	if err := other.Ping(s.Domain); err != nil {
		t.Fatal(err)
	}
	if got := s.Endpoint(t, e.ID); got.Registered != "true" || *got.Contact != listener.Addr().String() {
		t.Errorf("after the loss the API shows %+v", got)
	}
}

// A browser that reloads comes back within a grace of 15 s, as the same instance.
func TestWebSocketGrace(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"ws", "wss"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := devserver.Shared(t)
			e := s.CreateEndpoint(t, "reload", nil)
			instance := `;reg-id=1;+sip.instance="<urn:uuid:` + "f81d4fae-7dec-11d0-a765-00a0c91e6bf6" + `>"`
			outbound := func(m *sippeer.Message) { m.Set("Supported", "path, outbound") }

			first := phone(t, s, transport, e)
			first.Contact += instance
			register(t, first, 300, 200, outbound)
			before := s.Bindings(t, e.ID)
			first.Close()

			second := phone(t, s, transport, e)
			if got := s.Endpoint(t, e.ID); got.Registered != "true" {
				t.Fatal("a reload shows as unregistered")
			}
			second.Contact += instance
			register(t, second, 300, 200, outbound)
			after := s.Bindings(t, e.ID)
			if len(before) != 1 || len(after) != 1 || after[0].Received != second.Local() {
				t.Fatalf("before the reload %+v, after it %+v", before, after)
			}
			gone := time.Now()
			second.Close()
			s.WaitRegisteredWithin(t, e.ID, false, 45*time.Second)
			if lasted := time.Since(gone); lasted < 10*time.Second {
				t.Errorf("the grace lasted %v, want about 15 s", lasted)
			}
		})
	}
}

// A changed password ends bindings at once and closes the connection.
func TestPasswordChange(t *testing.T) {
	eachTransport(t, func(t *testing.T, transport string) {
		s := devserver.Shared(t)
		e := s.CreateEndpoint(t, "pw_"+transport, nil)
		p := phone(t, s, transport, e)
		register(t, p, 300, 200)
		s.WaitRegistered(t, e.ID, true)
		s.UpdateEndpoint(t, e.ID, map[string]any{"password": "another horse 3"})
		if got := s.Endpoint(t, e.ID); got.Registered != "false" {
			t.Error("still registered after the password changed")
		}
		if transport != "udp" {
			if err := p.WaitClosed(); err != nil {
				t.Error(err)
			}
		}
		register(t, phone(t, s, transport, e), 300, 401)
		e.Password = "another horse 3"
		register(t, phone(t, s, transport, e), 300, 200)
		s.WaitRegistered(t, e.ID, true)
	})
}

func TestDeletion(t *testing.T) {
	eachTransport(t, func(t *testing.T, transport string) {
		s := devserver.Shared(t)
		e := s.CreateEndpoint(t, "del_"+transport, nil)
		p := phone(t, s, transport, e)
		register(t, p, 300, 200)
		s.DeleteEndpoint(t, e.ID)
		if status, _ := s.API("GET", "Endpoint/"+e.ID+"/", nil, nil); status != 404 {
			t.Errorf("a deleted endpoint is answered with %d", status)
		}
		if transport != "udp" {
			if err := p.WaitClosed(); err != nil {
				t.Error(err)
			}
		}
		register(t, phone(t, s, transport, e), 300, 401)
	})
}

// Bindings outlive the process, whichever way it ends, and it listens again
// where it did before.
func TestRestart(t *testing.T) {
	t.Parallel()
	stops := map[string]func(*testing.T, *devserver.Server){
		"kill":  func(_ *testing.T, s *devserver.Server) { s.Kill() },
		"clean": func(t *testing.T, s *devserver.Server) { s.Terminate(t) },
	}
	for name, stop := range stops {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := devserver.StartIn(t, dir)
			e := s.CreateEndpoint(t, "restart", nil)
			gone := s.CreateEndpoint(t, "gone", nil)
			for _, endpoint := range []devserver.Endpoint{e, gone} {
				register(t, phone(t, s, "udp", endpoint), 600, 200)
			}
			register(t, phone(t, s, "tcp", e), 600, 200)
			s.DeleteEndpoint(t, gone.ID)
			before := s.Endpoint(t, e.ID)
			stop(t, s)

			again := devserver.StartIn(t, dir)
			if again.Info != s.Info {
				t.Errorf("after the restart dev.json says %+v, before it %+v", again.Info, s.Info)
			}
			after := again.WaitRegistered(t, e.ID, true)
			if *after.Expires != *before.Expires || *after.UserAgent != *before.UserAgent {
				t.Errorf("before %s %s, after %s %s", *before.Expires, *before.UserAgent, *after.Expires, *after.UserAgent)
			}
			for _, b := range again.Bindings(t, e.ID) {
				if want := map[bool]string{true: "reachable", false: "suspect"}[b.Transport == "udp"]; b.State != want {
					t.Errorf("the %s binding is %s after the restart, want %s", b.Transport, b.State, want)
				}
			}
			if n := len(again.Bindings(t, e.ID)); n != 2 {
				t.Errorf("%d bindings after the restart, want 2", n)
			}
			// The old credentials and the deleted endpoint are as they were.
			register(t, phone(t, again, "tls", e), 600, 200)
			register(t, phone(t, again, "tls", gone), 600, 401)
		})
	}
}

// expectRefusal runs `onhook dev` on dir and wants it to fail soon, naming what.
func expectRefusal(t *testing.T, dir, what string) {
	t.Helper()
	p, err := devserver.Run("dev", "--dir", dir, "--ephemeral-ports")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	select {
	case <-p.Done():
	case <-time.After(60 * time.Second):
		t.Fatalf("it runs; want an error that names %s\n%s", what, p.Log())
	}
	if p.Err() == nil {
		t.Errorf("it exits with code 0")
	}
	if !strings.Contains(p.Log(), what) || strings.Contains(p.Log(), "goroutine ") {
		t.Errorf("want a plain error that names %s, got\n%s", what, p.Log())
	}
}

func TestFolderInUse(t *testing.T) {
	t.Parallel()
	s := devserver.Start(t)
	expectRefusal(t, s.Dir, s.Dir)
	if s.Endpoint(t, s.CreateEndpoint(t, "alive", nil).ID).Registered != "false" {
		t.Error("unreachable")
	}
}

func TestPortTaken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := devserver.StartIn(t, dir)
	s.Terminate(t)
	t.Run("udp", func(t *testing.T) {
		socket, err := net.ListenPacket("udp", s.SIP.UDP)
		if err != nil {
			t.Skipf("somebody else took %s meanwhile: %v", s.SIP.UDP, err)
		}
		defer func() { _ = socket.Close() }()
		expectRefusal(t, dir, s.SIP.UDP)
	})
	t.Run("tcp", func(t *testing.T) {
		listener, err := net.Listen("tcp", s.SIP.TCP)
		if err != nil {
			t.Skipf("somebody else took %s meanwhile: %v", s.SIP.TCP, err)
		}
		defer func() { _ = listener.Close() }()
		expectRefusal(t, dir, s.SIP.TCP)
	})
}

// A password is on no disk and in no log.
func TestPasswordIsNowhere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := devserver.StartIn(t, dir)
	const secret = "Zebra-Parade-99"
	e := s.CreateEndpoint(t, "quiet", map[string]any{"password": secret})
	register(t, phone(t, s, "udp", e), 300, 200)
	s.Terminate(t)
	if strings.Contains(s.Log(), secret) {
		t.Error("the password is in the log")
	}
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		if bytes.Contains(raw, []byte(secret)) {
			t.Errorf("the password is in %s", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
