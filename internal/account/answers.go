package account

import "time"

// Answer is what a request was answered with, kept for its repetitions.
type Answer struct {
	Request [32]byte // hash of what was asked
	Status  int
	APIID   string
	Body    []byte
	At      time.Time
}

// AnswerAge is how long an answer is kept.
const AnswerAge = 24 * time.Hour

// Fresh reports whether the answer still stands for the request.
func (a Answer) Fresh(now time.Time) bool { return now.Sub(a.At) < AnswerAge }
