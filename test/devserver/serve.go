package devserver

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// accountLines is what onhook account create prints.
var accountLines = regexp.MustCompile(`(?m)^auth_id +(\S+)\nauth_token +(\S+)$`)

// AdminToken is that of servers that Serve runs.
const AdminToken = "admin-token-of-the-tests"

// Serve runs `onhook serve` for a domain on loopback ports of its own, with more
// lines of configuration; it ends with the test.
func Serve(t testing.TB, domain, more string) *Server {
	t.Helper()
	s := &Server{Dir: t.TempDir()}
	s.Domain, s.SIP.UDP, s.SIP.TCP = domain, loopback(FreePort(t)), loopback(FreePort(t))
	api := loopback(FreePort(t))
	s.APIURL = "http://" + api
	file := filepath.Join(s.Dir, "config.yaml")
	text := fmt.Sprintf("domains: [%s]\ndata_dir: data\nsip:\n  listeners:\n    - {transport: udp, address: %q}\n    - {transport: tcp, address: %q}\napi:\n  address: %q\n  admin_token: %s\n%s",
		domain, s.SIP.UDP, s.SIP.TCP, api, AdminToken, more)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	binary, err := Binary()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(binary, "account", "create", "--config", file, "--name", "tests").CombinedOutput()
	match := accountLines.FindSubmatch(out)
	if err != nil || match == nil {
		t.Fatalf("onhook account create: %v\n%s", err, out)
	}
	s.AuthID, s.AuthToken = string(match[1]), string(match[2])
	if s.process, err = Run("serve", "--config", file); err != nil {
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
	err = Until(startLimit, func() error {
		select {
		case <-s.process.Done():
			return Final(fmt.Errorf("the server ended at once: %v", s.process.Err()))
		default:
		}
		_, err := s.API("GET", "Endpoint/?limit=1", nil, nil)
		return err
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, s.Log())
	}
	return s
}
