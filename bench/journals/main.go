// Command journals compares the engines that a location.Journal may stand on,
// on one machine and in one run, and writes what it measures as a page.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"

	"onhook/bench/journals/pebble"
	"onhook/bench/journals/sqlite"
	"onhook/internal/location"
	"onhook/internal/locationlog"
)

// engine is a journal to compare.
type engine struct {
	name   string
	module string // "": our own
	open   func(dir string) (location.Journal, error)
}

var engines = []engine{
	{"locationlog", "", func(dir string) (location.Journal, error) {
		return locationlog.Open(locationlog.Config{Dir: dir})
	}},
	{"Pebble", "github.com/cockroachdb/pebble/v2", func(dir string) (location.Journal, error) { return pebble.Open(dir) }},
	{"SQLite", "modernc.org/sqlite", func(dir string) (location.Journal, error) { return sqlite.Open(dir) }},
}

func main() {
	out := flag.String("out", "", "file to write the page to; default: standard output")
	dir := flag.String("dir", ".", "folder to measure in: on the disk that shall be measured")
	each := flag.Duration("each", 3*time.Second, "how long each group size of each engine is measured, twice")
	records := flag.Int("records", 1_000_000, "records of the load")
	flag.Parse()
	page, err := run(*dir, *each, *records)
	if err == nil && *out != "" {
		err = os.WriteFile(*out, []byte(page), 0o644)
	} else if err == nil {
		fmt.Print(page)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "journals:", err)
		os.Exit(1)
	}
}

func run(parent string, each time.Duration, records int) (string, error) {
	dir, err := os.MkdirTemp(parent, "journals-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	var p page
	if p.sync, err = measureSync(dir, each); err != nil {
		return "", err
	}
	for round := range 2 { // alternating, so that a busy moment does not hit one alone
		for i, e := range engines {
			for k, group := range groups {
				fmt.Fprintf(os.Stderr, "round %d: %s in groups of %d\n", round+1, e.name, group)
				c, err := measureCommits(e, dir, group, each)
				if err != nil {
					return "", fmt.Errorf("%s: %w", e.name, err)
				}
				p.commits[i][k] = append(p.commits[i][k], c)
			}
		}
	}
	for i, e := range engines {
		fmt.Fprintf(os.Stderr, "%s: load of %d\n", e.name, records)
		if p.loads[i], err = measureLoad(e, dir, records); err != nil {
			return "", fmt.Errorf("%s: %w", e.name, err)
		}
	}
	p.records = records
	return p.String(), nil
}
