package location_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"onhook/internal/feed"
	"onhook/internal/location"
	"onhook/internal/location/journaltest"
	"onhook/internal/sip"
)

func events(t *testing.T, f *location.Feed, want ...location.EventType) {
	t.Helper()
	for _, w := range want {
		e, err := f.Next(t.Context())
		if err != nil || e.Type != w {
			t.Errorf("event %v, %v, want %v", e.Type, err, w)
		}
	}
}

// A flow-bound binding of TCP ends with its connection, at once.
func TestFlowLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := journaltest.NewMemory()
		x := start(t, location.Config{Journal: j})
		told := x.Subscribe(10)
		must(t, update(x, 1, set("sip:a@h", tcp, time.Hour)))
		must(t, update(x, 1, set("sip:b@h", udp, time.Hour)))
		must(t, update(x, 2, set("sip:c@h", tcp, time.Hour)))
		x.FlowClosed(tcp)
		expect(t, x, 1, "sip:b@h")
		expect(t, x, 2)
		synctest.Wait()
		if x.Count() != 1 || x.FlowInUse(tcp) {
			t.Errorf("%+v", x.Stats())
		}
		if v, _ := j.Get(2, nil); len(v) != 0 {
			t.Error("the journal still holds the lost binding")
		}
		events(t, told, location.Registered, location.Registered, location.Registered, location.FlowLost, location.FlowLost)
		x.FlowClosed(tcp) // once more changes nothing
		x.FlowClosed(udp)
		expect(t, x, 1, "sip:b@h")
		x.Close()
	})
}

// A phone that listens on its Contact keeps its binding, without the connection.
func TestFlowLostOfListeningPhone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := start(t, location.Config{})
		must(t, update(x, 1, func(s *location.Set) error {
			s.Add(location.Binding{Contact: "sip:a@192.0.2.1:5060", Flow: tcp, Expires: s.Now.Add(time.Hour)})
			return nil
		}))
		x.FlowClosed(tcp)
		time.Sleep(2 * time.Minute)
		b := x.Lookup(1, nil)
		if len(b) != 1 || b[0].Connected() || b[0].Lost() || b[0].State != location.Reachable || b[0].Flow.Remote != tcp.Remote {
			t.Errorf("%+v", b)
		}
		x.Close()
	})
}

// A WebSocket binding waits for its device; back in time, nothing happened.
func TestWebSocketGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := start(t, location.Config{})
		told := x.Subscribe(10)
		must(t, update(x, 1, set("sip:a@h", wss, time.Hour)))
		must(t, update(x, 2, set("sip:a@h", wss, time.Hour)))
		must(t, update(x, 3, set("sip:a@h", wss, 5*time.Second)))
		id := x.Lookup(1, nil)[0].ID
		x.FlowClosed(wss)
		expect(t, x, 1, "sip:a@h")
		if b := x.Lookup(1, nil)[0]; b.State != location.Suspect || !b.Lost() || b.Connected() {
			t.Errorf("in its grace: %+v", b)
		}
		time.Sleep(14 * time.Second)
		expect(t, x, 2, "sip:a@h")
		expect(t, x, 3) // its own time was over first
		back := wss
		back.Conn = 99
		must(t, update(x, 1, set("sip:a@h", back, time.Hour)))
		time.Sleep(time.Second)
		expect(t, x, 2)
		time.Sleep(time.Minute)
		if b := x.Lookup(1, nil); len(b) != 1 || b[0].ID != id || b[0].State != location.Reachable || b[0].Flow != back {
			t.Errorf("%+v", b)
		}
		synctest.Wait()
		events(t, told, location.Registered, location.Registered, location.Registered, location.Expired, location.FlowLost)
		x.Close()
		if _, err := told.Next(t.Context()); !errors.Is(err, feed.ErrClosed) {
			t.Errorf("more events: %v", err)
		}
	})
}

func TestBoundAndIdle(t *testing.T) {
	var told []string
	x := start(t, location.Config{
		Bound: func(f sip.Flow) { told = append(told, fmt.Sprint("bound ", f.Conn)) },
		Idle:  func(f sip.Flow) { told = append(told, fmt.Sprint("idle ", f.Conn)) },
	})
	defer x.Close()
	other := tcp
	other.Conn = 50
	must(t, update(x, 1, set("sip:a@h", tcp, time.Hour)))
	must(t, update(x, 1, set("sip:a@h", tcp, time.Hour)))
	must(t, update(x, 1, set("sip:b@h", tcp, time.Hour)))
	must(t, update(x, 2, set("sip:a@h", tcp, time.Hour)))
	must(t, update(x, 1, remove("sip:a@h")))
	must(t, update(x, 1, set("sip:b@h", other, time.Hour))) // came back on another connection
	must(t, update(x, 2, remove("sip:a@h")))
	must(t, update(x, 3, set("sip:a@h", udp, time.Hour)))
	if want := []string{"bound 11", "bound 50", "idle 11"}; !slices.Equal(told, want) {
		t.Errorf("%q, want %q", told, want)
	}
}

func TestOnFlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := start(t, location.Config{})
		must(t, update(x, 1, set("sip:a@h", tcp, time.Hour)))
		must(t, update(x, 1, set("sip:b@h", tcp, time.Hour)))
		must(t, update(x, 2, set("sip:a@h", tcp, time.Minute)))
		must(t, update(x, 3, func(s *location.Set) error {
			s.Add(location.Binding{Contact: "sip:a@h", Path: "<sip:edge;lr>", Flow: tcp, Expires: s.Now.Add(time.Hour)})
			return nil
		}))
		must(t, update(x, 4, set("sip:a@h", udp, time.Hour)))
		keys := x.OnFlow(tcp, []location.Key{77})
		if !slices.Equal(keys, []location.Key{77, 1, 2}) {
			t.Errorf("%v", keys)
		}
		forged := tcp
		forged.Transport = sip.TLS
		if keys := x.OnFlow(forged, nil); len(keys) != 0 {
			t.Errorf("another flow with that number: %v", keys)
		}
		if keys := x.OnFlow(udp, nil); len(keys) != 0 {
			t.Errorf("UDP proves nothing: %v", keys)
		}
		time.Sleep(time.Minute)
		if keys := x.OnFlow(tcp, nil); !slices.Equal(keys, []location.Key{1}) {
			t.Errorf("%v after a minute", keys)
		}
		x.Close()
	})
}

// After a restart bindings of connections are suspect and wait for their
// device; those of UDP are as they were.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := journaltest.NewMemory()
		x := start(t, location.Config{Journal: j})
		must(t, update(x, 1, set("sip:u@h", udp, time.Hour)))
		must(t, update(x, 2, set("sip:t@h", tcp, time.Hour)))
		must(t, update(x, 3, set("sip:w@h", wss, time.Hour)))
		must(t, update(x, 4, set("sip:old@h", udp, time.Minute)))
		must(t, update(x, 5, func(s *location.Set) error {
			s.Add(location.Binding{Contact: "sip:l@192.0.2.1", Flow: tcp, Expires: s.Now.Add(time.Hour)})
			return nil
		}))
		before := x.Lookup(1, nil)[0]
		x.Close()
		time.Sleep(2 * time.Minute)

		x = start(t, location.Config{Journal: j})
		told := x.Subscribe(10)
		if b := x.Lookup(1, nil); len(b) != 1 || b[0] != before {
			t.Errorf("UDP: %+v, was %+v", b, before)
		}
		for _, key := range []location.Key{2, 3} {
			if b := x.Lookup(key, nil); len(b) != 1 || b[0].State != location.Suspect || b[0].Connected() || !b[0].Lost() {
				t.Errorf("%d: %+v", key, b)
			}
		}
		if keys := x.OnFlow(tcp, nil); len(keys) != 0 || x.FlowInUse(tcp) {
			t.Errorf("a connection of the earlier process names %v", keys)
		}
		x.FlowClosed(tcp)
		expect(t, x, 4)
		if v, _ := j.Get(4, nil); len(v) != 0 {
			t.Error("the expired binding is still in the journal")
		}
		time.Sleep(59 * time.Second)
		must(t, update(x, 2, set("sip:t@h", tcp, time.Hour)))
		time.Sleep(time.Second)
		synctest.Wait()
		expect(t, x, 2, "sip:t@h")
		expect(t, x, 3)
		if b := x.Lookup(5, nil); len(b) != 1 || b[0].State != location.Suspect || b[0].Lost() {
			t.Errorf("a phone that listens: %+v", b)
		}
		events(t, told, location.FlowLost)
		x.Close()
	})
}

func TestLoadRefusesDamage(t *testing.T) {
	j := journaltest.NewMemory()
	j.Put(42, []byte{9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9})
	x := location.New(location.Config{Journal: j})
	if err := x.Load(); !errors.Is(err, location.ErrRecord) {
		t.Errorf("%v", err)
	} else if got := err.Error(); got != "loading bindings: record of 42: location: unreadable record: version 9, this program knows 3" {
		t.Error(got)
	}
}

func TestRefreshEvents(t *testing.T) {
	x := start(t, location.Config{RefreshEvents: true})
	defer x.Close()
	told := x.Subscribe(3)
	must(t, update(x, 1, set("sip:a@h", udp, time.Hour)))
	must(t, update(x, 1, set("sip:a@h", udp, time.Hour)))
	events(t, told, location.Registered, location.Refreshed)
}
