package location

import (
	"context"
	"errors"
	"math"
	"time"
)

// timer is when to look at an entry again. It may be early (a refresh does not
// move it), never late. Keeping the time beside the pointer keeps the heap's
// comparisons in its own memory.
type timer struct {
	at int64 // unix ms
	en *entry
}

const (
	sweepBatch = 64                     // entries per look at a shard
	sweepRetry = 50 * time.Millisecond  // when the queue is full
	dirtyRetry = 500 * time.Millisecond // when the journal failed
	dirtyBatch = 1024
)

// schedule sets the time at which an entry's first binding ends. The shard is
// locked.
func (s *shard) schedule(x *Index, en *entry, ends, now int64) {
	if en.n == 0 {
		if en.pos >= 0 {
			s.unschedule(en)
		}
		return
	}
	switch {
	case en.pos < 0:
		en.pos = int32(len(s.heap))
		s.heap = append(s.heap, timer{ends, en})
		s.up(int(en.pos))
	case ends < s.heap[en.pos].at:
		s.heap[en.pos].at = ends
		s.up(int(en.pos))
	case s.heap[en.pos].at <= now:
		s.heap[en.pos].at = ends
		s.down(int(en.pos))
		return
	default:
		return // it may stay early
	}
	if ends < x.nextSweep.Load() {
		x.wakeSweeper()
	}
}

func (s *shard) unschedule(en *entry) {
	i, last := int(en.pos), len(s.heap)-1
	en.pos = -1
	if i != last {
		s.place(i, s.heap[last])
	}
	s.heap[last] = timer{}
	s.heap = s.heap[:last]
	if i != last {
		s.up(i)
		s.down(i)
	}
	if cap(s.heap) > 1024 && len(s.heap) < cap(s.heap)/4 { // give back what a storm took
		s.heap = append(make([]timer, 0, 2*len(s.heap)), s.heap...)
	}
}

func (s *shard) place(i int, t timer) {
	s.heap[i] = t
	t.en.pos = int32(i)
}

func (s *shard) up(i int) {
	t := s.heap[i]
	for i > 0 {
		parent := (i - 1) / 2
		if s.heap[parent].at <= t.at {
			break
		}
		s.place(i, s.heap[parent])
		i = parent
	}
	s.place(i, t)
}

func (s *shard) down(i int) {
	t := s.heap[i]
	for {
		child := 2*i + 1
		if child >= len(s.heap) {
			break
		}
		if child+1 < len(s.heap) && s.heap[child+1].at < s.heap[child].at {
			child++
		}
		if t.at <= s.heap[child].at {
			break
		}
		s.place(i, s.heap[child])
		i = child
	}
	s.place(i, t)
}

func (x *Index) wakeSweeper() {
	select {
	case x.sweepWake <- struct{}{}:
	default:
	}
}

// expire ends bindings when their time has come. It sleeps until the earliest
// timer of any shard and looks at due entries only.
func (x *Index) expire(ctx context.Context) {
	alarm := time.NewTimer(0)
	defer alarm.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-alarm.C:
		case <-x.sweepWake:
		}
		x.nextSweep.Store(math.MaxInt64) // a timer set from here on wakes us
		next, err := x.sweep()
		if errors.Is(err, ErrClosed) {
			return
		}
		wait := time.Duration(math.MaxInt64)
		if next != math.MaxInt64 {
			wait = max(time.UnixMilli(next).Sub(x.cfg.Now()), time.Millisecond)
		}
		if err != nil {
			wait = sweepRetry
		}
		if x.rewriteDirty() {
			wait = min(wait, dirtyRetry)
		}
		x.nextSweep.Store(next)
		alarm.Reset(wait)
	}
}

// sweep ends what is due and returns when the next binding ends.
func (x *Index) sweep() (next int64, err error) {
	next = math.MaxInt64
	var due [sweepBatch]Key
	for i := range x.shards {
		s := &x.shards[i]
		for {
			n := s.due(x.now().UnixMilli(), due[:], &next)
			for _, key := range due[:n] {
				if err := x.reserveOwn(); err != nil {
					return next, err
				}
				if err := x.apply(key, nil, false); err != nil {
					return next, err
				}
			}
			if n == 0 {
				break
			}
		}
	}
	return next, nil
}

// due collects keys whose timer has fired; when there are none it lowers next
// to the shard's earliest timer.
func (s *shard) due(now int64, keys []Key, next *int64) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.heap) == 0 {
		return 0
	}
	if s.heap[0].at > now {
		*next = min(*next, s.heap[0].at)
		return 0
	}
	// A child is due only if its parent is: go down from the top.
	n := 0
	for i := 0; i < len(s.heap) && i < 2*len(keys) && n < len(keys); i++ {
		if s.heap[i].at <= now {
			keys[n] = s.heap[i].en.key
			n++
		}
	}
	return n
}

// rewriteDirty sends records that the journal refused to it again; true when
// some are left.
func (x *Index) rewriteDirty() bool {
	x.dirtyMu.Lock()
	keys := make([]Key, 0, min(len(x.dirty), dirtyBatch))
	if time.Duration(x.now().UnixMilli()-x.dirtyTried)*time.Millisecond >= dirtyRetry {
		for key := range x.dirty {
			if len(keys) == cap(keys) {
				break
			}
			keys = append(keys, key)
			delete(x.dirty, key)
		}
		x.dirtyTried = x.now().UnixMilli()
	}
	left := len(x.dirty) > 0
	x.dirtyMu.Unlock()
	for _, key := range keys {
		if x.reserveOwn() != nil {
			x.dirtyMu.Lock()
			x.dirty[key] = struct{}{}
			x.dirtyMu.Unlock()
			left = true
			continue
		}
		_ = x.apply(key, nil, true) // without an editor there is no error
	}
	return left
}
