package flows

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"onhook/test/devserver"
)

func TestMain(m *testing.M) { os.Exit(devserver.Main(m)) }

// Every *.flow file is a case. A flow fails with its line and what came instead.
func TestFlows(t *testing.T) {
	files, err := filepath.Glob("*.flow")
	if err != nil || len(files) == 0 {
		t.Fatalf("no flows: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(file, ".flow"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			// Of many attempts in a second only some are recorded: what looks
			// at them runs alone.
			if !strings.Contains(string(text), " traced") {
				t.Parallel()
			}
			if _, err := ParseScript(string(text)); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			s := devserver.Shared(t)
			if err := Play(string(text), Setting{Target: s.Target(), API: ServerAPI{s}}); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		})
	}
}

func TestScriptErrorsNameTheLine(t *testing.T) {
	for text, want := range map[string]string{
		"  Name: value":            "line 1",
		"phone alice udp\nalice ?": "line 2",
		"phone alice":              "line 1",
		"a > ":                     "line 1",
	} {
		if _, err := ParseScript(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, value string
		want           bool
	}{
		{"<sip:*>;tag=*", "<sip:a@b>;tag=1", true},
		{"a.c", "abc", false},
		{"/^a.c$/", "abc", true},
		{"*m=audio*", "v=0\r\nm=audio 1", true},
		{"70", "69", false},
	} {
		if got, err := matches(c.pattern, c.value); err != nil || got != c.want {
			t.Errorf("matches(%q, %q) = %v, %v", c.pattern, c.value, got, err)
		}
	}
}
