package siptransport

import (
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"onhook/internal/sip"
)

// listening is a Transport that reads nothing: its worker is the test's.
func listening(t *testing.T, cfg Config) (*worker, *recorder) {
	t.Helper()
	cfg.Listeners, cfg.UDPWorkers = []Listener{listen(sip.UDP, "127.0.0.1")}, 1
	h := &recorder{events: make(chan event, 64)}
	tr := New(cfg, h)
	if err := tr.Listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	})
	return tr.listeners[0].workers[0], h
}

// What has waited is handled, refused or dropped by how long, and by what it is.
func TestOverdue(t *testing.T) {
	peer := netip.MustParseAddrPort("192.0.2.1:5060")
	authorized := strings.Replace(options("UDP", "a"), "CSeq", "Authorization: Digest\r\nCSeq", 1)
	routed := strings.Replace(options("UDP", "a"), "CSeq", "Route: <sip:sip.test;lr>\r\nCSeq", 1)
	recorded := strings.Replace(options("UDP", "a"), "CSeq", "Record-Route: <sip:sip.test;lr>\r\nCSeq", 1)
	for _, tc := range []struct {
		name   string
		msg    string
		waited time.Duration
		events string
	}{
		{"in time", options("UDP", "a"), refuseAfter, "message message"},
		{"new", options("UDP", "a"), refuseAfter + 1, "overloaded"}, // and the second of the batch is dropped
		{"new, with a Record-Route", recorded, dropAfter, "overloaded"},
		{"new, but broken", "OPTIONS sip:sip.test SIP/2.0\r\n\r\n", dropAfter, ""},
		{"with credentials", authorized, dropAfter, "message message"},
		{"of a dialog", routed, dropAfter, "message message"},
		{"an ACK", strings.ReplaceAll(options("UDP", "a"), "OPTIONS", "ACK"), dropAfter, "message message"},
		{"a CANCEL", strings.ReplaceAll(options("UDP", "a"), "OPTIONS", "CANCEL"), dropAfter, "message message"},
		{"new, and sent again by now", options("UDP", "a"), dropAfter + 1, ""},
		{"with credentials, and sent again by now", authorized, dropAfter + 1, ""},
		{"the clock was set back", options("UDP", "a"), -time.Hour, "message message"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, h := listening(t, Config{})
			w.datagram([]byte(tc.msg), peer, 0, tc.waited)
			w.datagram([]byte(tc.msg), peer, 0, tc.waited)
			close(h.events)
			var got []string
			for e := range h.events {
				got = append(got, e.kind)
			}
			if strings.Join(got, " ") != tc.events {
				t.Fatalf("%q, want %q", got, tc.events)
			}
			st := w.l.t.Stats()
			if handled := st.Received[sip.UDP] + st.Overloaded + st.Overdue; handled != 2 {
				t.Fatalf("%d of 2 datagrams are counted", handled)
			}
		})
	}
}

// A long queue is an overload when it stands: what has gathered in a pause of
// ours is worked off.
func TestStandingQueue(t *testing.T) {
	var o overload
	for i, step := range []struct {
		full   bool
		waited time.Duration
		now    time.Duration
		is     bool
	}{
		{true, time.Hour, 1, false}, // we were stopped for an hour
		{true, time.Hour, standing, false},
		{false, time.Hour, 2 * standing, false}, // and that was all
		{true, time.Hour, 3 * standing, false},
		{true, time.Hour, 4 * standing, true},
		{true, refuseAfter + 1, 5 * standing, true},
		{true, refuseAfter, 6 * standing, false},
		{true, refuseAfter + 1, 7 * standing, false},
		{true, refuseAfter + 1, 8 * standing, true},
	} {
		if o.look(step.full, step.waited, int64(step.now)); o.is != step.is {
			t.Errorf("step %d: overload %v", i, o.is)
		}
	}
}

// A worker with a long queue lets others compute less often.
func TestPauses(t *testing.T) {
	var o overload
	for i, step := range []struct {
		full   bool
		waited time.Duration
		want   bool
	}{
		{true, longQueue, true}, {true, longQueue, true}, // no long one
		{true, longQueue + 1, false}, {true, longQueue + 1, false}, {true, longQueue + 1, false}, {true, longQueue + 1, true},
		{true, longQueue + 1, false}, {false, longQueue + 1, true}, // and that was all
		{true, longQueue + 1, false}, {true, longQueue + 1, false}, {true, longQueue + 1, false}, {true, longQueue + 1, true},
	} {
		if got := o.pauses(step.full, step.waited); got != step.want {
			t.Errorf("step %d: %v", i, got)
		}
	}
}

// An overload is noticed by the kernel's times of arrival, and what goes on is
// handled meanwhile.
func TestOverloadByArrival(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the kernel tells no times of arrival here")
	}
	w, h := listening(t, Config{})
	c, err := net.Dial("udp", w.l.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	authorized := strings.Replace(options("UDP", "b"), "CSeq", "Authorization: Digest\r\nCSeq", 1)
	for _, now := range []time.Duration{1, 1 + standing} {
		for range receiveSlots - 1 {
			write(t, c, options("UDP", "a"))
		}
		write(t, c, authorized)
		n, err := w.in.receive()
		if err != nil || n != receiveSlots {
			t.Fatal(n, err)
		}
		w.batch(n, int64(now), time.Now().Add(refuseAfter))
	}
	close(h.events)
	got := map[string]int{}
	for e := range h.events {
		got[e.kind]++
	}
	if st := w.l.t.Stats(); got["message"] != receiveSlots+1 || got["overloaded"] != 1 || st.Overdue != receiveSlots-2 {
		t.Fatalf("%v, %d dropped", got, st.Overdue)
	}
}

// What the kernel has dropped is counted, and what it kept says since when.
func TestKernelTellsOfBacklog(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the kernel tells nothing here")
	}
	before := time.Now()
	w, _ := listening(t, Config{ReceiveBuffer: 8 << 10})
	c, err := net.Dial("udp", w.l.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	const sent = 100
	for range sent {
		write(t, c, options("UDP", "a"))
	}
	kept := 0
	for kept+int(w.l.t.Stats().Unread) < sent {
		n, err := w.in.receive()
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if waited, most := w.in.waited(i, time.Now()), time.Since(before); waited <= 0 || waited > most {
				t.Fatalf("it waited %v of %v", waited, most)
			}
		}
		kept += n
	}
	if kept == 0 || kept == sent {
		t.Fatalf("%d of %d fitted into the buffer", kept, sent)
	}
}
