//go:build race

package sipproxy

const raceDetector = true
