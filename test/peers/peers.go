// Package peers finds the real SIP programs the tests talk to: baresip, SIPp,
// Kamailio, Chromium and the JsSIP sources, strace and tshark. It installs nothing (scripts/install-peers.sh
// does) and starts nothing.
package peers

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Baresip returns the path of the baresip program.
func Baresip(t testing.TB) string { return command(t, "baresip") }

// BaresipModules returns the folder of baresip's modules.
func BaresipModules(t testing.TB) string {
	t.Helper()
	for _, pattern := range []string{"/usr/lib/baresip/modules", "/usr/lib/*/baresip/modules", "/usr/local/lib/baresip/modules"} {
		found, _ := filepath.Glob(filepath.Join(pattern, "g711.so"))
		if len(found) > 0 {
			return filepath.Dir(found[0])
		}
	}
	missing(t, "baresip's modules (g711.so)")
	return ""
}

// SIPp returns the path of the sipp program.
func SIPp(t testing.TB) string { return command(t, "sipp") }

// Strace returns the path of the strace program.
func Strace(t testing.TB) string { return command(t, "strace") }

// Tshark returns the path of the tshark program.
func Tshark(t testing.TB) string { return command(t, "tshark") }

// Kamailio returns the path of the kamailio program.
func Kamailio(t testing.TB) string { return command(t, "kamailio", "/usr/sbin/kamailio") }

// Chromium returns the path of a Chromium browser.
func Chromium(t testing.TB) string {
	return command(t, "chromium", "chromium-browser", "google-chrome")
}

// Node returns the path of Node.js.
func Node(t testing.TB) string { return command(t, "node", "nodejs") }

// Package returns the node_modules folder of a test that holds an npm package.
func Package(t testing.TB, test, name string) string {
	t.Helper()
	dir := filepath.Join(Root(), "test", test, "node_modules")
	if _, err := os.Stat(filepath.Join(dir, name, "package.json")); err != nil {
		missing(t, "the npm package "+name)
	}
	return dir
}

// Root returns the folder of the checkout: the one above the tests that holds go.mod.
func Root() string {
	dir, err := os.Getwd()
	for err == nil && dir != filepath.Dir(dir) {
		if _, statErr := os.Stat(filepath.Join(dir, "go.mod")); statErr == nil {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	return "."
}

func command(t testing.TB, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	missing(t, names[0])
	return ""
}

// missing skips on a person's machine and fails in CI, where every peer is due.
func missing(t testing.TB, what string) {
	t.Helper()
	const hint = " is not installed; scripts/install-peers.sh installs it where it can"
	if os.Getenv("CI") == "true" {
		t.Fatal(what + hint)
	}
	t.Skip(what + hint)
}
