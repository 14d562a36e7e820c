package location_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"onhook/internal/feed"
	"onhook/internal/location"
	"onhook/internal/location/journaltest"
	"onhook/internal/sip"
)

// edit is an Editor made of a function.
type edit struct {
	do   func(*location.Set) error
	done chan error
}

func (e *edit) Edit(s *location.Set) error { return e.do(s) }
func (e *edit) Committed(err error)        { e.done <- err }

// begin starts an update and returns where its outcome comes.
func begin(x *location.Index, key location.Key, do func(*location.Set) error) (<-chan error, error) {
	e := &edit{do, make(chan error, 1)}
	return e.done, x.Update(key, e)
}

func update(x *location.Index, key location.Key, do func(*location.Set) error) error {
	done, err := begin(x, key, do)
	if err != nil {
		return err
	}
	return <-done
}

// set registers a contact, as a new binding or in the place of the equal one.
func set(contact string, flow sip.Flow, expires time.Duration) func(*location.Set) error {
	return func(s *location.Set) error {
		b := location.Binding{Contact: contact, Q: 1000, CallID: "call", CSeq: 1, Flow: flow, Expires: s.Now.Add(expires),
			FlowBound: flow.Transport.Reliable()}
		for i := range s.Bindings {
			if s.Bindings[i].Contact == contact {
				s.Refresh(i, b)
				return nil
			}
		}
		s.Add(b)
		return nil
	}
}

func remove(contact string) func(*location.Set) error {
	return func(s *location.Set) error {
		for i := range s.Bindings {
			if s.Bindings[i].Contact == contact {
				s.Remove(i, location.Unregistered)
				return nil
			}
		}
		return nil
	}
}

func contacts(x *location.Index, key location.Key) []string {
	list := []string{}
	for _, b := range x.Lookup(key, nil) {
		list = append(list, b.Contact)
	}
	return list
}

