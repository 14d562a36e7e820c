package callguard

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

var start = time.Unix(1_000_000, 0)

func (g *Guard) expect(t *testing.T, at time.Duration, want Verdict, which int, subjects ...Subject) {
	t.Helper()
	if v, w := g.Begin(start.Add(at), subjects); v != want || w != which {
		t.Errorf("at %v: verdict %d of %d, want %d of %d", at, v, w, want, which)
	}
}

func TestConcurrent(t *testing.T) {
	g := New()
	phone := Subject{Key: Key{Endpoint: 1}, ConcurrentCalls: 2}
	other := Subject{Key: Key{Endpoint: 2}}
	office := Subject{Key: Key{Account: "MA_A"}, ConcurrentCalls: 3}
	g.expect(t, 0, Allowed, 0, phone, office)
	g.expect(t, 0, Allowed, 0, phone, office)
	g.expect(t, 0, Concurrent, 0, phone, office)
	g.expect(t, 0, Allowed, 0, other, office)
	g.expect(t, 0, Concurrent, 1, other, office)
	if n := g.Open(other.Key); n != 1 {
		t.Errorf("a refused call is counted: %d", n)
	}
	g.End(phone.Key, office.Key)
	g.expect(t, 0, Allowed, 0, phone, office)
	phone.ConcurrentCalls = 0 // the limit is taken away, the count goes on
	g.End(other.Key, office.Key)
	g.expect(t, 0, Allowed, 0, phone, office)
	if n := g.Open(phone.Key); n != 3 {
		t.Errorf("%d calls are counted, want 3", n)
	}
}

// Calls that are resumed count, and are over no limit themselves.
func TestResume(t *testing.T) {
	g := New()
	phone := Subject{Key: Key{Endpoint: 1}, ConcurrentCalls: 1, CallsPerSecond: 5}
	g.Resume(phone.Key, Key{Account: "MA_A"})
	g.Resume(phone.Key, Key{Account: "MA_A"})
	g.expect(t, 0, Concurrent, 0, phone)
	g.End(phone.Key, Key{Account: "MA_A"})
	g.expect(t, 0, Concurrent, 0, phone)
	g.End(phone.Key, Key{Account: "MA_A"})
	g.expect(t, 0, Allowed, 0, phone)
}

func TestPerSecond(t *testing.T) {
	g := New()
	phone := Subject{Key: Key{Endpoint: 1}, CallsPerSecond: 2}
	office := Subject{Key: Key{Account: "MA_A"}, ConcurrentCalls: 5}
	g.expect(t, 0, Allowed, 0, phone)
	g.expect(t, 0, Allowed, 0, phone)
	g.expect(t, 100*time.Millisecond, PerSecond, 0, phone)
	if v, _ := g.Would(start.Add(400*time.Millisecond), []Subject{phone}); v != PerSecond {
		t.Errorf("would be %d", v)
	}
	if v, _ := g.Would(start.Add(600*time.Millisecond), []Subject{phone}); v != Allowed {
		t.Errorf("would be %d", v)
	}
	g.expect(t, 600*time.Millisecond, Allowed, 0, phone)
	g.expect(t, 700*time.Millisecond, PerSecond, 0, phone)
	g.expect(t, time.Hour, Allowed, 0, phone, office)
	g.expect(t, time.Hour, Allowed, 0, phone, office)
	g.expect(t, time.Hour, PerSecond, 0, phone, office)
}

// A call that one subject refuses leaves no trace with the others.
func TestRefusedLeavesNoTrace(t *testing.T) {
	g := New()
	phone := Subject{Key: Key{Endpoint: 1}, CallsPerSecond: 1}
	full := Subject{Key: Key{Account: "MA_A"}, ConcurrentCalls: 1}
	g.expect(t, 0, Allowed, 0, full)
	g.expect(t, 0, Concurrent, 1, phone, full)
	g.expect(t, 0, Allowed, 0, phone)
}

// What nobody uses any more goes while others are counted.
func TestBounded(t *testing.T) {
	g := New()
	for i := range 50_000 {
		k := Key{Endpoint: uint64(i)}
		g.Begin(start.Add(time.Duration(i)*time.Millisecond), []Subject{{Key: k, CallsPerSecond: 1}})
		g.End(k)
	}
	n := 0
	for i := range g.shards {
		n += len(g.shards[i].entries)
	}
	if n > 5_000 {
		t.Errorf("%d entries are left", n)
	}
}

func TestAtOnce(t *testing.T) {
	g := New()
	office := Subject{Key: Key{Account: "MA_A"}, ConcurrentCalls: 10}
	var wait sync.WaitGroup
	var mu sync.Mutex
	allowed := 0
	for i := range 100 {
		wait.Go(func() {
			v, _ := g.Begin(start, []Subject{{Key: Key{Account: fmt.Sprint(i)}}, office})
			mu.Lock()
			defer mu.Unlock()
			if v == Allowed {
				allowed++
			}
		})
	}
	wait.Wait()
	if allowed != 10 {
		t.Errorf("%d calls were allowed, want 10", allowed)
	}
}
