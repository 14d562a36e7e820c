package registration

import (
	"fmt"
	"testing"
	"time"

	"onhook/test/devserver"
)

// secrets is which password each of the endpoint's bindings was made with, by
// transport.
func secrets(t *testing.T, s *devserver.Server, id string) map[string]string {
	t.Helper()
	var list struct {
		Objects []struct{ Transport, Secret string }
	}
	if status, err := s.API("GET", "Endpoint/"+id+"/Registration/", nil, &list); err != nil || status != 200 {
		t.Fatal(status, err)
	}
	found := map[string]string{}
	for _, b := range list.Objects {
		found[b.Transport] = b.Secret
	}
	return found
}

// With an overlap both passwords work; the API shows who still uses the old
// one, and at its end those bindings and their connections are gone.
func TestPasswordOverlap(t *testing.T) {
	t.Parallel()
	s := devserver.Shared(t)
	e := s.CreateEndpoint(t, "rotate", nil)
	old, idle := phone(t, s, "tcp", e), phone(t, s, "tls", e)
	register(t, old, 300, 200)
	register(t, idle, 300, 200)
	const overlap = 4
	s.UpdateEndpoint(t, e.ID, map[string]any{"password": "rotated-horse-2", "password_overlap": overlap})
	changed := time.Now()
	if got := secrets(t, s, e.ID); got["tcp"] != "previous" || got["tls"] != "previous" {
		t.Errorf("after the change: %v", got)
	}
	register(t, old, 300, 200) // the old one goes on
	e.Password = "rotated-horse-2"
	fresh := phone(t, s, "ws", e)
	register(t, fresh, 300, 200)
	late := phone(t, s, "udp", e)
	late.Password = devserver.Password
	register(t, late, 300, 200)
	idle.Password = e.Password
	idle.Forget()
	register(t, idle, 300, 200) // has heard of it
	if got := secrets(t, s, e.ID); got["tcp"] != "previous" || got["udp"] != "previous" || got["ws"] != "current" || got["tls"] != "current" {
		t.Errorf("during the overlap: %v", got)
	}
	if err := devserver.Until(overlap*time.Second+30*time.Second, func() error {
		got := secrets(t, s, e.ID)
		if len(got) != 2 || got["ws"] != "current" || got["tls"] != "current" {
			return fmt.Errorf("bindings %v", got)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if early := time.Since(changed); early < (overlap-1)*time.Second {
		t.Errorf("ended after %v", early)
	}
	if err := old.WaitClosed(); err != nil {
		t.Errorf("the connection of the old password: %v", err)
	}
	again := phone(t, s, "tcp", devserver.Endpoint{Username: e.Username, Password: devserver.Password})
	register(t, again, 300, 401)
	register(t, fresh, 300, 200)
}
