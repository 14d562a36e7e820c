package main

import (
	"testing"

	"onhook/internal/location"
	"onhook/internal/location/journaltest"
)

// What is compared does the same.
func TestConformance(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			dir := t.TempDir()
			journaltest.Run(t, func(t *testing.T) location.Journal {
				j, err := e.open(dir)
				if err != nil {
					t.Fatal(err)
				}
				return j
			})
		})
	}
}