func expect(t *testing.T, x *location.Index, key location.Key, want ...string) {
	t.Helper()
	if got := contacts(x, key); !slices.Equal(got, want) && len(got)+len(want) > 0 {
		t.Errorf("bindings of %d: %v, want %v", key, got, want)
	}
	if x.Registered(key) != (len(want) > 0) {
		t.Errorf("Registered(%d) = %v, want %v", key, x.Registered(key), len(want) > 0)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var (
	udp     = sip.Flow{Transport: sip.UDP, Remote: netip.MustParseAddrPort("192.0.2.1:5060")}
	tcp     = sip.Flow{Transport: sip.TCP, Conn: 11, Remote: netip.MustParseAddrPort("192.0.2.1:40000")}
	wss     = sip.Flow{Transport: sip.WSS, Conn: 12, Remote: netip.MustParseAddrPort("192.0.2.1:40001")}
	errFull = errors.New("no space left on device")
)

// start runs an index until the test ends. Inside a synctest bubble the test
// closes it itself.
func start(t *testing.T, cfg location.Config) *location.Index {
	t.Helper()
	if cfg.Journal == nil {
		cfg.Journal = journaltest.NewMemory()
	}
	x := location.New(cfg)
	must(t, x.Load())
	ready := make(chan struct{})
	go func() {
		close(ready)
		_ = x.Run(context.Background())
	}()
	<-ready
	return x
}

func TestLookupNewestFirst(t *testing.T) {
	x := start(t, location.Config{})
	defer x.Close()
	must(t, update(x, 1, set("sip:a@h", udp, time.Hour)))
	must(t, update(x, 1, set("sip:b@h", udp, time.Hour)))
	must(t, update(x, 2, set("sip:c@h", udp, time.Hour)))
	must(t, update(x, 1, set("sip:a@h", udp, time.Minute))) // a refresh keeps its place
	expect(t, x, 1, "sip:b@h", "sip:a@h")
	expect(t, x, 2, "sip:c@h")
	expect(t, x, 3)
	if keys := x.RegisteredKeys(); len(keys) != 2 || x.CountKeys() != 2 || x.Count() != 3 {
		t.Errorf("keys %v, %d keys, %d bindings", keys, x.CountKeys(), x.Count())
	}
	all := x.Lookup(1, x.Lookup(2, nil))
	if len(all) != 3 || all[0].ID == all[1].ID || all[1].ID == all[2].ID || len(all[0].ID) != 12 {
		t.Errorf("%+v", all)
	}
	must(t, update(x, 1, remove("sip:a@h")))
	must(t, update(x, 1, remove("sip:b@h")))
	expect(t, x, 1)
	if x.CountKeys() != 1 || x.Count() != 1 {
		t.Errorf("%d keys, %d bindings after removal", x.CountKeys(), x.Count())
	}
}

func TestEditErrorChangesNothing(t *testing.T) {
	x := start(t, location.Config{})
	defer x.Close()
	must(t, update(x, 1, set("sip:a@h", udp, time.Hour)))
	refused := errors.New("refused")
	err := update(x, 1, func(s *location.Set) error {
		s.Remove(0, location.Unregistered)
		return refused
	})
	if !errors.Is(err, refused) {
		t.Errorf("got %v", err)
	}
	expect(t, x, 1, "sip:a@h")
}

// A reply waits for the journal; changes that gather meanwhile share a batch.
func TestGroupCommit(t *testing.T) {
	j := journaltest.NewMemory()
	x := start(t, location.Config{Journal: j})
	defer x.Close()
	entered, release := j.Hold()
	first, err := begin(x, 0, set("sip:a@h", udp, time.Hour))
	must(t, err)
	<-entered
	var waiting []<-chan error
	for key := range location.Key(100) {
		done, err := begin(x, key+1, set("sip:a@h", udp, time.Hour))
		must(t, err)
		waiting = append(waiting, done)
	}
	select {
	case <-first:
		t.Fatal("answered before it was durable")
	default:
	}
	release()
	must(t, <-first)
	for _, done := range waiting {
		must(t, <-done)
	}
	if n := j.Commits(); n != 2 {
		t.Errorf("%d commits for one change and 100 that waited behind it", n)
	}
}

func TestQueueIsBounded(t *testing.T) {
	j := journaltest.NewMemory()
	x := start(t, location.Config{Journal: j, MaxPending: 3})
	defer x.Close()
	entered, release := j.Hold()
	var waiting []<-chan error
	for key := range location.Key(3) {
		done, err := begin(x, key, set("sip:a@h", udp, time.Hour))
		must(t, err)
		waiting = append(waiting, done)
	}
	<-entered
	if _, err := begin(x, 9, set("sip:a@h", udp, time.Hour)); !errors.Is(err, location.ErrBusy) {
		t.Errorf("over the bound: %v", err)
	}
	expect(t, x, 9)
	release()
	for _, done := range waiting {
		must(t, <-done)
	}
	must(t, update(x, 9, set("sip:a@h", udp, time.Hour)))
	if s := x.Stats(); s.Refused != 1 || s.Keys != 4 {
		t.Errorf("%+v", s)
	}
}

func TestFailedCommitIsTakenBack(t *testing.T) {
	j := journaltest.NewMemory()
	x := start(t, location.Config{Journal: j})
	defer x.Close()
	told := x.Subscribe(10)
	must(t, update(x, 1, set("sip:a@h", udp, time.Hour)))
	must(t, update(x, 3, set("sip:c@h", tcp, time.Hour)))
	j.Fail(errFull)
	if err := update(x, 1, set("sip:b@h", udp, time.Hour)); !errors.Is(err, errFull) {
		t.Errorf("new binding: %v", err)
	}
	if err := update(x, 2, set("sip:b@h", udp, time.Hour)); !errors.Is(err, errFull) {
		t.Errorf("new key: %v", err)
	}
	if err := update(x, 3, remove("sip:c@h")); !errors.Is(err, errFull) {
		t.Errorf("removal: %v", err)
	}
	if _, err := x.EndAll(t.Context(), 3, location.CredentialsChanged); !errors.Is(err, errFull) {
		t.Errorf("EndAll: %v", err)
	}
	expect(t, x, 1, "sip:a@h")
	expect(t, x, 2)
	expect(t, x, 3, "sip:c@h")
	if !x.FlowInUse(tcp) || x.Count() != 2 || x.CountKeys() != 2 {
		t.Errorf("flow in use %v, %+v", x.FlowInUse(tcp), x.Stats())
	}
	j.Fail(nil) // recovery without restart
	must(t, update(x, 2, set("sip:b@h", udp, time.Hour)))
	expect(t, x, 2, "sip:b@h")
	for _, want := range []location.Key{1, 3, 2} { // nothing was told of what failed
		e, err := told.Next(t.Context())
		if err != nil || e.Type != location.Registered || e.Key != want {
			t.Errorf("%v of %d, %v", e.Type, e.Key, err)
		}
	}
}

// The outcome of a later change in flight decides what memory holds.
func TestFailedCommitBehindLaterChange(t *testing.T) {
	j := journaltest.NewMemory()
	x := start(t, location.Config{Journal: j})
	defer x.Close()
	entered, release := j.Hold()
	first, err := begin(x, 1, set("sip:a@h", udp, time.Hour))
	must(t, err)
	<-entered
	second, err := begin(x, 1, set("sip:b@h", udp, time.Hour))
	must(t, err)
	j.Fail(errFull)
	release()
	if err := <-first; !errors.Is(err, errFull) {
		t.Error(err)
	}
	if err := <-second; !errors.Is(err, errFull) {
		t.Error(err)
	}
	expect(t, x, 1)
}

// A connection that closed while the change that fails was in flight stays
// closed: what comes back is judged by whether it is alive.
func TestTakenBackBindingOfDeadConnection(t *testing.T) {
	j := journaltest.NewMemory()
	x := start(t, location.Config{Journal: j, Alive: func(sip.Flow) bool { return false }})
	defer x.Close()
	must(t, update(x, 1, set("sip:a@h", tcp, time.Hour)))
	j.Fail(errFull)
	if err := update(x, 1, remove("sip:a@h")); !errors.Is(err, errFull) {
		t.Error(err)
	}
	expect(t, x, 1)
}

func TestExpiryOnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := journaltest.NewMemory()
		x := start(t, location.Config{Journal: j})
		told := x.Subscribe(10)
		must(t, update(x, 1, set("sip:a@h", udp, 60*time.Second)))
		must(t, update(x, 1, set("sip:b@h", udp, 90*time.Second)))
		must(t, update(x, 2, set("sip:c@h", udp, 30*time.Second)))
		time.Sleep(20 * time.Second)
		must(t, update(x, 2, set("sip:c@h", udp, 60*time.Second))) // refreshed: until 80 s
		time.Sleep(40*time.Second - time.Millisecond)
		expect(t, x, 1, "sip:b@h", "sip:a@h")
		time.Sleep(time.Millisecond)
		expect(t, x, 1, "sip:b@h")
		synctest.Wait()
		if x.Count() != 2 {
			t.Errorf("%d bindings at 60 s", x.Count())
		}
		time.Sleep(40 * time.Second)
		synctest.Wait()
		if x.Count() != 0 || x.CountKeys() != 0 {
			t.Errorf("%+v at 100 s", x.Stats())
		}
		left := 0
		must(t, j.Load(func(location.Key, []byte) error { left++; return nil }))
		if left != 0 {
			t.Errorf("%d records left in the journal", left)
		}
		began := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
		for _, want := range []string{"registered 0", "registered 0", "registered 0", "expired 60", "expired 80", "expired 90"} {
			e, err := told.Next(t.Context())
			if got := fmt.Sprint(e.Type, " ", int(e.At.Sub(began).Seconds())); err != nil || got != want {
				t.Errorf("event %q, want %q (%v)", got, want, err)
			}
		}
		x.Close()
	})
}

