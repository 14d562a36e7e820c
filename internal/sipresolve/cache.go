package sipresolve

import (
	"errors"
	"sync"
	"time"
)

// errMiss says that a question is not answered by what is known.
var errMiss = errors.New("not cached")

// entry is a kept answer, or the kept failure to get one.
type entry struct {
	answer answer
	err    error
	until  time.Time
}

// cache keeps answers for as long as they say, and no more than max of them.
type cache struct {
	mu      sync.Mutex
	max     int
	entries map[question]entry
	flights map[question]*flight
}

// flight is a question that is under way.
type flight struct {
	done chan struct{}
	entry
}

func (c *cache) get(q question, now time.Time) (entry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[q]
	return e, ok && now.Before(e.until)
}

// join returns the flight of a question, and whether it is new: then its owner
// must land it.
func (c *cache) join(q question) (f *flight, owner bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.flights[q]; f != nil {
		return f, false
	}
	f = &flight{done: make(chan struct{})}
	c.flights[q] = f
	return f, true
}

func (c *cache) land(q question, f *flight, e entry, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.entry = e
	delete(c.flights, q)
	close(f.done)
	if !now.Before(e.until) {
		return
	}
	if _, known := c.entries[q]; !known && len(c.entries) >= c.max {
		c.makeRoom(now)
	}
	c.entries[q] = e
}

// makeRoom drops the entry that has the least left among a few at random; what
// has expired goes first that way. The caller holds mu.
func (c *cache) makeRoom(now time.Time) {
	var oldest question
	var until time.Time
	n := 0
	for q, e := range c.entries {
		if n == 0 || e.until.Before(until) {
			oldest, until = q, e.until
		}
		if n++; n == 8 || !now.Before(until) {
			break
		}
	}
	delete(c.entries, oldest)
}

func (c *cache) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.entries)
}

// avoided are hops that somebody had no luck with.
type avoided struct {
	mu  sync.Mutex
	max int
	set map[Hop]time.Time // until when
}

func (a *avoided) add(h Hop, now, until time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, known := a.set[h.key()]; !known && len(a.set) >= a.max {
		for h, t := range a.set {
			if !now.Before(t) {
				delete(a.set, h)
			}
		}
		if len(a.set) >= a.max {
			return // it is only a hint
		}
	}
	a.set[h.key()] = until
}

func (a *avoided) remove(h Hop) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.set, h.key())
}

func (a *avoided) count(now time.Time) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for h, until := range a.set {
		if now.Before(until) {
			n++
		} else {
			delete(a.set, h)
		}
	}
	return n
}

// last moves the avoided hops behind the others: when nothing else is left they
// are better than nothing.
func (a *avoided) last(hops []Hop, now time.Time) []Hop {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.set) == 0 {
		return hops
	}
	good, bad := make([]Hop, 0, len(hops)), []Hop(nil)
	for _, h := range hops {
		if until, ok := a.set[h.key()]; ok && now.Before(until) {
			bad = append(bad, h)
		} else {
			good = append(good, h)
		}
	}
	return append(good, bad...)
}
