package flows

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"onhook/test/devserver"
)

func TestMain(m *testing.M) { os.Exit(devserver.Main(m)) }

type api struct{ *devserver.Server }

func (a api) CreateEndpoint(prefix string, fields map[string]any) (devserver.Endpoint, error) {
	body := map[string]any{"username": devserver.Name(prefix), "password": devserver.Password}
	for k, v := range fields {
		body[k] = v
	}
	var e devserver.Endpoint
	status, err := a.API("POST", "Endpoint/", body, &e)
	if err == nil && status != 201 {
		err = fmt.Errorf("status %d", status)
	}
	e.Password = devserver.Password
	return e, err
}

func (a api) ChangeEndpoint(id string, fields map[string]any) error {
	status, err := a.API("POST", "Endpoint/"+id+"/", fields, nil)
	if err == nil && status != 202 {
		err = fmt.Errorf("status %d", status)
	}
	return err
}

func (a api) CanCall(id, to string, media []string) (map[string]any, error) {
	answer := map[string]any{}
	status, err := a.API("POST", "Endpoint/"+id+"/CanCall/", map[string]any{"to": to, "media": media}, &answer)
	if err == nil && status != 200 {
		err = fmt.Errorf("status %d", status)
	}
	return answer, err
}

func (a api) Registered(id string) (string, error) {
	var e devserver.Endpoint
	_, err := a.API("GET", "Endpoint/"+id+"/", nil, &e)
	return e.Registered, err
}

// Every *.flow file is a case. A flow fails with its line and what came instead.
func TestFlows(t *testing.T) {
	files, err := filepath.Glob("*.flow")
	if err != nil || len(files) == 0 {
		t.Fatalf("no flows: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(file, ".flow"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := ParseScript(string(text)); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			s := devserver.Shared(t)
			if err := Play(string(text), s.Target(), api{s}); err != nil {
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
