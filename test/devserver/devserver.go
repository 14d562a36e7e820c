// Package devserver runs the real program for the tests: it builds cmd/onhook,
// starts `onhook dev` in a folder of its own, reads dev.json and speaks to the
// REST API. It knows no SIP and imports nothing of the program.
package devserver

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"onhook/test/peers"
	"onhook/test/sippeer"
)

// Info is what dev.json tells.
type Info struct {
	APIURL    string `json:"api_url"`
	AuthID    string `json:"auth_id"`
	AuthToken string `json:"auth_token"`
	Domain    string `json:"domain"`
	SIP       struct {
		UDP string `json:"udp"`
		TCP string `json:"tcp"`
		TLS string `json:"tls"`
		WS  string `json:"ws"`
		WSS string `json:"wss"`
	} `json:"sip"`
	CAFile string `json:"ca_file"`
}

// startLimit bounds the wait for dev.json: a loaded machine with two cores, a
// first start that makes keys and certificates.
const startLimit = 60 * time.Second

// Server is one running `onhook dev`.
type Server struct {
	Info
	Dir string

	process *Process
}

// Start runs a server in a new folder; it ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	return StartIn(t, t.TempDir())
}

// StartIn runs a server on the state in dir; it ends with the test.
func StartIn(t testing.TB, dir string) *Server {
	t.Helper()
	s, err := start(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("server log:\n%s", s.Log())
		}
		s.process.Kill()
		if fault := s.process.Fault(); fault != "" {
			t.Errorf("the server reports a fault:\n%s", fault)
		}
	})
	return s
}

func start(dir string) (*Server, error) {
	// A dev.json of an earlier process must not be taken for this one's.
	path := filepath.Join(dir, "dev.json")
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	process, err := Run("dev", "--dir", dir, "--ephemeral-ports")
	if err != nil {
		return nil, err
	}
	s := &Server{Dir: dir, process: process}
	err = Until(startLimit, func() error {
		select {
		case <-process.Done():
			return Final(fmt.Errorf("the server ended at once: %v", process.Err()))
		default:
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return json.Unmarshal(raw, &s.Info)
	})
	if err != nil {
		process.Kill()
		return nil, fmt.Errorf("no dev.json: %w\nserver log:\n%s", err, process.Log())
	}
	return s, nil
}

// Log returns the end of what the server printed.
func (s *Server) Log() string { return s.process.Log() }

// PID returns the server's process id.
func (s *Server) PID() int { return s.process.cmd.Process.Pid }

// Kill ends the server as a power cut would and waits for it.
func (s *Server) Kill() { s.process.Kill() }

// Terminate asks the server to drain and end, and fails the test when it does
// not, cleanly.
func (s *Server) Terminate(t testing.TB) {
	t.Helper()
	const limit = 60 * time.Second
	s.process.Signal(syscall.SIGTERM)
	select {
	case <-s.process.Done():
		if err := s.process.Err(); err != nil {
			t.Fatalf("after SIGTERM the server exits with %v\n%s", err, s.Log())
		}
	case <-time.After(limit):
		s.process.Signal(syscall.SIGQUIT)
		<-s.process.Done()
		t.Fatalf("the server did not end within %v of SIGTERM\n%s", limit, s.Log())
	}
}

var shared struct {
	mu     sync.Mutex
	server *Server
	dir    string
}

// Shared returns the one server of this test program, started on first use. The
// package's TestMain must call Main.
func Shared(t testing.TB) *Server {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.server == nil {
		dir, err := os.MkdirTemp("", "onhook-dev-")
		if err != nil {
			t.Fatal(err)
		}
		shared.dir = dir
		if shared.server, err = start(dir); err != nil {
			t.Fatal(err)
		}
	}
	return shared.server
}

// Main runs the package's tests and then ends the shared server, which must
// still be alive: a crash fails the run even when no test noticed.
func Main(m *testing.M) int {
	// These tests wait far more than they compute: two at a time, which is the
	// default on two cores, would only add up their waits.
	flag.Parse()
	if err := flag.Set("test.parallel", "16"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if s := shared.server; s != nil {
		select {
		case <-s.process.Done():
			fmt.Fprintf(os.Stderr, "the shared server died: %v\n%s\n", s.process.Err(), s.Log())
			code = 1
		default:
			if code != 0 {
				fmt.Fprintf(os.Stderr, "log of the shared server:\n%s\n", s.Log())
			}
		}
		s.Kill()
		if fault := s.process.Fault(); fault != "" {
			fmt.Fprintf(os.Stderr, "the shared server reports a fault:\n%s\n", fault)
			code = 1
		}
		_ = os.RemoveAll(shared.dir)
	}
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	return code
}

var built struct {
	once sync.Once
	path string
	dir  string
	err  error
}

// Binary returns the program under test: ONHOOK_BIN, or cmd/onhook built once
// for this test program.
func Binary() (string, error) {
	built.once.Do(func() {
		if built.path = os.Getenv("ONHOOK_BIN"); built.path != "" {
			return
		}
		if built.dir, built.err = os.MkdirTemp("", "onhook-bin-"); built.err != nil {
			return
		}
		built.path = filepath.Join(built.dir, "onhook")
		cmd := exec.Command("go", "build", "-o", built.path, "./cmd/onhook")
		cmd.Dir = peers.Root()
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("go build ./cmd/onhook: %w\n%s", err, out)
		}
	})
	return built.path, built.err
}

// pollEvery is how often a condition of another process is looked at.
const pollEvery = 20 * time.Millisecond

type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

// Final marks an error after which waiting is pointless.
func Final(err error) error { return finalError{err} }

// Until calls f until it returns nil, and returns its last error when that has
// not happened within limit.
func Until(limit time.Duration, f func() error) error {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := f()
		var final finalError
		if err == nil || errors.As(err, &final) {
			return err
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return fmt.Errorf("not within %v: %w", limit, err)
		}
	}
}

// Target is where the phones of the tests connect.
func (s *Server) Target() sippeer.Target {
	return sippeer.Target{
		UDP: s.SIP.UDP, TCP: s.SIP.TCP, TLS: s.SIP.TLS, WS: s.SIP.WS, WSS: s.SIP.WSS,
		CAFile: s.CAFile, Domain: s.Domain,
	}
}
