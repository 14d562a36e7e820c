package server

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// timerSlack is by how much the kernel may end a sleep of ours too late.
	timerSlack = 2 * time.Millisecond
	// kernelSlack is what a thread has that nobody has decided for.
	kernelSlack = 50 * time.Microsecond
)

// Slacken lets the sleeps of all threads end late, so that fewer wake-ups are
// paid for; docs/decisions/0017 says why. Threads have their slack from those
// that start them, and Go's runtime has started some before main runs, so the
// program is executed once more, which closes what it has opened: process,
// arguments, environment and slack stay as they are (prctl(2), execve(2)). It
// returns when nothing is left to do, or with the reason why nothing can be done.
func Slacken() error {
	runtime.LockOSThread() // the slack is this thread's
	defer runtime.UnlockOSThread()
	now, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil {
		return fmt.Errorf("prctl: %w", err)
	}
	if time.Duration(now) != kernelSlack {
		return nil // it is done, or the operator has decided otherwise
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := setSlack(timerSlack); err != nil {
		return err
	}
	err = fmt.Errorf("execute %s: %w", self, unix.Exec(self, os.Args, os.Environ()))
	return errors.Join(err, setSlack(kernelSlack))
}

func setSlack(d time.Duration) error {
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(d), 0, 0, 0); err != nil {
		return fmt.Errorf("prctl: %w", err)
	}
	return nil
}
