// Package callguard counts the calls that endpoints and accounts have under way
// and begin in a second, against toll fraud. It knows no call and no clock: both
// are told to it.
package callguard

import (
	"hash/maphash"
	"sync"
	"time"
)

// Key names whose calls are counted: an endpoint's or an account's.
type Key struct {
	Endpoint uint64
	Account  string
}

// Subject is one of those that a call counts for, with its limits. A limit of 0
// is none.
type Subject struct {
	Key
	ConcurrentCalls int
	CallsPerSecond  int
}

// Verdict says whether a call may begin.
type Verdict uint8

// The verdicts.
const (
	Allowed    Verdict = iota
	Concurrent         // so many calls are under way already
	PerSecond          // so many have begun within a second
)

// Guard counts. It holds one entry for each key with a call under way, and for
// those whose last second is of account; the latter are swept while it is used.
type Guard struct {
	seed   maphash.Seed
	shards [32]shard
}

type shard struct {
	mu      sync.Mutex
	entries map[Key]*entry
}

type entry struct {
	open   int
	tokens float64   // calls that may begin at once
	at     time.Time // when tokens was right
}

// idle is after how long an entry without a call says nothing any more: its
// bucket is full again.
const idle = time.Second

// New makes a Guard.
func New() *Guard {
	g := &Guard{seed: maphash.MakeSeed()}
	for i := range g.shards {
		g.shards[i].entries = map[Key]*entry{}
	}
	return g
}

func (g *Guard) shard(k Key) *shard {
	return &g.shards[maphash.Comparable(g.seed, k)%uint64(len(g.shards))]
}

// Begin counts a call for all its subjects, or for none when one of them has
// reached a limit: which says its index.
func (g *Guard) Begin(now time.Time, subjects []Subject) (v Verdict, which int) {
	for i := range subjects {
		if v := g.shard(subjects[i].Key).begin(now, &subjects[i]); v != Allowed {
			for _, s := range subjects[:i] {
				g.shard(s.Key).end(s.Key, true)
			}
			return v, i
		}
	}
	return Allowed, 0
}

// Would is Begin that counts nothing.
func (g *Guard) Would(now time.Time, subjects []Subject) (v Verdict, which int) {
	for i := range subjects {
		s := g.shard(subjects[i].Key)
		s.mu.Lock()
		if e := s.entries[subjects[i].Key]; e != nil {
			copied := *e
			v = copied.judge(now, &subjects[i])
		}
		s.mu.Unlock()
		if v != Allowed {
			return v, i
		}
	}
	return Allowed, 0
}

// Resume counts a call that is under way, whatever the limits.
func (g *Guard) Resume(keys ...Key) {
	for _, k := range keys {
		g.shard(k).resume(k)
	}
}

// End tells that a call is over which Begin or Resume has counted.
func (g *Guard) End(keys ...Key) {
	for _, k := range keys {
		g.shard(k).end(k, false)
	}
}

// Open is how many calls are counted for a key.
func (g *Guard) Open(k Key) int {
	s := g.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[k]; e != nil {
		return e.open
	}
	return 0
}

func (s *shard) begin(now time.Time, subject *Subject) Verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(now)
	e := s.entries[subject.Key]
	if e == nil {
		e = &entry{tokens: float64(subject.CallsPerSecond), at: now}
		s.entries[subject.Key] = e
	}
	if v := e.judge(now, subject); v != Allowed {
		return v
	}
	e.open++
	if subject.CallsPerSecond > 0 {
		e.tokens--
	}
	return Allowed
}

// judge fills the bucket up to now, and says whether one more call may begin.
func (e *entry) judge(now time.Time, subject *Subject) Verdict {
	rate := float64(subject.CallsPerSecond)
	e.tokens = min(rate, e.tokens+rate*now.Sub(e.at).Seconds())
	e.at = now
	switch {
	case subject.ConcurrentCalls > 0 && e.open >= subject.ConcurrentCalls:
		return Concurrent
	case subject.CallsPerSecond > 0 && e.tokens < 1:
		return PerSecond
	}
	return Allowed
}

func (s *shard) resume(k Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[k]
	if e == nil {
		e = &entry{}
		s.entries[k] = e
	}
	e.open++
}

// end counts a call no more; undone as if it had never begun.
func (s *shard) end(k Key, undone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[k]
	if e == nil {
		return
	}
	e.open = max(e.open-1, 0)
	if undone {
		e.tokens++
	}
}

// sweep looks at a few entries, others each time, and drops those that say
// nothing. The shard is locked.
func (s *shard) sweep(now time.Time) {
	n := 0
	for k, e := range s.entries {
		if e.open == 0 && now.Sub(e.at) > idle {
			delete(s.entries, k)
		}
		if n++; n == 4 {
			return
		}
	}
}
