// Package plivo drives a running server through the npm library plivo, the
// client of the contract that this API follows. It is used as published:
// pointed at the server by its own url option, and nothing else.
package plivo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"onhook/test/devserver"
	"onhook/test/peers"
)

// Each call of the library returns what answers.jsonl says, to the last key.
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
	got := decode(t, out)
	text, err := os.ReadFile("answers.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	want := decode(t, text)
	if len(got) != len(want) {
		t.Errorf("%d steps, want %d", len(got), len(want))
	}
	m := matcher{"account": s.AuthID}
	for i := range min(len(got), len(want)) {
		for _, fault := range m.differences("", want[i], got[i]) {
			t.Errorf("%v: %s", want[i]["step"], fault)
		}
	}
}

func decode(t *testing.T, text []byte) (all []map[string]any) {
	t.Helper()
	for d := json.NewDecoder(bytes.NewReader(text)); d.More(); {
		var one map[string]any
		if err := d.Decode(&one); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		all = append(all, one)
	}
	return all
}

// matcher compares values key by key with those of answers.jsonl, in which
// "<any>" stands for whatever is not null and not empty, and "<name>" for what
// stood there first.
type matcher map[string]string

var placeholder = regexp.MustCompile(`<[a-z-]+>`)

func (m matcher) differences(at string, want, got any) (all []string) {
	switch want := want.(type) {
	case map[string]any:
		have, ok := got.(map[string]any)
		if !ok {
			break
		}
		for _, key := range slices.Sorted(maps.Keys(want)) {
			if _, there := have[key]; !there {
				all = append(all, at+"/"+key+" is missing")
				continue
			}
			all = append(all, m.differences(at+"/"+key, want[key], have[key])...)
		}
		for key := range have {
			if _, there := want[key]; !there {
				all = append(all, at+"/"+key+" is too much")
			}
		}
		return all
	case []any:
		have, ok := got.([]any)
		if !ok || len(have) != len(want) {
			break
		}
		for i := range want {
			all = append(all, m.differences(fmt.Sprint(at, "/", i), want[i], have[i])...)
		}
		return all
	case string:
		if m.matches(want, got) {
			return nil
		}
	default:
		if want == got {
			return nil
		}
	}
	return []string{fmt.Sprintf("%s is %v, want %v", at, got, want)}
}

func (m matcher) matches(want string, got any) bool {
	if want == "<redacted>" || !placeholder.MatchString(want) {
		return want == got
	}
	text := fmt.Sprint(got)
	if name := strings.Trim(want, "<>"); name != "any" && placeholder.FindString(want) == want && m[name] == "" {
		m[name] = text
	}
	pattern := placeholder.ReplaceAllStringFunc(regexp.QuoteMeta(want), func(p string) string {
		if known := m[strings.Trim(p, "<>")]; known != "" {
			return regexp.QuoteMeta(known)
		}
		return "[^<]+"
	})
	return got != nil && regexp.MustCompile("^"+pattern+"$").MatchString(text)
}
