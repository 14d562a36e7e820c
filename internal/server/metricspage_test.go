package server

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"onhook/internal/metrics"
	"onhook/internal/trunk"
)

var update = flag.Bool("update", false, "write docs/metrics.md")

// docs/metrics.md is what /metrics serves.
func TestMetricsPage(t *testing.T) {
	cfg := testConfig(t)
	cfg.Trunks = []trunk.Trunk{{Name: "carrier", URI: "sip:127.0.0.1:9", Username: "u", Password: "p", Register: true}}
	in := start(t, cfg)
	var page strings.Builder
	page.WriteString("# Metrics\n\nWhat `/metrics` serves, in the text format of Prometheus, beside the `go_` and `process_` figures of every Go program.\n" +
		"Written by `make docs` from the program; do not edit.\n\n| metric | kind | labels | what it is |\n| --- | --- | --- | --- |\n")
	type family struct {
		metrics.Sample
		labels []string // name=value, in the order of their appearance
	}
	var families []*family
	byName := map[string]*family{}
	in.samples(func(s metrics.Sample) {
		f := byName[s.Name]
		if f == nil {
			f = &family{Sample: s}
			families, byName[s.Name] = append(families, f), f
		}
		for i := 0; i+1 < len(s.Labels); i += 2 {
			f.labels = append(f.labels, s.Labels[i]+"="+s.Labels[i+1])
		}
	})
	for _, f := range families {
		kind := "gauge"
		if f.Counter {
			kind = "counter"
		}
		fmt.Fprintf(&page, "| `onhook_%s` | %s | %s | %s |\n", f.Name, kind, labels(f.labels), f.Help)
	}
	const file = "../../docs/metrics.md"
	if *update {
		if err := os.WriteFile(file, []byte(page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != page.String() {
		t.Errorf("docs/metrics.md is out of date (%v): run make docs", err)
	}
}

// labels writes name=value pairs as `name`: value, value. Values that a
// configuration names are left out.
func labels(pairs []string) string {
	var names []string
	values := map[string][]string{}
	for _, p := range pairs {
		name, value, _ := strings.Cut(p, "=")
		if values[name] == nil {
			names = append(names, name)
		}
		values[name] = append(values[name], value)
	}
	for i, name := range names {
		switch name {
		case "trunk":
			names[i] = "`trunk`: its name"
		case "mode":
			names[i] = "`mode`: `auth.bans`"
		default:
			names[i] = "`" + name + "`: " + strings.Join(values[name], ", ")
		}
	}
	return strings.Join(names, "; ")
}
