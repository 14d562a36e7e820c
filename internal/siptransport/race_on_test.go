//go:build race

package siptransport

// raceDetector: with it sync.Pool drops a part of what is put back.
const raceDetector = true
