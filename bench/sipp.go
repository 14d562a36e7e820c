package main

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed sipp-register.xml
var sippScenario string

// sippRate is what one SIPp process keeps up here without falling behind.
const sippRate = 1000

// errNoSIPp says that there is none to be measured with.
var errNoSIPp = errors.New("SIPp is not installed (apt-get install sip-tester)")

// sippRegister registers users through SIPp, to see whether our own generator
// tells the truth.
func (g *generator) sippRegister(users int) (n int, err error) {
	program, err := exec.LookPath("sipp")
	if err != nil {
		return 0, errNoSIPp
	}
	dir, err := os.MkdirTemp("", "onhook-bench-sipp-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	n = min(users, 5*sippRate)
	var rows strings.Builder
	rows.WriteString("SEQUENTIAL\n")
	for i := range n {
		fmt.Fprintf(&rows, "%[1]s;[authentication username=%[1]s password=%[2]s];%[3]s\n", userName(i), password, g.domain)
	}
	scenario, lines := filepath.Join(dir, "register.xml"), filepath.Join(dir, "users.csv")
	if err := errors.Join(os.WriteFile(scenario, []byte(sippScenario), 0o600), os.WriteFile(lines, []byte(rows.String()), 0o600)); err != nil {
		return 0, err
	}
	cmd := exec.Command(program, g.address, "-sf", scenario, "-inf", lines, "-i", "127.0.0.1", "-t", "u1", "-nostdin",
		"-m", fmt.Sprint(n), "-r", fmt.Sprint(sippRate), "-recv_timeout", "10000", "-timeout", "60s", "-timeout_error")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TERM=dumb")
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("sipp: %w: …%s", err, out[max(0, len(out)-1500):])
	}
	return n, nil
}
