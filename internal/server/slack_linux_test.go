package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Every thread has the slack, those that the runtime started before main
// included, in the process that was started.
func TestSlacken(t *testing.T) {
	if os.Getenv("ONHOOK_SLACKEN") != "" {
		showSlack(t)
		return
	}
	if slack := slackOfChild(t, kernelSlack); slack != timerSlack {
		t.Errorf("threads have a slack of %v", slack)
	}
}

// What the operator has decided stays.
func TestSlackOfOperator(t *testing.T) {
	const mine = 70 * time.Microsecond
	if slack := slackOfChild(t, mine); slack != mine {
		t.Errorf("threads have a slack of %v", slack)
	}
}

// slackOfChild starts TestSlacken again in a process of its own, from a thread
// with that slack, and returns the one it ends up with.
func slackOfChild(t *testing.T, own time.Duration) time.Duration {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := setSlack(own); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := setSlack(kernelSlack); err != nil {
			t.Error(err)
		}
	}()
	c := exec.Command(os.Args[0], "-test.run=^TestSlacken$")
	c.Env = append(os.Environ(), "ONHOOK_SLACKEN=1")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, line, _ := strings.Cut(string(out), "slack ")
	var pid int
	var ns int64
	if _, err := fmt.Sscan(line, &pid, &ns); err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	if pid != c.Process.Pid {
		t.Errorf("process %d was started, %d tells its slack", c.Process.Pid, pid)
	}
	return time.Duration(ns)
}

// showSlack prints the process and the slack that all its threads have.
func showSlack(t *testing.T) {
	if err := Slacken(); err != nil {
		t.Fatal(err)
	}
	tasks, err := filepath.Glob("/proc/self/task/[0-9]*")
	if err != nil || len(tasks) < 3 {
		t.Fatalf("%d threads, %v", len(tasks), err)
	}
	all := map[time.Duration]bool{}
	for _, task := range tasks {
		n, err := slackOf(filepath.Base(task))
		if err != nil {
			t.Fatal(err)
		}
		all[n] = true
	}
	if len(all) != 1 {
		t.Fatalf("threads differ: %v", all)
	}
	for slack := range all {
		fmt.Println("slack", os.Getpid(), slack.Nanoseconds())
	}
}

// slackOf is the slack of a thread; without CAP_SYS_NICE that of the caller's
// own.
func slackOf(thread string) (time.Duration, error) {
	text, err := os.ReadFile("/proc/" + thread + "/timerslack_ns")
	if errors.Is(err, fs.ErrPermission) {
		n, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
		return time.Duration(n), err
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	return time.Duration(n), err
}
