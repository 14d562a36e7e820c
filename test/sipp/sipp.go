// Package sipp runs SIPp scenarios against the program.
package sipp

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"onhook/test/devserver"
	"onhook/test/peers"
)

// Scenario is one run of SIPp.
type Scenario struct {
	File      string   // the scenario
	Transport string   // "u1": one UDP socket, "t1": one TCP connection
	Server    string   // host:port
	Port      int      // ours, 0: any
	Rows      []string // lines of the -inf file, used one after the other
	Calls     int      // how many; 0: until it is ended
	Rate      int      // calls a second
}

// start starts SIPp; the caller waits for its end. What it logs as errors is in
// the file errors of dir.
func (s Scenario) start(t testing.TB, dir string) *devserver.Process {
	t.Helper()
	program := peers.SIPp(t)
	scenario, err := filepath.Abs(s.File)
	if err != nil {
		t.Fatal(err)
	}
	args := []string{s.Server, "-sf", scenario, "-i", "127.0.0.1", "-t", s.Transport, "-nostdin",
		"-trace_err", "-error_file", filepath.Join(dir, "errors"), "-recv_timeout", "30000", "-buff_size", "8388608"}
	if s.Port != 0 {
		args = append(args, "-p", fmt.Sprint(s.Port))
	}
	if s.Calls != 0 {
		args = append(args, "-m", fmt.Sprint(s.Calls), "-r", fmt.Sprint(s.Rate), "-timeout", fmt.Sprintf("%ds", 60+2*s.Calls/s.Rate), "-timeout_error")
	}
	if len(s.Rows) > 0 {
		rows := filepath.Join(dir, "rows.csv")
		if err := os.WriteFile(rows, []byte("SEQUENTIAL\n"+strings.Join(s.Rows, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-inf", rows)
	}
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TERM=dumb")
	p, err := devserver.Command(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

// Run runs SIPp to its end and fails the test unless every call succeeded.
func (s Scenario) Run(t testing.TB) {
	t.Helper()
	if err := s.Try(t); err != nil {
		t.Fatal(err)
	}
}

// errStarved marks a failure of a SIPp that could not keep its rate, or stood
// still. It loses messages then that are on the wire, and is no judge of single
// calls.
var errStarved = errors.New("sipp was starved of CPU")

// watchdog is what a SIPp logs that stood still.
var watchdog = regexp.MustCompile(`watchdog timer \d+ms has been tripped`)

// Try runs SIPp to its end; an error says what did not succeed.
func (s Scenario) Try(t testing.TB) error {
	t.Helper()
	dir := t.TempDir()
	p := s.start(t, dir)
	<-p.Done() // -timeout ends it
	if p.Err() == nil {
		return nil
	}
	err := fmt.Errorf("sipp %s: %w\n%s", s.File, p.Err(), report(p, dir))
	slow := false
	if m := totalTime.FindStringSubmatch(p.Log()); m != nil {
		took, _ := strconv.ParseFloat(m[1], 64)
		slow = took > 1.2*float64(s.Calls)/float64(s.Rate)+1
	}
	if logged, _ := os.ReadFile(filepath.Join(dir, "errors")); slow || watchdog.Match(logged) {
		return fmt.Errorf("%w: %w", errStarved, err)
	}
	return err
}

// totalTime is in the last screen of statistics: rate, port, time, calls.
var totalTime = regexp.MustCompile(`\)/\d\.\d+s +\d+ +(\d+\.\d+) s +\d+ `)

// complaint is a logged event that is a failed call: SIPp also logs how busy the
// machine is.
var complaint = regexp.MustCompile(`(?i)aborting call|dead call|unexpected|timeout|cannot|failed`)

// Background runs SIPp until the test ends or stop is called, which returns
// what it logged as errors, "" when nothing of it is about a call.
func (s Scenario) Background(t testing.TB) (stop func() string) {
	t.Helper()
	dir := t.TempDir()
	p := s.start(t, dir)
	return func() string {
		p.Kill()
		logged, _ := os.ReadFile(filepath.Join(dir, "errors"))
		if !complaint.Match(logged) {
			return ""
		}
		return string(logged)
	}
}

// report is the last screen of statistics and the first errors.
func report(p *devserver.Process, dir string) string {
	logged, _ := os.ReadFile(filepath.Join(dir, "errors"))
	if len(logged) > 4000 {
		logged = logged[:4000]
	}
	screen := p.Log()
	if len(screen) > 4000 {
		screen = screen[len(screen)-4000:]
	}
	return screen + "\nerrors:\n" + string(logged)
}
