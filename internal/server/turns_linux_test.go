package server

import (
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Every thread has short turns, also one that starts later.
func TestShortTurns(t *testing.T) {
	if err := shortTurns(); err != nil {
		t.Fatal(err)
	}
	attr, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if attr.Runtime == 0 {
		t.Skip("the kernel keeps no turns of ordinary threads: it is older than Linux 6.12")
	}
	var threads sync.WaitGroup
	var all sync.WaitGroup
	for range 50 { // all at once on threads of their own: more than there were
		threads.Add(1)
		all.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			threads.Done()
			threads.Wait()
			if attr, err := unix.SchedGetAttr(0, 0); err != nil || attr.Runtime != uint64(turn) {
				t.Errorf("a thread has turns of %d ns, %v", attr.Runtime, err)
			}
		})
	}
	all.Wait()
}
