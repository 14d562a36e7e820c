package api

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzJSONBody compares the reading of a body with encoding/json's own: the
// same bodies are objects, and they have the same names.
func FuzzJSONBody(f *testing.F) {
	for _, seed := range []string{`{"username":"a","application":12345678901234500,"x":[{} , [1,"]"],null]}`, `{"a":1,"a":2}`, `{"a":nul}`,
		`[]`, `{`, ` {} `, `{} {}`, "{\"a\":\"\xff\"}", `{"\u0061":1}`, `null`, ``} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		var want map[string]json.RawMessage
		err := json.Unmarshal([]byte(body), &want)
		valid := err == nil && want != nil && utf8.ValidString(body) || strings.Trim(body, " \t\r\n\v\f\u0085\u00a0") == ""
		got, err := jsonBody([]byte(body))
		if valid != (err == nil) && strings.TrimSpace(body) != "" {
			t.Fatalf("%q: %v", body, err)
		}
		if err != nil {
			return
		}
		if !slices.Equal(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got.values))) {
			t.Fatalf("%q: names %q", body, got.values)
		}
		for name, v := range got.values {
			if string(v.raw) != string(want[name]) {
				t.Fatalf("%q: %s is %s, want %s", body, name, v.raw, want[name])
			}
			var elements []json.RawMessage
			err := json.Unmarshal(v.raw, &elements)
			same := func(a, b json.RawMessage) bool { return string(a) == string(b) }
			if all, ok := arrayElements(v.raw); ok != (err == nil && elements != nil) || !slices.EqualFunc(all, elements, same) {
				t.Fatalf("%q: %s has the elements %q, want %q", body, name, all, elements)
			}
		}
		endpointSpec(got, true) // takes whatever there is
	})
}

func TestBrokenJSONPosition(t *testing.T) {
	for body, want := range map[string]string{
		`{"a":}`:             "line 1, column 6",
		"{\n\t\"a\": tru}":   "line 2, column 10",
		"{\"ä\": ö}":         "line 1, column 7",
		`{"a"`:               "line 1, column 5",
		"\n\n}":              "line 3, column 1",
		`{"a":1} x`:          "line 1, column 9",
		"{\"a\":\"line\n\"}": "line 1, column 11",
	} {
		err := checkJSON([]byte(body))
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", body, err, want)
		}
	}
}
