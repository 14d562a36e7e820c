package journal

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"onhook/test/devserver"
	"onhook/test/peers"
)

// trace watches the server's system calls. The function it returns waits until
// so many answers were seen, ends the watch and returns what there was.
func trace(t *testing.T, s *devserver.Server) (stop func(answers int) []event) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "calls")
	p, err := devserver.Command(exec.Command(peers.Strace(t), "-f", "-y", "-v", "-s", "32", "-o", out,
		"-e", "trace=fdatasync,recvmmsg,recvmsg,recvfrom,sendmmsg,sendmsg,sendto", "-p", fmt.Sprint(s.PID())))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	err = devserver.Until(30*time.Second, func() error {
		select {
		case <-p.Done():
			return devserver.Final(fmt.Errorf("strace ended: %v", p.Err()))
		default:
		}
		if !strings.Contains(p.Log(), "attached") {
			return fmt.Errorf("strace is not attached: %s", p.Log())
		}
		return nil
	})
	if err != nil {
		if strings.Contains(p.Log(), "Operation not permitted") && os.Getenv("CI") != "true" {
			t.Skipf("strace may not attach here: %s", p.Log())
		}
		t.Fatal(err)
	}
	return func(answers int) (found []event) {
		err := devserver.Until(30*time.Second, func() error {
			raw, err := os.ReadFile(out)
			if err != nil {
				return err
			}
			found = events(strings.Split(string(raw), "\n"))
			seen := 0
			for _, e := range found {
				if e.kind == answered {
					seen += e.n
				}
			}
			if seen != answers {
				return fmt.Errorf("%d answers of %d were seen", seen, answers)
			}
			return nil
		})
		p.Signal(syscall.SIGINT) // it detaches; the server goes on
		<-p.Done()
		if err != nil {
			raw, _ := os.ReadFile(out)
			t.Fatalf("%v\n%s", err, raw)
		}
		return found
	}
}

// event is what the tests look for in the order of system calls.
type event struct {
	kind kind
	n    int // messages
	at   int // the line where the call ends, of an answer the one where it begins
	line string
}

type kind int

const (
	received kind = iota // REGISTERs
	synced               // a journal's fdatasync has returned
	answered             // with 200
)

var (
	call    = regexp.MustCompile(`^(\d+) +(\w+)\((.*)$`)
	resumed = regexp.MustCompile(`^(\d+) +<\.\.\. (\w+) resumed>(.*)$`)
)

// events finds the events in strace's output, where a call during which others
// happen takes two lines.
func events(lines []string) (found []event) {
	type begun struct {
		at   int
		text string
	}
	under := map[string]begun{} // by thread
	for at, line := range lines {
		began, text := at, line
		m := call.FindStringSubmatch(line)
		if m != nil && strings.HasSuffix(line, "<unfinished ...>") {
			under[m[1]] = begun{at, line}
			continue
		}
		if m == nil {
			if m = resumed.FindStringSubmatch(line); m == nil {
				continue
			}
			began, text = under[m[1]].at, under[m[1]].text+line
		}
		switch name := m[2]; {
		case name == "fdatasync" && strings.Contains(text, ".journal>") && strings.HasSuffix(line, "= 0"):
			found = append(found, event{synced, 1, at, text})
		case strings.HasPrefix(name, "send"):
			if n := strings.Count(text, `"SIP/2.0 200`); n > 0 {
				found = append(found, event{answered, n, began, text})
			}
		case strings.HasPrefix(name, "recv"):
			if n := strings.Count(text, `"REGISTER sip:`); n > 0 {
				found = append(found, event{received, n, at, text})
			}
		}
	}
	return found
}

// RFC 3261 10.3: a 200 to a REGISTER, and to one that removes, leaves the
// server when fdatasync has returned for what it tells.
func TestSyncedBeforeAnswer(t *testing.T) {
	s := devserver.Start(t)
	e := s.CreateEndpoint(t, "strace", nil)
	p := phone(t, s, e)
	register(t, p, 300, 200)
	register(t, p, 0, 200)
	stop := trace(t, s)
	register(t, p, 300, 200)
	register(t, p, 300, 200)
	register(t, p, 0, 200)
	asked, done := -1, -1
	for _, e := range stop(3) {
		switch e.kind {
		case received:
			asked = e.at
		case synced:
			done = e.at
		case answered:
			if !(asked < done && done < e.at) {
				t.Errorf("the REGISTER came at line %d, fdatasync returned at %d, the 200 was sent at %d: %s", asked, done, e.at, e.line)
			}
		}
	}
}

// Many REGISTERs at once share an fdatasync.
func TestGroupCommit(t *testing.T) {
	s := devserver.Start(t)
	const phones, each = 32, 6
	var ready []func()
	for range phones {
		p := phone(t, s, s.CreateEndpoint(t, "storm", nil))
		register(t, p, 300, 200)
		ready = append(ready, func() {
			for range each {
				m, err := p.Register(300)
				if err != nil || m.Status() != 200 {
					t.Errorf("in the storm: %v %v", m, err)
					return
				}
			}
		})
	}
	stop := trace(t, s)
	var storm sync.WaitGroup
	for _, f := range ready {
		storm.Go(f)
	}
	storm.Wait()
	syncs := 0
	for _, e := range stop(phones * each) {
		if e.kind == synced {
			syncs++
		}
	}
	t.Logf("%d REGISTERs answered with 200, %d fdatasyncs", phones*each, syncs)
	if syncs == 0 || syncs >= phones*each {
		t.Errorf("%d fdatasyncs for %d REGISTERs", syncs, phones*each)
	}
}
