package location_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"onhook/internal/location"
)

// Everything that happens to a binding is told, once it is durable, and in
// order.
func TestEveryEventIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := start(t, location.Config{RefreshEvents: true})
		defer x.Close()
		feed := x.Subscribe(100)
		replace := func(s *location.Set) error {
			s.Remove(0, location.Replaced)
			return set("sip:b@h", udp, time.Hour)(s)
		}
		must(t, update(x, 1, set("sip:a@h", udp, time.Hour)))
		must(t, update(x, 1, set("sip:a@h", udp, time.Hour)))
		must(t, update(x, 1, replace))
		must(t, update(x, 1, remove("sip:b@h")))
		must(t, update(x, 1, set("sip:c@h", udp, time.Minute)))
		time.Sleep(time.Minute)
		must(t, update(x, 1, set("sip:d@h", tcp, time.Hour)))
		x.FlowClosed(tcp)
		must(t, update(x, 1, set("sip:e@h", udp, time.Hour)))
		if _, err := x.EndAll(t.Context(), 1, location.CredentialsChanged); err != nil {
			t.Fatal(err)
		}
		events(t, feed, location.Registered, location.Refreshed, location.Replaced, location.Registered, location.Unregistered,
			location.Registered, location.Expired, location.Registered, location.FlowLost, location.Registered, location.CredentialsChanged)
	})
}

// Whoever reads no events holds up no REGISTER.
func TestSlowReaderHoldsUpNobody(t *testing.T) {
	x := start(t, location.Config{})
	defer x.Close()
	feed := x.Subscribe(2)
	for i := range 5000 {
		must(t, update(x, location.Key(i), set(fmt.Sprint("sip:", i, "@h"), udp, time.Hour)))
	}
	if x.Count() != 5000 || feed.Missed() != 4998 {
		t.Errorf("%d bindings, %d events missed", x.Count(), feed.Missed())
	}
}
