package storesql

import (
	"runtime"
	"syscall"
)

// giveWay lets others go first that wait for a processor: goroutines, and threads
// and processes on this thread's (sched_yield(2)). The kernel by itself looks for
// those at its next tick, up to 4 ms from now.
func giveWay() {
	syscall.Syscall(syscall.SYS_SCHED_YIELD, 0, 0, 0)
	runtime.Gosched()
}
