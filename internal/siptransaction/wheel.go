package siptransaction

import (
	"math"
	"sync/atomic"
	"time"
)

// tick is the wheel's resolution.
const tick = 10 * time.Millisecond

// wheelSlots is the number of slots of one shard's wheel, a power of two. A
// timer further away than one turn is passed over until its turn comes.
const wheelSlots = 512

// node is a timer's place on a wheel. It belongs to what it wakes.
type node struct {
	next, prev *node // nil while not armed
	at         int64 // tick
	owner      owner
}

// owner is woken when its node's time has come. The shard is locked; what is
// to happen after unlocking is appended to e.
type owner interface {
	fire(n *node, e []effect) []effect
}

// wheel is a hashed timer wheel. Its shard's lock guards it.
type wheel struct {
	alarm *alarm
	now   int64 // the last tick that was processed
	next  int64 // nothing is due before; it may be early, never late
	armed int
	due   node // list of those whose time has come
	slots [wheelSlots]node
}

func (w *wheel) init(a *alarm) {
	w.alarm, w.next = a, math.MaxInt64
	w.due.next, w.due.prev = &w.due, &w.due
	for i := range w.slots {
		n := &w.slots[i]
		n.next, n.prev = n, n
	}
}

// set arms n for tick at, wherever it stood before.
func (w *wheel) set(n *node, at int64) {
	w.stop(n)
	n.at = max(at, w.now+1)
	w.slots[n.at%wheelSlots].push(n)
	w.armed++
	if n.at < w.next {
		w.next = n.at
		w.alarm.set(n.at)
	}
}

// alarm wakes Run where a timer is set that ends before it would look again.
type alarm struct {
	until atomic.Int64 // the tick at which it will
	wake  chan struct{}
}

func (a *alarm) init() { a.wake = make(chan struct{}, 1) }

func (a *alarm) set(at int64) {
	if at >= a.until.Load() {
		return
	}
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// stop disarms n and reports whether it was armed.
func (w *wheel) stop(n *node) bool {
	if n.next == nil {
		return false
	}
	n.unlink()
	w.armed--
	return true
}

// advance moves the wheel to a tick and fires what is due, oldest tick first.
// A timer that another one stops on the same tick does not fire any more.
func (w *wheel) advance(to int64, e []effect) []effect {
	if to < w.next {
		w.now = max(w.now, to)
		return e
	}
	if to-w.now > wheelSlots {
		w.now = to - wheelSlots // one whole turn sees every timer
	}
	for w.now < to {
		w.now++
		head := &w.slots[w.now%wheelSlots]
		for n := head.next; n != head; {
			next := n.next
			if n.at <= w.now {
				n.unlink()
				w.due.push(n)
			}
			n = next
		}
		for w.due.next != &w.due {
			n := w.due.next
			w.stop(n)
			e = n.owner.fire(n, e)
		}
	}
	w.next = w.nextArmed()
	return e
}

// nextArmed is the tick of the next slot that holds a timer.
func (w *wheel) nextArmed() int64 {
	if w.armed == 0 {
		return math.MaxInt64
	}
	at := w.now + 1
	for head := &w.slots[at%wheelSlots]; head.next == head; head = &w.slots[at%wheelSlots] {
		at++
	}
	return at
}

// push appends n to the list whose head is h.
func (h *node) push(n *node) {
	n.prev, n.next = h.prev, h
	h.prev.next = n
	h.prev = n
}

func (n *node) unlink() {
	n.prev.next, n.next.prev = n.next, n.prev
	n.next, n.prev = nil, nil
}

// Timer is a callback that was asked for with AfterFunc.
type Timer struct {
	shard *shard
	node  node
	f     func()
}

// AfterFunc calls f once d has passed, on Run's goroutine and without a lock.
// f must not block. Timers that still run when Run returns never fire.
func (l *Layer) AfterFunc(d time.Duration, f func()) *Timer {
	t := &Timer{shard: &l.shards[l.nextTimer.Add(1)%uint64(len(l.shards))], f: f}
	t.node.owner = t
	t.shard.mu.Lock()
	defer t.shard.mu.Unlock()
	t.shard.wheel.set(&t.node, l.deadline(d))
	return t
}

// Stop prevents the callback and reports whether it did; false means that the
// callback was made, or is about to be.
func (t *Timer) Stop() bool {
	t.shard.mu.Lock()
	defer t.shard.mu.Unlock()
	return t.shard.wheel.stop(&t.node)
}

// Reset has the callback of t made once d has passed from now on, and reports
// whether it will be; false means that it was made or stopped before.
func (l *Layer) Reset(t *Timer, d time.Duration) bool {
	t.shard.mu.Lock()
	defer t.shard.mu.Unlock()
	if t.node.next == nil {
		return false
	}
	t.shard.wheel.set(&t.node, l.deadline(d))
	return true
}

func (t *Timer) fire(_ *node, e []effect) []effect { return append(e, effect{f: t.f}) }