// When a storm's bindings all expire at once, there is room for devices all
// the same.
func TestExpiryLeavesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := journaltest.NewMemory()
		x := start(t, location.Config{Journal: j, MaxPending: 10})
		for key := range location.Key(100) {
			must(t, update(x, key, set("sip:a@h", udp, time.Minute)))
		}
		_, release := j.Hold()
		time.Sleep(time.Minute)
		synctest.Wait()
		for key := range location.Key(100) {
			expect(t, x, key)
		}
		if s := x.Stats(); s.Pending != 5 {
			t.Errorf("%d changes wait", s.Pending)
		}
		done, err := begin(x, 1000, set("sip:a@h", udp, time.Minute))
		must(t, err)
		release()
		must(t, <-done)
		time.Sleep(10 * time.Second)
		if s := x.Stats(); s.Keys != 1 || s.Refused != 0 {
			t.Errorf("%+v", s)
		}
		x.Close()
	})
}

// What has ended stays ended although the disk is full, and the journal
// follows when it can.
func TestExpiryWhileDiskIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := journaltest.NewMemory()
		x := start(t, location.Config{Journal: j})
		told := x.Subscribe(10)
		must(t, update(x, 1, set("sip:a@h", udp, time.Minute)))
		j.Fail(errFull)
		time.Sleep(time.Hour)
		expect(t, x, 1)
		if s := x.Stats(); s.JournalFailures > 3*3600 {
			t.Errorf("%d attempts in an hour", s.JournalFailures)
		}
		j.Fail(nil)
		time.Sleep(time.Second)
		synctest.Wait()
		if v, _ := j.Get(1, nil); len(v) != 0 {
			t.Error("the journal still holds the expired binding")
		}
		for _, want := range []location.EventType{location.Registered, location.Expired} {
			if e, err := told.Next(t.Context()); err != nil || e.Type != want {
				t.Errorf("%v, %v, want %v", e.Type, err, want)
			}
		}
		x.Close()
	})
}

