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
		{"new, with a Record-Route", recorded, t1, "overloaded"},
		{"new, but broken", "OPTIONS sip:sip.test SIP/2.0\r\n\r\n", t1, ""},
		{"with credentials", authorized, t1, "message message"},
		{"of a dialog", routed, t1, "message message"},
		{"an ACK", strings.ReplaceAll(options("UDP", "a"), "OPTIONS", "ACK"), t1, "message message"},
		{"a CANCEL", strings.ReplaceAll(options("UDP", "a"), "OPTIONS", "CANCEL"), t1, "message message"},
		{"new, and sent again by now", options("UDP", "a"), t1 + 1, ""},
		{"with credentials, and sent again by now", authorized, t1 + 1, ""},
		{"the clock was set back", options("UDP", "a"), -time.Hour, "message message"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, h := listening(t, Config{})
			w.backlog = backlog{1, int64(time.Hour)} // for an hour
			w.datagram([]byte(tc.msg), peer, int64(time.Hour), tc.waited)
			w.datagram([]byte(tc.msg), peer, int64(time.Hour), tc.waited)
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

// Only a backlog that lasts is an overload.
func TestBacklog(t *testing.T) {
	const at, step = int64(time.Hour), int64(t1 / 4)
	for name, tc := range map[string]struct{ late, want string }{
		"a pause of the process":    {"L.........L....", "..............."},
		"it lasts":                  {"LLLLLLL", "....###"},
		"with moments in between":   {"L..L..L..L", "......####"},
		"it is over":                {"LLLLLL..........L", "....##########..."},
		"and comes again at once":   {"LLLLL.......L", "....#########"},
		"nothing comes for a while": {"LLLL                  LLLLL", "....                  ....#"},
	} {
		var b backlog
		var got strings.Builder
		for i, c := range tc.late {
			switch {
			case c == ' ':
				got.WriteByte(' ')
			case b.lasts(c == 'L', at+int64(i)*step, t1):
				got.WriteByte('#')
			default:
				got.WriteByte('.')
			}
		}
		if got.String() != tc.want {
			t.Errorf("%s: %s is judged\n%s, want\n%s", name, tc.late, got.String(), tc.want)
		}
	}
}

// The decision is made by the kernel's times of arrival.
func TestOverdueByArrival(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the kernel tells no times of arrival here")
	}
	s := start(t, []Listener{listen(sip.UDP, "127.0.0.1")}, func(c *Config) {
		c.RefuseAfter, c.DropAfter, c.OverloadAfter = time.Nanosecond, time.Hour, -1
	})
	p := s.peer(0, sip.UDP)
	p.send(options("UDP", "a"))
	s.next(t, "overloaded")
	p.send(strings.Replace(options("UDP", "b"), "CSeq", "Authorization: Digest\r\nCSeq", 1))
	s.next(t, "message")
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
