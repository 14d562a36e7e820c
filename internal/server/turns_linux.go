package server

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// turn is how long the kernel lets one of our threads compute while others wait.
const turn = 200 * time.Microsecond

// shortTurns asks the kernel for turns, for all threads that there are; those to
// come have it from those that start them. docs/decisions/0014 says why. Kernels
// before Linux 6.12 do not listen.
func shortTurns() error {
	for range 2 { // a thread may have started another one meanwhile
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		for _, task := range tasks {
			tid, err := strconv.Atoi(task.Name())
			if err != nil {
				return err
			}
			if err := shortTurn(tid); err != nil && !errors.Is(err, unix.ESRCH) { // it has just ended
				return err
			}
		}
	}
	return nil
}

func shortTurn(tid int) error {
	attr, err := unix.SchedGetAttr(tid, 0)
	if err != nil {
		return fmt.Errorf("sched_getattr: %w", err)
	}
	if attr.Policy != unix.SCHED_NORMAL || attr.Runtime != 0 && attr.Runtime < uint64(turn) {
		return nil // the operator has decided otherwise
	}
	attr.Runtime = uint64(turn)
	if err := unix.SchedSetAttr(tid, attr, 0); err != nil {
		return fmt.Errorf("sched_setattr: %w", err)
	}
	return nil
}
