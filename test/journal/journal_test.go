// Package journal tests from outside that what a 200 told is on the disk:
// system calls in their order, a full disk, damaged files.
package journal

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"onhook/test/devserver"
	"onhook/test/sippeer"
)

func TestMain(m *testing.M) { os.Exit(devserver.Main(m)) }

func phone(t testing.TB, s *devserver.Server, e devserver.Endpoint) *sippeer.Phone {
	t.Helper()
	p, err := sippeer.NewPhone(s.Target(), "udp", e.Username, e.Password)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// register fails the test unless the answer has this status.
func register(t testing.TB, p *sippeer.Phone, expires, want int) *sippeer.Message {
	t.Helper()
	m, err := p.Register(expires)
	if err != nil {
		t.Fatal(err)
	}
	if m.Status() != want {
		t.Fatalf("REGISTER is answered with %d, want %d:\n%s", m.Status(), want, m.Bytes())
	}
	return m
}

func journalDir(dir string) string { return filepath.Join(dir, "data", "bindings") }

// RFC 3261 10.3: a full disk is the server's trouble, not the phone's: 503 with
// Retry-After, nothing acknowledged, and 200 again as soon as there is room.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	bindings := journalDir(dir)
	if err := os.MkdirAll(bindings, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=18m", "tmpfs", bindings).CombinedOutput(); err != nil {
		why := fmt.Sprintf("a small file system cannot be mounted here (root can): %v %s", err, out)
		if os.Getenv("CI") == "true" && os.Getuid() == 0 {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", bindings).CombinedOutput(); err != nil {
			t.Errorf("umount: %v %s", err, out)
		}
	})
	filler := filepath.Join(bindings, "filler")
	fill := func() {
		if err := os.WriteFile(filler, make([]byte, 17<<20), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fill()
	s := devserver.StartIn(t, dir)
	t.Cleanup(s.Kill) // before umount
	e := s.CreateEndpoint(t, "full", nil)
	p := phone(t, s, e)
	for range 2 {
		m := register(t, p, 300, 503)
		if m.Get("Retry-After") == "" {
			t.Errorf("503 without Retry-After:\n%s", m.Bytes())
		}
		if got := s.Endpoint(t, e.ID); got.Registered != "false" {
			t.Error("registered, though nothing was acknowledged")
		}
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	register(t, p, 300, 200)
	s.WaitRegistered(t, e.ID, true)
	s.Kill()
	s = devserver.StartIn(t, dir)
	t.Cleanup(s.Kill)
	s.WaitRegistered(t, e.ID, true)
}

// A damaged journal refuses to start and tells what to run; that keeps what can
// be read.
func TestDamageAndSalvage(t *testing.T) {
	dir := t.TempDir()
	s := devserver.StartIn(t, dir)
	var endpoints []devserver.Endpoint
	for range 3 {
		e := s.CreateEndpoint(t, "damage", nil)
		register(t, phone(t, s, e), 300, 200)
		endpoints = append(endpoints, e)
	}
	s.Kill()
	names, err := filepath.Glob(filepath.Join(journalDir(dir), "*.journal"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no journal: %v %v", names, err)
	}
	content, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(string(content), endpoints[1].Username)
	if at < 0 {
		t.Fatal("the second endpoint's Contact is not in the journal")
	}
	content[at] ^= 0x20
	if err := os.WriteFile(names[0], content, 0o600); err != nil {
		t.Fatal(err)
	}

	refused := run(t, false, "dev", "--dir", dir, "--ephemeral-ports")
	for _, want := range []string{names[0], "is damaged at byte", "onhook bindings salvage --dir " + dir} {
		if !strings.Contains(refused, want) {
			t.Errorf("the refusal does not tell %q:\n%s", want, refused)
		}
	}
	told := run(t, true, "bindings", "salvage", "--dir", dir)
	if !strings.Contains(told, "kept    2 endpoints") || !strings.Contains(told, "in 1 places") {
		t.Errorf("salvage tells:\n%s", told)
	}
	aside, err := filepath.Glob(filepath.Join(journalDir(dir), "damaged-*", filepath.Base(names[0])))
	if err != nil || len(aside) != 1 {
		t.Fatalf("the damaged file is not aside: %v %v", aside, err)
	}
	if kept, err := os.ReadFile(aside[0]); err != nil || string(kept) != string(content) {
		t.Errorf("the file set aside is not the one that was damaged: %v", err)
	}

	s = devserver.StartIn(t, dir)
	for i, e := range endpoints {
		if got, want := s.Endpoint(t, e.ID).Registered == "true", i != 1; got != want {
			t.Errorf("endpoint %d is registered: %v, want %v", i, got, want)
		}
	}
	if told := run(t, false, "bindings", "salvage", "--dir", dir); !strings.Contains(told, "in use") {
		t.Errorf("salvage beside a running server:\n%s", told)
	}
	register(t, phone(t, s, endpoints[1]), 300, 200)
}

// run runs the program to its end and returns what it prints.
func run(t *testing.T, succeeds bool, args ...string) string {
	t.Helper()
	p, err := devserver.Run(args...)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.Done():
	case <-time.After(60 * time.Second):
		p.Signal(syscall.SIGQUIT)
		<-p.Done()
		t.Fatalf("onhook %v does not end\n%s", args, p.Log())
	}
	if (p.Err() == nil) != succeeds {
		t.Fatalf("onhook %v ends with %v:\n%s", args, p.Err(), p.Log())
	}
	return p.Log()
}
