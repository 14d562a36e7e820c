package sipproxy

import (
	"context"
	"maps"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"onhook/internal/account"
	"onhook/internal/callrecord"
	"onhook/internal/location"
)

// notebook is a journal in memory.
type notebook struct {
	mu      sync.Mutex
	records map[location.Key][]byte
	killed  bool // the process that writes is: what it would write does not arrive
}

func (n *notebook) kill()   { n.set(true) }
func (n *notebook) revive() { n.set(false) }

func (n *notebook) set(killed bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.killed = killed
}

func (n *notebook) Commit(batch []location.Record) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.killed {
		return nil
	}
	for _, r := range batch {
		if len(r.Value) == 0 {
			delete(n.records, r.Key)
		} else {
			n.records[r.Key] = append([]byte(nil), r.Value...)
		}
	}
	return nil
}

func (n *notebook) Load(f func(location.Key, []byte) error) error {
	for key, value := range n.all() {
		if err := f(key, value); err != nil {
			return err
		}
	}
	return nil
}

// all is what the journal holds now.
func (n *notebook) all() map[location.Key][]byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.records)
}

func (n *notebook) Get(location.Key, []byte) ([]byte, error) { return nil, nil }
func (n *notebook) Close() error                             { return nil }

// journalled gives the world's proxy a journal.
func (w *world) journalled() *notebook {
	w.t.Helper()
	n := &notebook{records: map[location.Key][]byte{}}
	w.proxy.Config.Journal = n
	w.restart()
	return n
}

// restart puts another process in the proxy's place: what the last one had in
// memory is gone. It runs until the test ends.
func (w *world) restart() {
	w.t.Helper()
	if w.stop != nil {
		w.stop()
	}
	layer := newLayer(w)
	w.layer = layer
	c := w.proxy.Config
	c.Transactions = layer
	proxy, err := New(c)
	if err != nil {
		w.t.Fatal(err)
	}
	w.proxy = proxy
	if err := proxy.Load(); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = layer.Run(ctx) })
	running.Go(func() {
		if err := proxy.Run(ctx); err != nil {
			w.t.Error(err)
		}
	})
	w.stop = func() {
		cancel()
		running.Wait()
	}
}

// An established call goes on after a restart: it is live, its re-INVITEs and
// BYEs are let in, it can be ended, and its record tells the whole of it.
func TestCallIsResumed(t *testing.T) {
	inWorld(t, func(w *world) {
		w.journalled()
		began := time.Now()
		_, ok := w.established()
		time.Sleep(2 * time.Second)
		w.restart()
		live := w.proxy.Live("MA_ALICE")
		if len(live) != 1 || live[0].Status != callrecord.InProgress || !live[0].Start.Equal(began) {
			t.Fatalf("live: %+v", live)
		}
		w.receive(caller, inDialog("INFO", 5, ok))
		w.receive(deviceA, response(w.next(deviceA, "INFO"), 200, "a"))
		w.next(caller, "SIP/2.0 200")
		time.Sleep(time.Second)
		w.restart()
		time.Sleep(time.Second)
		if !w.proxy.End(live[0].ID, EndByAPI) {
			t.Fatal("not ended")
		}
		if m := w.next(deviceA, "BYE sip:bob@192.0.2.20:5060 "); m.CSeq <= 5 || m.To.Tag() != "a" {
			t.Errorf("%s", m.Bytes())
		}
		w.next(caller, "BYE sip:alice@192.0.2.10:5060 ")
		if r := w.record("MA_BOB"); r.Cause != callrecord.EndedByAPI || r.Duration(time.Time{}) != 4*time.Second {
			t.Errorf("%+v", r)
		}
	})
}

// A call may last no longer for a restart in the middle of it.
func TestLimitOutlivesRestart(t *testing.T) {
	inWorld(t, func(w *world) {
		w.journalled()
		w.established()
		c := w.proxy.calls.get(w.proxy.Live("MA_ALICE")[0].ID)
		c.mu.Lock()
		c.longest = 10 * time.Second
		w.proxy.keep(c)
		c.mu.Unlock()
		time.Sleep(4 * time.Second)
		w.restart()
		time.Sleep(5 * time.Second)
		w.nothing(deviceA)
		time.Sleep(2 * time.Second)
		w.next(deviceA, "BYE")
		if r := w.record("MA_BOB"); r.Cause != callrecord.DurationReached || r.Billed(time.Time{})/time.Second != 10 {
			t.Errorf("%+v", r)
		}
	})
}

