package eventlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"onhook/internal/event"
)

func open(t *testing.T, cfg Config) *Log {
	t.Helper()
	l, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// source makes events that are numbered per account.
type source struct {
	ids *event.IDs
	n   map[string]int
	now time.Time
}

func newSource() *source {
	return &source{ids: event.NewIDs(event.ID{}), n: map[string]int{}, now: time.Now()}
}

func (s *source) make(account, main string, typ event.Type) event.Event {
	s.n[account]++
	return event.Event{ID: s.ids.Next(s.now), Type: typ, Account: account, Main: main, Key: 3, Seq: int64(s.n[account]),
		Body: fmt.Appendf(nil, `{"n":"%s%d"}`, account, s.n[account])}
}

func (s *source) append(t *testing.T, l *Log, accounts ...string) (made []event.Event) {
	t.Helper()
	for _, a := range accounts {
		made = append(made, s.make(a, a, event.EndpointCreated))
	}
	if err := l.Append(made); err != nil {
		t.Fatal(err)
	}
	return made
}

func take(t *testing.T, s *Subscription, n int) (got []string) {
	t.Helper()
	for range n {
		e, ok, err := s.Take()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		if e.Type == event.StreamGap {
			got = append(got, "gap")
			continue
		}
		got = append(got, string(e.Body[6:len(e.Body)-2]))
	}
	return got
}

func want(t *testing.T, s *Subscription, names ...string) {
	t.Helper()
	if got := take(t, s, len(names)+1); fmt.Sprint(got) != fmt.Sprint(names) {
		t.Errorf("got %v, want %v", got, names)
	}
}

// A subscription gets what comes, what came after an event, and nothing of
// others; a main account gets its sub-accounts'.
func TestSubscriptions(t *testing.T) {
	l, src := open(t, Config{Dir: t.TempDir()}), newSource()
	made := src.append(t, l, "a", "b", "a")
	now, second, all := l.Subscribe("a", event.Filter{}, nil), l.Subscribe("a", event.Filter{}, &made[0].ID), l.Subscribe("a", event.Filter{}, &event.ID{})
	calls, err := event.ParseFilter([]string{"call.*"})
	if err != nil {
		t.Fatal(err)
	}
	filtered := l.Subscribe("a", calls, &event.ID{})
	want(t, now)
	want(t, second, "a2")
	want(t, all, "a1", "a2")
	src.append(t, l, "b", "a")
	if err := l.Append([]event.Event{src.make("sub", "a", event.CallEnded), {ID: src.ids.Next(src.now), Type: event.StreamGap, Body: []byte(`{}`)}}); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Subscription{now, second, all} {
		want(t, s, "a3", "sub1", "gap")
	}
	want(t, filtered, "sub1", "gap")
	want(t, l.Subscribe("sub", event.Filter{}, &event.ID{}), "sub1", "gap")
	future := made[2].ID
	future[0] = 255
	want(t, l.Subscribe("a", event.Filter{}, &future))

	if e, ok, err := l.Find("a", made[2].ID); err != nil || !ok || !bytes.Equal(e.Body, made[2].Body) || e.Key != 3 {
		t.Errorf("%+v %v %v", e, ok, err)
	}
	if _, ok, err := l.Find("b", made[2].ID); ok || err != nil {
		t.Errorf("another account finds it: %v", err)
	}
	now.End()
	if _, err := now.Next(t.Context()); !errors.Is(err, ErrEnded) {
		t.Error(err)
	}
	if n := l.Stats().Subscribers; n != 5 {
		t.Errorf("%d subscribers", n)
	}
	l.EndAll()
	if _, err := all.Next(t.Context()); !errors.Is(err, ErrEnded) {
		t.Error(err)
	}
}

// A subscriber that is too slow for its memory goes on from the files, without
// a gap and without a repetition.
func TestSlowSubscriber(t *testing.T) {
	l, src := open(t, Config{Dir: t.TempDir(), SegmentBytes: 4 << 10}), newSource()
	s := l.Subscribe("a", event.Filter{}, nil)
	var names []string
	for i := range 3 * maxWaiting {
		src.append(t, l, "a", "b")
		names = append(names, fmt.Sprint("a", i+1))
	}
	half := take(t, s, len(names)/2)
	for i := range 100 {
		src.append(t, l, "a")
		names = append(names, fmt.Sprint("a", 3*maxWaiting+i+1))
	}
	if got := append(half, take(t, s, len(names))...); fmt.Sprint(got) != fmt.Sprint(names) {
		t.Errorf("%d events, want %d", len(got), len(names))
	}
	if l.Stats().Slow == 0 {
		t.Error("it was not too slow")
	}
}

// What was written is there after a restart, and what a crash left half
// written is not; ids and numbers go on.
func TestRestart(t *testing.T) {
	dir, src := t.TempDir(), newSource()
	l := open(t, Config{Dir: dir, SegmentBytes: 256})
	var made []event.Event
	for range 20 {
		made = append(made, src.append(t, l, "a")...)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"+suffix))
	last := files[len(files)-1]
	text, err := os.ReadFile(last)
	if err != nil {
		t.Fatal(err)
	}
	for name, tail := range map[string][]byte{"": nil, "half a header": {0, 0}, "half a frame": {0, 0, 0, 60, 1, 2, 3, 4, 5}, "a huge frame": {255, 0, 0, 0, 0, 0, 0, 0},
		"a wrong sum": append([]byte{0, 0, 0, 1, 9, 9, 9, 9}, 7)} {
		if err := os.WriteFile(last, append(bytes.Clone(text), tail...), 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := Open(Config{Dir: dir, SegmentBytes: 256})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if id, seq := l.Last(); id != made[19].ID || seq != 20 {
			t.Errorf("%s: last is %s %d", name, id, seq)
		}
		s := l.Subscribe("a", event.Filter{}, &made[16].ID)
		want(t, s, "a18", "a19", "a20")
		e := src.make("a", "a", event.EndpointCreated)
		e.Body = []byte(`{"n":"next"}`)
		if err := l.Append([]event.Event{e}); err != nil {
			t.Fatal(err)
		}
		want(t, s, "next")
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		for _, f := range files[len(files)-1:] { // the next case begins anew
			if err := os.WriteFile(f, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		extra, _ := filepath.Glob(filepath.Join(dir, "*"+suffix))
		for _, f := range extra[len(files):] {
			_ = os.Remove(f)
		}
	}
}

// The oldest events go by bytes and by age, and whoever wanted them is told.
func TestRetention(t *testing.T) {
	now := time.Now()
	cfg := Config{Dir: t.TempDir(), SegmentBytes: 256, MaxBytes: 2048, Keep: time.Hour, Now: func() time.Time { return now }}
	l, src := open(t, cfg), newSource()
	src.now = now
	first := src.append(t, l, "a")[0]
	behind := l.Subscribe("a", event.Filter{}, &event.ID{})
	want(t, l.Subscribe("a", event.Filter{}, &event.ID{}), "a1")
	for range 100 {
		src.append(t, l, "a")
	}
	if n := l.Stats().Bytes; n > 2048+512 || n < 1024 {
		t.Errorf("%d bytes", n)
	}
	if _, ok, err := l.Find("a", first.ID); ok || err != nil {
		t.Errorf("the first event is there: %v", err)
	}
	old := l.Subscribe("a", event.Filter{}, &first.ID)
	got := take(t, old, 100)
	if len(got) < 10 || got[0] != "gap" || got[len(got)-1] != "a101" || got[1] == "gap" {
		t.Errorf("%v", got)
	}
	// One that only had not come to reading them yet.
	if got := take(t, behind, 200); got[0] != "gap" || got[len(got)-1] != "a101" {
		t.Errorf("%v", got)
	}
	now = now.Add(2 * time.Hour)
	src.now = now
	l.Retain()
	src.append(t, l, "a")
	for range 5 { // until the file with old ones is not the last
		src.append(t, l, "b")
	}
	l.Retain()
	if got := take(t, l.Subscribe("a", event.Filter{}, &first.ID), 10); len(got) == 0 || len(got) > 5 || got[0] != "gap" || got[len(got)-1] != "a102" {
		t.Errorf("%v", got)
	}
	// A damaged file in the middle is a gap, not the end.
	files, _ := filepath.Glob(filepath.Join(cfg.Dir, "*"+suffix))
	if err := os.WriteFile(files[0], []byte("damage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := take(t, l.Subscribe("b", event.Filter{}, &event.ID{}), 10); len(got) < 2 || got[0] != "gap" || got[len(got)-1] != "b5" {
		t.Errorf("%v", got)
	}
}

// Subscribers that come, go and cut in at any place see every event once.
func TestConcurrentSubscribers(t *testing.T) {
	l, src := open(t, Config{Dir: t.TempDir(), SegmentBytes: 8 << 10}), newSource()
	const events = 5000
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var readers sync.WaitGroup
	for r := range 8 {
		readers.Go(func() {
			after := event.ID{}
			s := l.Subscribe("a", event.Filter{}, &after)
			defer func() { s.End() }()
			for i := range events {
				e, err := s.Next(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				if name := fmt.Sprintf(`{"n":"a%d"}`, i+1); string(e.Body) != name {
					t.Errorf("got %s, want %s", e.Body, name)
					return
				}
				after = e.ID
				if i%(100+r) == 0 {
					s.End()
					s = l.Subscribe("a", event.Filter{}, &after)
				}
			}
		})
	}
	for range events / 5 {
		src.append(t, l, "a", "b", "a", "a", "a", "a")
	}
	readers.Wait()
}

func BenchmarkAppend(b *testing.B) {
	l, err := Open(Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	src := newSource()
	e := src.make("a", "a", event.EndpointCreated)
	e.Body = bytes.Repeat([]byte("x"), 800)
	batch := make([]event.Event, 64)
	for i := range batch {
		batch[i] = e
	}
	for b.Loop() {
		if err := l.Append(batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batch)), "ns/event")
}
