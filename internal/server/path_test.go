package server

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"onhook/internal/directory"
)

// A message that the program fails on costs that message: the server goes on,
// every one is counted, and repeating it does not fill the log.
func TestPanicsAreCountedNotFlooded(t *testing.T) {
	var log bytes.Buffer
	p := newPath(newNames([]string{"example.com"}, directory.New()), directory.New(), slog.New(slog.NewTextHandler(&log, nil)))
	for range 1000 {
		func() {
			defer p.recovered()
			panic("a mistake")
		}()
	}
	if n := p.stats.panics.Load(); n != 1000 {
		t.Errorf("%d counted", n)
	}
	if n := strings.Count(log.String(), "could not be handled"); n != 10 { // 1, 2, 4 … 512
		t.Errorf("%d log lines", n)
	}
}
