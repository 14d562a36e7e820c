package sipprobe

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"onhook/internal/location"
	"onhook/internal/location/journaltest"
	"onhook/internal/sip"
)

// counting is a journal that counts what is written to it.
type counting struct {
	location.Journal
	mu      sync.Mutex
	commits int
}

func (j *counting) Commit(batch []location.Record) error {
	j.mu.Lock()
	j.commits++
	j.mu.Unlock()
	return j.Journal.Commit(batch)
}

func (j *counting) count() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.commits
}

// world is one prober and the devices it asks.
type world struct {
	t       *testing.T
	journal *counting
	index   *location.Index
	prober  *Prober

	mu     sync.Mutex
	sent   []string // where to and when, "192.0.2.1:5060 1m0s"
	times  map[string][]time.Duration
	silent map[string]bool // devices that do not answer
	status int
	begun  time.Time
}

func newWorld(t *testing.T, mode location.ProbeMode, c Config) *world {
	w := &world{t: t, journal: &counting{Journal: journaltest.NewMemory()}, silent: map[string]bool{}, times: map[string][]time.Duration{}, status: 200, begun: time.Now()}
	w.index = location.New(location.Config{Journal: w.journal, Probe: mode})
	c.Index, c.Send = w.index, w.send
	c.SentBy = func(sip.Flow) string { return "198.51.100.1:5060" }
	w.prober = New(c)
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { _ = w.index.Run(ctx) })
	group.Go(func() { _ = w.prober.Run(ctx) })
	t.Cleanup(func() { cancel(); group.Wait() })
	return w
}

// send is the network: a device answers unless it is silent.
func (w *world) send(flow sip.Flow, msg []byte) error {
	m := new(sip.Message)
	if err := m.Parse([]byte(string(msg))); err != nil {
		w.t.Errorf("%v in\n%s", err, msg)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	to := flow.Remote.String()
	w.times[to] = append(w.times[to], time.Since(w.begun))
	w.sent = append(w.sent, m.RequestURI)
	if w.silent[to] {
		return nil
	}
	answer := new(sip.Message)
	if err := answer.Parse(sip.AppendBody(sip.AppendReply(nil, m, flow.Remote, w.status, "", "d"), nil)); err != nil {
		w.t.Error(err)
	}
	go w.prober.Response(answer)
	return nil
}

func (w *world) silence(flow sip.Flow, silent bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.silent[flow.Remote.String()] = silent
}

func (w *world) total() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.sent)
}

func flow(n int) sip.Flow {
	return sip.Flow{Transport: sip.UDP, Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, byte(n >> 8), byte(n)}), 5060)}
}

type adder location.Binding

func (a adder) Edit(s *location.Set) error {
	b := location.Binding(a)
	b.Expires = s.Now.Add(24 * time.Hour)
	s.Add(b)
	return nil
}
func (adder) Committed(error) {}

// add registers a device behind a NAT.
func (w *world) add(n int, edit func(*location.Binding)) {
	w.t.Helper()
	b := location.Binding{Contact: fmt.Sprintf("sip:d%d@10.0.0.1", n), Q: 1000, CallID: "c", Flow: flow(n), BehindNAT: true}
	if edit != nil {
		edit(&b)
	}
	if err := w.index.Update(location.Key(n), adder(b)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) binding(n int) location.Binding {
	w.t.Helper()
	b := w.index.Lookup(location.Key(n), nil)
	if len(b) != 1 {
		w.t.Fatalf("%d bindings of %d", len(b), n)
	}
	return b[0]
}

func play(t *testing.T, mode location.ProbeMode, c Config, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(newWorld(t, mode, c)) })
}

