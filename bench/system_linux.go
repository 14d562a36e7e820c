package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
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

// otherTime is the CPU time that has gone into neither the server nor this
// process, to the tick (proc_stat(5)).
func otherTime(s *server) time.Duration {
	const tick = 10 * time.Millisecond // USER_HZ
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text)) // cpu user nice system idle iowait irq softirq …
	var busy time.Duration
	for _, i := range []int{1, 2, 3, 6, 7} {
		if n, err := strconv.Atoi(fields[i]); err == nil {
			busy += time.Duration(n) * tick
		}
	}
	theirs, _ := processTime(s.cmd.Process.Pid)
	ours, _ := processTime(os.Getpid())
	return busy - theirs - ours
}

func dataSync(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }

// pin lets a process, all its threads and those they will start run on one
// core alone.
func pin(pid, core int) error {
	var set unix.CPUSet
	set.Set(core)
	return affinity(pid, set)
}

// pinSelf pins this process; release takes it back.
func pinSelf(core int) (release func() error, err error) {
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return nil, err
	}
	return func() error { return affinity(os.Getpid(), all) }, pin(os.Getpid(), core)
}

func affinity(pid int, set unix.CPUSet) error {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return err
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(id, &set); err != nil {
			return fmt.Errorf("pin thread %d: %w", id, err)
		}
	}
	return nil
}
