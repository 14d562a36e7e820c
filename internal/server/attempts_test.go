package server

import (
	"fmt"
	"hash/maphash"
	"testing"
	"time"

	"onhook/internal/sip"
)

// An endpoint's refused calls are recorded up to a measure, repetitions never,
// and one endpoint's do not count against another's.
func TestAttempts(t *testing.T) {
	a := &attempts{seed: maphash.MakeSeed()}
	now := time.Now()
	recorded := func(id uint64, from, to int, at time.Time) (n int) {
		for i := from; i < to; i++ {
			if a.admit(100_000_000_000_000+1, &sip.Message{CallID: fmt.Sprint(id, "-", i)}, at) {
				n++
			}
		}
		return n
	}
	if n := recorded(1, 0, 100, now); n != attemptBurst || a.sampled.Load() != 100-attemptBurst {
		t.Errorf("%d of 100 recorded, %d counted", n, a.sampled.Load())
	}
	if n := recorded(1, 100, 110, now.Add(3*attemptEvery)); n != 3 {
		t.Errorf("%d recorded after the time of three", n)
	}
	m := &sip.Message{CallID: "again"}
	later := now.Add(time.Hour)
	if !a.admit(100_000_000_000_002, m, later) || a.admit(100_000_000_000_002, m, later) {
		t.Error("a repetition is recorded, or the first is not")
	}
}