func TestEnd(t *testing.T) {
	x := start(t, location.Config{})
	defer x.Close()
	must(t, update(x, 1, set("sip:a@h", udp, time.Hour)))
	must(t, update(x, 1, set("sip:b@h", tcp, time.Hour)))
	must(t, update(x, 1, set("sip:c@h", udp, time.Hour)))
	id := x.Lookup(1, nil)[1].ID
	b, ok, err := x.End(t.Context(), 1, id, location.Unregistered)
	if err != nil || !ok || b.Contact != "sip:b@h" || x.FlowInUse(tcp) {
		t.Errorf("%v %v %v", b, ok, err)
	}
	for _, id := range []string{id, ""} {
		if _, ok, err := x.End(t.Context(), 1, id, location.Unregistered); ok || err != nil {
			t.Errorf("End of %q that is not there: %v %v", id, ok, err)
		}
	}
	ended, err := x.EndAll(t.Context(), 1, location.CredentialsChanged)
	if err != nil || len(ended) != 2 || ended[0].Contact != "sip:c@h" {
		t.Errorf("%v %v", ended, err)
	}
	expect(t, x, 1)
	if ended, err := x.EndAll(t.Context(), 1, location.CredentialsChanged); err != nil || len(ended) != 0 {
		t.Errorf("again: %v %v", ended, err)
	}
}

func TestCloseFinishesWhatWaits(t *testing.T) {
	j := journaltest.NewMemory()
	x := start(t, location.Config{Journal: j})
	told := x.Subscribe(10)
	entered, release := j.Hold()
	done, err := begin(x, 1, set("sip:a@h", udp, time.Hour))
	must(t, err)
	<-entered
	closed := make(chan struct{})
	go func() { x.Close(); close(closed) }()
	release()
	must(t, <-done)
	<-closed
	if err := update(x, 2, set("sip:a@h", udp, time.Hour)); !errors.Is(err, location.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if e, err := told.Next(t.Context()); err != nil || e.Type != location.Registered {
		t.Errorf("the feed lost what was there: %v %v", e, err)
	}
	if _, err := told.Next(t.Context()); !errors.Is(err, feed.ErrClosed) {
		t.Errorf("the feed goes on: %v", err)
	}
	x.Close()
}

func TestConcurrency(t *testing.T) {
	j := journaltest.NewMemory()
	x := start(t, location.Config{Journal: j, MaxPending: 64, Bound: func(sip.Flow) {}, Idle: func(sip.Flow) {}})
	told := x.Subscribe(4)
	var workers, reader sync.WaitGroup
	reader.Go(func() {
		for {
			if _, err := told.Next(context.Background()); err != nil {
				return
			}
		}
	})
	for w := range 8 {
		workers.Go(func() {
			for i := range 500 {
				key := location.Key(i % 20)
				flow := sip.Flow{Transport: sip.TCP, Conn: uint64(1 + (w*500+i)%40), Remote: tcp.Remote}
				switch i % 6 {
				case 0:
					_ = update(x, key, remove(fmt.Sprint("sip:", w, "@h")))
				case 1:
					x.FlowClosed(flow)
				case 2:
					x.OnFlow(flow, nil)
					x.RegisteredKeys()
				case 3:
					if i%12 == 3 {
						j.Fail(errFull)
					} else {
						j.Fail(nil)
					}
					_, _ = x.EndAll(context.Background(), key, location.CredentialsChanged)
				default:
					_ = update(x, key, set(fmt.Sprint("sip:", w, "@h"), flow, time.Hour))
				}
				x.Lookup(key, nil)
			}
		})
	}
	workers.Wait()
	j.Fail(nil)
	for key := range location.Key(20) { // memory and journal are one again
		must(t, update(x, key, set("sip:last@h", udp, time.Hour)))
		_, err := x.EndAll(t.Context(), key, location.Unregistered)
		must(t, err)
	}
	for conn := range uint64(41) {
		if f := (sip.Flow{Transport: sip.TCP, Conn: conn}); x.FlowInUse(f) {
			t.Errorf("connection %d is still in use", conn)
		}
	}
	x.Close()
	reader.Wait()
	if s := x.Stats(); s.Keys != 0 || s.Bindings != 0 || s.Pending != 0 {
		t.Errorf("%+v", s)
	}
	must(t, j.Load(func(key location.Key, _ []byte) error { return fmt.Errorf("%d is in the journal", key) }))
}

// After a commit of many changes the next one keeps its distance, unless it comes
// late anyway; after one of few nobody waits.
func TestCommitInterval(t *testing.T) {
	for _, tc := range []struct {
		together    int
		pause, want time.Duration
	}{
		{7, 0, 0},
		{8, 0, time.Millisecond},
		{8, time.Millisecond, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			x := location.New(location.Config{Journal: journaltest.NewMemory(), CommitInterval: time.Millisecond})
			for key := range location.Key(tc.together) { // before there is anybody to commit them
				_, err := begin(x, key, set("sip:a@h", udp, time.Hour))
				must(t, err)
			}
			go func() { _ = x.Run(context.Background()) }()
			time.Sleep(tc.pause)
			synctest.Wait()
			began := time.Now()
			must(t, update(x, 1, set("sip:a@h", udp, time.Hour)))
			if took := time.Since(began); took != tc.want {
				t.Errorf("%v after %d together it took %v, want %v", tc.pause, tc.together, took, tc.want)
			}
			x.Close()
		})
	}
}
