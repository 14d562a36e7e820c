package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// processTime is the CPU time of a process from its clock, which is exact where
// the ticks of /proc/PID/stat are 10 ms (clock_getcpuclockid(3)).
func processTime(pid int) (time.Duration, error) {
	const perProcess = 2 // CPUCLOCK_SCHED of all threads
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|perProcess), &t); err != nil {
		return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

func dataSync(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }
