//go:build !race

package siptransport

const raceDetector = false
