package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"onhook/test/postgres"
)

// server is a child process under test.
type server struct {
	name    string
	version string
	domain  string
	udp     *net.UDPAddr
	cmd     *exec.Cmd
	metrics string // URL of its figures, "" when it has none
	// database is what the server keeps its data in; its CPU counts, too. nil:
	// none beside it.
	database *postgres.Server
}

// allocations are the heap allocations a Go server has made so far; 0 for
// another.
func (s *server) allocations() (float64, error) {
	if s.metrics == "" {
		return 0, nil
	}
	resp, err := http.Get(s.metrics)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "go_memstats_mallocs_total "); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("%s has no go_memstats_mallocs_total", s.metrics)
}

// launch starts a server whose output goes to a file in dir, with more in its
// environment.
func launch(dir, name string, environment []string, binary string, args ...string) (*server, error) {
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own
	cmd := exec.Command(binary, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), environment...)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &server{name: name, cmd: cmd}, nil
}

// stop ends the server and its database, by force if it must be. That it was
// interrupted is no error.
func (s *server) stop() error {
	if s.database != nil {
		defer s.database.Close() // its folder is in the bench's own
	}
	force := time.AfterFunc(stopTime, func() { _ = s.cmd.Process.Kill() })
	defer force.Stop()
	if err := s.cmd.Process.Signal(syscall.SIGINT); err != nil {
		return err
	}
	var exit *exec.ExitError
	if err := s.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return err
	}
	return nil
}

const (
	startTime = 3 * time.Minute // with a million endpoints on a busy machine
	stopTime  = 10 * time.Second
)

// wait asks until a server is ready, or fails after startTime.
func (s *server) wait(ready func() bool) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(startTime)
	for !ready() {
		if time.Now().After(deadline) {
			return errors.Join(errors.New(s.name+" did not start"), s.stop())
		}
		<-tick.C
	}
	return nil
}

// cpu is the user and system time that the server's processes have used, and
// its database's.
func (s *server) cpu() (time.Duration, error) {
	sum, err := familyTime(s.cmd.Process.Pid)
	if err != nil || s.database == nil {
		return sum, err
	}
	more, err := familyTime(s.database.PID())
	return sum + more, err
}

// familyTime is the CPU time of a process and its children.
func familyTime(pid int) (time.Duration, error) {
	sum, err := processTime(pid)
	if err != nil {
		return 0, err
	}
	children, err := childrenOf(pid)
	if err != nil {
		return 0, err
	}
	for _, child := range children {
		t, err := processTime(child)
		if err != nil {
			return 0, err
		}
		sum += t
	}
	return sum, nil
}

func childrenOf(pid int) ([]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	var children []int
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has just ended
		}
		if fields, err := afterName(string(text)); err == nil && fields[1] == strconv.Itoa(pid) {
			child, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err != nil {
				return nil, err
			}
			children = append(children, child)
		}
	}
	return children, nil
}

// afterName cuts /proc/PID/stat behind the process's name, which may hold
// anything: state, parent, … .
func afterName(stat string) ([]string, error) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 2 {
		return nil, fmt.Errorf("no process state: %q", stat)
	}
	return fields, nil
}

// freePort returns a UDP port of 127.0.0.1 that nobody has just now.
func freePort() (*net.UDPAddr, error) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr), nil
}
