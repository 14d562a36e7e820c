package locationlog

import (
	"testing"

	"onhook/internal/location"
	"onhook/internal/location/journaltest"
)

func open(t testing.TB, cfg Config) *Journal {
	t.Helper()
	j, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func rec(key location.Key, value string) location.Record {
	return location.Record{Key: key, Value: []byte(value)}
}

func TestConformance(t *testing.T) {
	dir := t.TempDir()
	journaltest.Run(t, func(t *testing.T) location.Journal { return open(t, Config{Dir: dir}) })
}

// With small segments every step rolls and compacts.
func TestConformanceSmallSegments(t *testing.T) {
	dir := t.TempDir()
	journaltest.Run(t, func(t *testing.T) location.Journal { return open(t, Config{Dir: dir, minRoom: 4 << 10}) })
}
