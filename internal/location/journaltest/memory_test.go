package journaltest_test

import (
	"testing"

	"onhook/internal/location"
	"onhook/internal/location/journaltest"
)

func TestMemory(t *testing.T) {
	m := journaltest.NewMemory()
	journaltest.Run(t, func(*testing.T) location.Journal { return m })
}
