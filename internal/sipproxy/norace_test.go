//go:build !race

package sipproxy

const raceDetector = false
