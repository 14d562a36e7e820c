// Package journals compares the engines that a location.Journal may stand on.
package journals

import (
	"onhook/bench/journals/pebble"
	"onhook/bench/journals/sqlite"
	"onhook/internal/location"
	"onhook/internal/locationlog"
)

// engine is a journal to compare.
type engine struct {
	name string
	open func(dir string) (location.Journal, error)
}

var engines = []engine{
	{"locationlog", func(dir string) (location.Journal, error) { return locationlog.Open(locationlog.Config{Dir: dir}) }},
	{"Pebble", func(dir string) (location.Journal, error) {
		return pebble.Open(dir)
	}},
	{"SQLite", func(dir string) (location.Journal, error) { return sqlite.Open(dir) }},
}
