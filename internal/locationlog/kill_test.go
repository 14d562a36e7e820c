package locationlog

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"onhook/internal/location"
	"onhook/internal/sip"
)

// The storm: workers register, refresh and remove bindings of their own keys,
// operation n of a key after the other, and print each that is acknowledged.
// Every third operation of a key removes its binding.
const (
	stormWorkers = 32
	stormKeys    = 8 // of each worker
	stormDir     = "ONHOOK_TEST_STORM_DIR"
	stormRoom    = 32 << 10 // of a segment: the storm is compacted all the time
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(stormDir); dir != "" {
		fmt.Fprintln(os.Stderr, storm(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// operation is the Editor of one step of the storm.
type operation struct {
	n    int
	done chan error
}

func removes(n int) bool { return n%3 == 2 }

func (o *operation) Edit(s *location.Set) error {
	b := location.Binding{Contact: "sip:phone@192.0.2.1:5060", Q: 1000, CallID: "storm", CSeq: uint32(o.n),
		Flow:    sip.Flow{Transport: sip.UDP, Remote: netip.MustParseAddrPort("192.0.2.1:5060")},
		Expires: s.Now.Add(time.Hour)}
	switch {
	case removes(o.n):
		s.Remove(0, location.Unregistered)
	case len(s.Bindings) > 0:
		s.Refresh(0, b)
	default:
		s.Add(b)
	}
	return nil
}

func (o *operation) Committed(err error) { o.done <- err }

// storm runs in the child until it is killed.
func storm(dir string) error {
	j, err := Open(Config{Dir: dir, minRoom: stormRoom})
	if err != nil {
		return err
	}
	x := location.New(location.Config{Journal: j})
	if err := x.Load(); err != nil {
		return err
	}
	go func() { _ = x.Run(context.Background()) }()
	failed := make(chan error)
	for w := range stormWorkers {
		go func() {
			o := &operation{done: make(chan error, 1)}
			for o.n = 0; ; o.n++ {
				for k := range stormKeys {
					key := location.Key(w*stormKeys + k)
					err := x.Update(key, o)
					if err == nil {
						err = <-o.done
					}
					if err != nil {
						failed <- err
						return
					}
					fmt.Printf("%d %d\n", key, o.n) // one write, unbuffered
				}
			}
		}()
	}
	return <-failed
}

// RFC 3261 10.3: what a 200 acknowledged is there after kill -9 in the middle
// of a storm, and what it acknowledged as removed is gone.
func TestKillInStorm(t *testing.T) {
	dir := t.TempDir()
	for round, lines := range []int{500, 3000} {
		if round > 0 { // each round begins its operations anew
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
		acknowledged := killed(t, dir, lines)
		j := open(t, Config{Dir: dir})
		x := location.New(location.Config{Journal: j})
		if err := x.Load(); err != nil {
			t.Fatal(err)
		}
		wrong := 0
		for key, n := range acknowledged {
			// The operation after the last acknowledged one may have become durable, too.
			if got := x.Lookup(key, nil); !isAfter(got, n) && !isAfter(got, n+1) {
				t.Errorf("key %d after operation %d: %+v", key, n, got)
				if wrong++; wrong > 5 {
					break
				}
			}
		}
		x.Close()
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}
}

// isAfter reports whether the bindings are those after operation n.
func isAfter(got []location.Binding, n int) bool {
	if removes(n) {
		return len(got) == 0
	}
	return len(got) == 1 && got[0].CSeq == uint32(n) && time.Until(got[0].Expires) > 50*time.Minute
}

// killed runs the storm, kills it after that many acknowledgements and returns
// the last operation acknowledged for each key.
func killed(t *testing.T, dir string, lines int) map[location.Key]int {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(exe)
	child.Env = append(os.Environ(), stormDir+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	kill := func() { once.Do(func() { _ = child.Process.Kill() }) }
	defer kill()
	last := map[location.Key]int{}
	read := 0
	for in := bufio.NewScanner(out); in.Scan(); read++ { // to the end: what was printed before the kill counts
		var key location.Key
		var n int
		if _, err := fmt.Sscan(in.Text(), &key, &n); err != nil {
			continue // the kill cut the line
		}
		last[key] = n
		if read == lines {
			kill()
		}
	}
	_ = child.Wait() // killed: it tells nothing
	if read < lines {
		t.Fatalf("the storm ended by itself after %d acknowledgements", read)
	}
	return last
}

// A million bindings, as a restart finds them.
func BenchmarkLoadMillion(b *testing.B) {
	const n = 1_000_000
	dir := b.TempDir()
	j, err := Open(Config{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	x := location.New(location.Config{Journal: j, MaxPending: 20_000})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { _ = x.Run(ctx); close(ended) }()
	done := make(chan error, 10_000)
	for key := 0; key < n; {
		sent := 0
		for ; sent < 10_000 && key < n; sent, key = sent+1, key+1 {
			if err := x.Update(location.Key(100_000_000_000_000+key), &loaded{n: key, done: done}); err != nil {
				b.Fatal(err)
			}
		}
		for range sent {
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		}
	}
	stop()
	<-ended
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		j, err := Open(Config{Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		x := location.New(location.Config{Journal: j})
		if err := x.Load(); err != nil {
			b.Fatal(err)
		}
		if x.Count() != n {
			b.Fatalf("%d bindings", x.Count())
		}
		if err := j.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

type loaded struct {
	n    int
	done chan error
}

func (l *loaded) Edit(s *location.Set) error {
	s.Add(location.Binding{
		Contact: fmt.Sprintf("sip:user%d@192.168.1.%d:5060", l.n, l.n&255), Q: 1000,
		Params:     fmt.Sprintf(`;+sip.instance="<urn:uuid:00000000-0000-4000-8000-%012d>"`, l.n),
		InstanceID: fmt.Sprintf("urn:uuid:00000000-0000-4000-8000-%012d", l.n),
		CallID:     fmt.Sprintf("%032d", l.n), CSeq: 1, UserAgent: "Linphone/5.2.0 (belle-sip/5.2.110)",
		Flow:    sip.Flow{Transport: sip.UDP, Remote: netip.MustParseAddrPort("192.0.2.1:5060")},
		Expires: s.Now.Add(time.Hour),
	})
	return nil
}

func (l *loaded) Committed(err error) { l.done <- err }