// The cookie of a call that ended before a restart is worth nothing after it.
func TestEndedCallStaysEnded(t *testing.T) {
	inWorld(t, func(w *world) {
		n := w.journalled()
		_, ok := w.established()
		w.receive(caller, inDialog("BYE", 2, ok))
		w.receive(deviceA, response(w.next(deviceA, "BYE"), 200, "a"))
		w.next(caller, "SIP/2.0 200")
		time.Sleep(time.Second)
		w.proxy.Stored([]CallID{w.record("MA_ALICE").ID})
		time.Sleep(time.Second)
		refused := func(cseq int) {
			t.Helper()
			w.restart()
			w.receive(caller, inDialog("INFO", cseq, ok))
			w.next(caller, "SIP/2.0 403")
			w.nothing(deviceA)
			if live := w.proxy.Live("MA_ALICE"); len(live) != 0 {
				t.Errorf("live: %+v", live)
			}
		}
		refused(3)
		time.Sleep(3 * longestRing) // its ID is forgotten
		if left := len(n.all()); left != 1 {
			t.Errorf("%d records are left in the journal", left)
		}
		refused(4)
	})
}

// A record that was not stored before a restart is handed on after it.
func TestLateRecord(t *testing.T) {
	inWorld(t, func(w *world) {
		w.journalled()
		w.begin(invite, udp(caller), alice, binding(deviceA))
		w.receive(deviceA, response(w.next(deviceA, "INVITE"), 486, "a"))
		want := w.record("MA_ALICE")
		time.Sleep(time.Second)
		w.records = nil
		w.restart()
		if got := w.record("MA_ALICE"); !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, wants\n%+v", got, want)
		}
	})
}

// The phones of a call that rang at the restart are told that it is over.
func TestRingingAtRestart(t *testing.T) {
	inWorld(t, func(w *world) {
		w.journalled()
		w.begin(invite, udp(caller), alice, binding(deviceA))
		w.next(caller, "SIP/2.0 100")
		a := w.next(deviceA, "INVITE")
		w.receive(deviceA, response(a, 180, "a"))
		w.next(caller, "SIP/2.0 180")
		time.Sleep(3 * time.Second)
		w.restart()
		m := w.next(caller, "SIP/2.0 480")
		if m.CSeqMethod != "INVITE" || m.To.Tag() == "" || field(m, ReasonHeader) != "server.restarted" || m.Via.Branch() != "z9hG4bKinvite" {
			t.Errorf("%s", m.Bytes())
		}
		c := w.next(deviceA, "CANCEL sip:bob@192.0.2.20:5060 ")
		if c.Via.Branch() != a.Via.Branch() {
			t.Errorf("the CANCEL's branch is %s, the INVITE's %s", c.Via.Branch(), a.Via.Branch())
		}
		if r := w.record("MA_ALICE"); r.Reason != "server.restarted" || r.Live() || !r.Answer.IsZero() {
			t.Errorf("%+v", r)
		}
		if live := w.proxy.Live("MA_ALICE"); len(live) != 0 {
			t.Errorf("live: %+v", live)
		}
	})
}

// A call that was answered after the last write of a process that was killed goes
// on by its cookie, though it rang for long enough to be in the journal.
func TestAnsweredBeforeKill(t *testing.T) {
	inWorld(t, func(w *world) {
		n := w.journalled()
		w.begin(invite, udp(caller), alice, binding(deviceA))
		w.next(caller, "SIP/2.0 100")
		a := w.next(deviceA, "INVITE")
		w.receive(deviceA, response(a, 180, "a"))
		w.next(caller, "SIP/2.0 180")
		time.Sleep(3 * time.Second)
		n.kill()
		w.receive(deviceA, response(a, 200, "a"))
		ok := w.next(caller, "SIP/2.0 200")
		w.receive(caller, inDialog("ACK", 1, ok))
		w.next(deviceA, "ACK")
		w.restart()
		w.next(caller, "SIP/2.0 480") // which it passes over
		c := w.next(deviceA, "CANCEL")
		w.receive(deviceA, response(c, 481, "a"))
		w.receive(caller, inDialog("BYE", 2, ok))
		w.receive(deviceA, response(w.next(deviceA, "BYE"), 200, "a"))
		for w.next(caller, "SIP/2.0 ").CSeqMethod != "BYE" { // the 480 is repeated
		}
		w.receive(caller, inDialog("INFO", 3, ok))
		w.next(caller, "SIP/2.0 403")
	})
}

