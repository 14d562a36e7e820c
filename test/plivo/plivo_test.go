// Package plivo drives a running server through the npm library plivo, the
// client of the contract that this API follows. It is used as published:
// pointed at the server by its own url option, and nothing else.
package plivo

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"onhook/test/devserver"
	"onhook/test/peers"
)

// result is one line of drive.js.
type result struct {
	Step  string
	Value any
	Error string
}

func TestLibraryWorksUnpatched(t *testing.T) {
	node := peers.Node(t)
	peers.Package(t, "plivo", "plivo")
	s := devserver.Start(t)
	cmd := exec.Command(node, "--no-deprecation", "drive.js", s.APIURL, s.AuthID, s.AuthToken)
	cmd.Dir = filepath.Join(peers.Root(), "test", "plivo")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("drive.js: %v\n%s%s", err, out, &stderr)
	}
	results := map[string]result{}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		var r result
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatalf("%v: %s", err, lines.Bytes())
		}
		results[r.Step] = r
	}
	for _, want := range []struct {
		step string
		path string // into the value, by keys
		is   any    // nil: anything but null
	}{
		{"application create", "message", "created"},
		{"application get", "answerMethod", "GET"},
		{"application get", "appName", "Front desk"},
		{"application list", "meta/totalCount", 1.0},
		{"application update", "message", "changed"},
		{"endpoint create", "message", "created"},
		{"endpoint create", "endpointId", nil},
		{"endpoint get", "application/answerUrl", "https://example.com/new"},
		{"endpoint get", "sipRegistered", "false"},
		{"endpoint list", "meta/totalCount", 3.0},
		{"endpoint list", "meta/next", nil},
		{"endpoint update", "message", "changed"},
		{"endpoint updated", "alias", "Reception"},
		{"endpoint delete", "", true},
		{"sub-account create", "authToken", nil},
		{"sub-account get", "name", "Berlin"},
		{"sub-account list", "meta/totalCount", 1.0},
		{"sub-account update", "message", "changed"},
		{"sub-account updated", "name", "Bonn"},
		{"sub-account updated", "enabled", false},
		{"sub-account delete", "", true},
		{"application delete", "", true},
		{"account get", "name", "demo"},
	} {
		r, ok := results[want.step]
		if !ok || r.Error != "" {
			t.Errorf("%s: %+v", want.step, r)
			continue
		}
		if got := at(r.Value, want.path); want.is == nil && got == nil || want.is != nil && got != want.is {
			t.Errorf("%s: %s is %v, want %v", want.step, want.path, got, want.is)
		}
	}
	for step, want := range map[string]string{"endpoint taken": "username already exists", "endpoint gone": "Endpoint not found"} {
		if r := results[step]; !strings.Contains(r.Error, want) {
			t.Errorf("%s: %+v, want an error with %q", step, r, want)
		}
	}
}

// at follows the keys of a path, separated by slashes.
func at(value any, path string) any {
	if path == "" {
		return value
	}
	for key := range strings.SplitSeq(path, "/") {
		m, ok := value.(map[string]any)
		if !ok {
			return nil
		}
		value = m[key]
	}
	return value
}