// Each device is asked once in an interval, and not all at the same time.
func TestSpread(t *testing.T) {
	play(t, location.ProbeNAT, Config{}, func(w *world) {
		for n := range 600 {
			w.add(n, nil)
		}
		busiest, before := 0, 0
		for range 180 {
			time.Sleep(time.Second)
			busiest, before = max(busiest, w.total()-before), w.total()
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		for to, times := range w.times {
			if len(times) < 2 || len(times) > 3 {
				w.t.Errorf("%s was asked at %v", to, times)
			}
			for i := 1; i < len(times); i++ {
				if gap := times[i] - times[i-1]; gap < 58*time.Second || gap > 62*time.Second {
					w.t.Errorf("%s was asked at %v", to, times)
				}
			}
		}
		if len(w.times) != 600 || busiest > 13 { // ten a second are due
			w.t.Errorf("%d devices were asked, %d in one second", len(w.times), busiest)
		}
	})
}

// Where the rate does not suffice the interval is longer.
func TestRate(t *testing.T) {
	play(t, location.ProbeNAT, Config{Rate: 10}, func(w *world) {
		for n := range 1200 {
			w.add(n, nil)
		}
		before := 0
		for range 240 {
			time.Sleep(time.Second)
			if n := w.total() - before; n > 12 {
				w.t.Fatalf("%d in one second", n)
			}
			before = w.total()
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.sent) < 2350 || len(w.sent) > 2410 || len(w.times) != 1200 {
			w.t.Errorf("%d probes to %d devices in 4 minutes", len(w.sent), len(w.times))
		}
	})
}

// Two probes missed make a binding suspect; any answer at all, a keepalive or a
// request makes it reachable again. None of it is written to the journal.
func TestSuspect(t *testing.T) {
	play(t, location.ProbeNAT, Config{}, func(w *world) {
		w.add(1, nil)
		synctest.Wait()
		written := w.journal.count()
		registered := w.binding(1).LastSeen
		w.mu.Lock()
		w.status = 404
		w.mu.Unlock()
		time.Sleep(62 * time.Second)
		b := w.binding(1)
		if b.State != location.Reachable || b.LastSeen.Sub(registered) < 59*time.Second {
			w.t.Fatalf("after an answer: %v, last seen %v after the REGISTER", b.State, b.LastSeen.Sub(registered))
		}
		w.silence(b.Flow, true)
		time.Sleep(70 * time.Second) // one is missed
		if b := w.binding(1); b.State != location.Reachable {
			w.t.Fatal("suspect after one probe")
		}
		time.Sleep(60 * time.Second)
		if b := w.binding(1); b.State != location.Suspect {
			w.t.Fatal("not suspect after two probes")
		}
		w.index.Heard(b.Flow)
		if b := w.binding(1); b.State != location.Reachable || time.Since(b.LastSeen) > time.Second {
			w.t.Fatalf("after a keepalive: %v, last seen %v ago", b.State, time.Since(b.LastSeen))
		}
		// A device that answers no OPTIONS and sends keepalives is there.
		for range 20 {
			time.Sleep(25 * time.Second)
			w.index.Heard(b.Flow)
			if b := w.binding(1); b.State != location.Reachable {
				w.t.Fatal("suspect in spite of keepalives")
			}
		}
		time.Sleep(3 * time.Minute)
		if b := w.binding(1); b.State != location.Suspect {
			w.t.Fatal("not suspect after its last keepalive")
		}
		w.silence(b.Flow, false)
		time.Sleep(61 * time.Second)
		if b := w.binding(1); b.State != location.Reachable {
			w.t.Fatal("suspect in spite of an answer")
		}
		if n := w.journal.count(); n != written {
			w.t.Errorf("%d commits for probes", n-written)
		}
		if s := w.prober.Stats(); s.Missed < 4 || s.Answered < 2 || s.Sent < s.Missed+s.Answered {
			w.t.Errorf("%+v", s)
		}
		synctest.Wait()
		if len(w.prober.waiting) > 1 {
			w.t.Errorf("%d probes are remembered", len(w.prober.waiting))
		}
	})
}

// Only UDP devices behind a NAT are asked, or all over UDP, or none.
func TestWhoIsAsked(t *testing.T) {
	for mode, want := range map[location.ProbeMode]string{location.ProbeNAT: "sip:d1@10.0.0.1", location.ProbeAll: "sip:d1@10.0.0.1 sip:d2@10.0.0.1", location.ProbeNone: ""} {
		play(t, mode, Config{}, func(w *world) {
			w.add(1, nil)
			w.add(2, func(b *location.Binding) { b.BehindNAT = false })
			w.add(3, func(b *location.Binding) { b.Path = "<sip:edge;lr>" })
			w.add(4, func(b *location.Binding) { b.Flow.Transport, b.Flow.Conn, b.BehindNAT = sip.TCP, 9, false })
			time.Sleep(90 * time.Second)
			w.mu.Lock()
			defer w.mu.Unlock()
			seen := map[string]bool{}
			for _, uri := range w.sent {
				seen[uri] = true
			}
			for _, uri := range strings.Fields(want) {
				if !seen[uri] {
					w.t.Errorf("mode %d: %s was not asked", mode, uri)
				}
				delete(seen, uri)
			}
			if len(seen) > 0 {
				w.t.Errorf("mode %d: %v were asked", mode, seen)
			}
		})
	}
}

// Answers to other requests, and forged ones, change nothing.
func TestForeignAnswers(t *testing.T) {
	play(t, location.ProbeNAT, Config{}, func(w *world) {
		w.add(1, nil)
		w.silence(flow(1), true)
		time.Sleep(3 * time.Minute)
		for branch, ours := range map[string]bool{"z9hG4bKother": false, branchPrefix + "1.guess.1": true, branchPrefix + "-": true, branchPrefix: true} {
			m := new(sip.Message)
			if err := m.Parse([]byte("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=" + branch + "\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:a@h>;tag=2\r\n" +
				"Call-ID: c\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n")); err != nil {
				w.t.Fatal(err)
			}
			if w.prober.Response(m) != ours {
				w.t.Errorf("%s", branch)
			}
		}
		if b := w.binding(1); b.State != location.Suspect {
			w.t.Error("a forged answer counts")
		}
	})
}