// A call of which a killed process could write nothing goes on by its cookie, and
// its record is made of that.
func TestCallKnownByItsCookie(t *testing.T) {
	inWorld(t, func(w *world) {
		w.proxy.Config.Owners = func(id account.EndpointID) (string, string) {
			owner := map[account.EndpointID]string{3: "MA_ALICE", 7: "MA_BOB"}[id]
			return owner, owner
		}
		n := w.journalled()
		time.Sleep(time.Second)
		n.kill()
		_, ok := w.established()
		began := time.Now().UTC()
		time.Sleep(5 * time.Second)
		if left := len(n.all()); left != 1 {
			t.Fatalf("%d records are in the journal, want that of the epochs", left)
		}
		n.revive()
		w.restart()
		w.receive(caller, inDialog("INFO", 2, ok))
		w.receive(deviceA, response(w.next(deviceA, "INFO"), 200, "a"))
		w.next(caller, "SIP/2.0 200")
		if live := w.proxy.Live("MA_ALICE"); len(live) != 1 || live[0].Status != callrecord.InProgress {
			t.Errorf("live: %+v", live)
		}
		w.receive(caller, inDialog("BYE", 3, ok))
		w.receive(deviceA, response(w.next(deviceA, "BYE"), 200, "a"))
		r := w.record("MA_BOB")
		if r.Direction != callrecord.Inbound || r.Endpoint != 7 || r.From != "sip:alice@elsewhere.example" || r.To != "sip:bob@example.com" {
			t.Errorf("%+v", r)
		}
		if r.Status != callrecord.Completed || !r.Start.Equal(began) || r.Billed(time.Time{}) != 5*time.Second || len(r.Legs) != 1 || r.Legs[0].SIPCode != 200 {
			t.Errorf("%+v", r)
		}
		if w.record("MA_ALICE").ID != r.ID {
			t.Error("another call is alice's")
		}
	})
}

// A record of the journal that cannot be read is given up, whatever is in it.
func TestDamagedCall(t *testing.T) {
	inWorld(t, func(w *world) {
		n := w.journalled()
		w.established()
		time.Sleep(time.Second)
		var whole []byte
		for key, value := range n.all() {
			if key != epochsKey {
				whole = value
			}
		}
		r := &journalReader{b: whole[2:]}
		if c := readCall(r); r.failed || len(r.b) != 0 || !strings.Contains(c.fromHeader, "alice") {
			t.Fatal("the whole one cannot be read")
		}
		for n := range whole[:len(whole)-1] {
			if _, err := w.proxy.restore(whole[:n], nil, time.Now()); err == nil && n > 0 {
				t.Errorf("cut at %d, it is taken", n)
			}
		}
	})
}

// counted is a limiter that counts the calls of one endpoint.
type counted struct{ open int }

func (c *counted) Begin(Caller, time.Time) (time.Duration, *Refusal) { c.open++; return 0, nil }
func (c *counted) Resume(account.EndpointID, string, string)         { c.open++ }
func (c *counted) Over(id account.EndpointID, owner, main string)    { c.open-- }

// A call from before a restart counts among those of its caller, until it ends.
func TestResumedCallCounts(t *testing.T) {
	inWorld(t, func(w *world) {
		w.proxy.Config.Limiter = &counted{}
		w.journalled()
		_, ok := w.established()
		time.Sleep(time.Second)
		after := &counted{}
		w.proxy.Config.Limiter = after
		w.restart()
		if after.open != 1 {
			t.Errorf("%d calls are counted after the restart, want 1", after.open)
		}
		w.receive(caller, inDialog("BYE", 2, ok))
		w.receive(deviceA, response(w.next(deviceA, "BYE"), 200, "a"))
		w.next(caller, "SIP/2.0 200")
		if after.open != 0 {
			t.Errorf("%d calls are counted after its end", after.open)
		}
	})
}
