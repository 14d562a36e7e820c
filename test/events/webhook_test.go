package events

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"onhook/test/devserver"
)

// Deliveries are signed in every way that is promised, filtered, and in order.
func TestWebhook(t *testing.T) {
	s := devserver.Start(t)
	r := NewReceiver(t, s.AuthToken)
	stream := Open(t, s, "")
	before := s.CreateEndpoint(t, "before", nil)
	for stream.Next(t).what() != "created "+before.Username { // a change is an event soon after its answer
	}
	stream.Close()
	hook := r.Hook(t, s, "endpoint.*")
	e := s.CreateEndpoint(t, "hooked", nil)
	p := register(t, s, e, "tcp", 300)
	if _, err := p.Register(0); err != nil {
		t.Fatal(err)
	}
	s.DeleteEndpoint(t, e.ID)
	r.Expect(t, e.Username, "created", "registered", "unregistered", "deleted")
	if got := r.Got()[before.Username]; got != nil {
		t.Errorf("of before the webhook came %v", got)
	}
	var shown Webhook
	if err := devserver.Until(30*time.Second, func() error {
		if _, err := s.API("GET", "Webhook/"+hook.ID+"/", nil, &shown); err != nil {
			return err
		}
		if shown.Success == nil || shown.LastError != nil || shown.Secret != "<redacted>" {
			return fmt.Errorf("%+v", shown)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	// Asked for again, it comes again.
	tries := r.Tries()
	if status, err := s.API("POST", "Webhook/"+hook.ID+"/redeliver", map[string]any{"event_id": r.events[0].ID}, nil); err != nil || status != 202 {
		t.Fatal(status, err)
	}
	if err := devserver.Until(30*time.Second, func() error {
		if r.Tries() == tries {
			return errors.New("nothing came again")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// A target that fails for a while, with the server killed and started again
// meanwhile, loses nothing.
func TestTargetFailsForAWhile(t *testing.T) {
	dir := t.TempDir()
	s := devserver.StartIn(t, dir)
	r := NewReceiver(t, s.AuthToken)
	r.Hook(t, s, "endpoint.created", "endpoint.updated", "endpoint.deleted")
	want := map[string][]string{}
	change := func(n int) {
		for range n {
			e := s.CreateEndpoint(t, "fail", nil)
			s.UpdateEndpoint(t, e.ID, map[string]any{"alias": "A"})
			s.DeleteEndpoint(t, e.ID)
			want[e.Username] = []string{"created", "updated", "deleted"}
		}
	}
	change(5)
	r.Refuse(503)
	change(20)
	s.Kill()
	s = devserver.StartIn(t, dir)
	change(5)
	if err := devserver.Until(30*time.Second, func() error {
		if r.Tries() < 10 {
			return fmt.Errorf("%d attempts", r.Tries())
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	s.Kill()
	r.Refuse(0)
	s = devserver.StartIn(t, dir)
	change(5)
	s.Kill() // right behind the answer to the last change
	s = devserver.StartIn(t, dir)
	for name, events := range want {
		r.Expect(t, name, events...)
	}
	for name := range r.Got() {
		// Those that dev makes may still be on their way when the webhook is made.
		if want[name] == nil && name != "alice" && name != "bob" {
			t.Errorf("events came of %s", name)
		}
	}
}
