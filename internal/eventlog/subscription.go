package eventlog

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"

	"onhook/internal/event"
)

// ErrEnded is what Next returns after End, EndAll or Close.
var ErrEnded = errors.New("eventlog: the subscription has ended")

// Bounds of what waits in memory for one subscriber.
const (
	maxWaiting      = 1024
	maxWaitingBytes = 1 << 20
)

// Subscription is one subscriber's events: those of an account and, for a main
// account, of its sub-accounts. One goroutine takes them.
type Subscription struct {
	log *Log

	mu       sync.Mutex
	waiting  []*event.Event // new ones, up to the bounds
	bytes    int
	missed   bool     // more came, which are in the files alone
	missedAt position // the first of them
	ended    bool
	wake     chan struct{}

	// What the taker alone uses.
	wanted  wanted        // after: what was taken last
	found   []event.Event // from the files
	pos, to position      // of the files: what is still to be read
	gap     bool          // to be told before anything else
}

// Subscribe begins a subscription after the event with an ID, which need not
// exist; nil: with what comes. Events that are not kept any more are told by
// an event.StreamGap in their place. The caller ends it.
func (l *Log) Subscribe(account string, filter event.Filter, after *event.ID) *Subscription {
	s := &Subscription{log: l, wanted: wanted{account: account, filter: filter}, wake: make(chan struct{}, 1)}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		s.ended = true
		return s
	}
	s.to = l.end()
	if after == nil || after.Compare(l.last) > 0 {
		s.pos, s.wanted.after = s.to, l.last
	} else {
		s.wanted.after = *after
		s.pos, s.gap = l.locate(*after)
	}
	l.subs[account] = append(l.subs[account], s)
	l.subscribers.Add(1)
	return s
}

// End ends the subscription.
func (s *Subscription) End() {
	l := s.log
	l.mu.Lock()
	before := l.subs[s.wanted.account]
	rest := slices.DeleteFunc(slices.Clone(before), func(o *Subscription) bool { return o == s })
	if len(rest) == 0 {
		delete(l.subs, s.wanted.account)
	} else {
		l.subs[s.wanted.account] = rest
	}
	l.subscribers.Add(int64(len(rest) - len(before)))
	l.mu.Unlock()
	s.end()
}

func (s *Subscription) end() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.signal()
}

// EndAll ends all subscriptions, and those still to come, at once.
func (l *Log) EndAll() {
	l.mu.Lock()
	l.ended = true
	subs := l.subs
	l.subs = map[string][]*Subscription{}
	l.subscribers.Store(0)
	l.mu.Unlock()
	for _, list := range subs {
		for _, s := range list {
			s.end()
		}
	}
}

func (s *Subscription) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// publish hands an event to those who want it. l.mu is held.
func (l *Log) publish(e *event.Event, at position) {
	if e.Account == "" {
		for _, list := range l.subs {
			for _, s := range list {
				s.push(e, at)
			}
		}
		return
	}
	for _, s := range l.subs[e.Account] {
		s.push(e, at)
	}
	if e.Main != e.Account {
		for _, s := range l.subs[e.Main] {
			s.push(e, at)
		}
	}
}

func (s *Subscription) push(e *event.Event, at position) {
	if !s.wanted.filter.Match(e.Type) {
		return
	}
	s.mu.Lock()
	switch {
	case s.missed:
	case len(s.waiting) >= maxWaiting || s.bytes+len(e.Body) > maxWaitingBytes:
		s.missed, s.missedAt = true, at
		s.log.slow.Add(1)
	default:
		copied := *e // the appender uses its batch and its bodies again
		copied.Body = bytes.Clone(e.Body)
		s.waiting = append(s.waiting, &copied)
		s.bytes += len(e.Body)
	}
	s.mu.Unlock()
	s.signal()
}

// Next waits for the next event. Its Body is shared: it is not to be changed.
func (s *Subscription) Next(ctx context.Context) (event.Event, error) {
	for {
		e, ok, err := s.Take()
		if ok || err != nil {
			return e, err
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return event.Event{}, ctx.Err()
		}
	}
}

// Wake is ready when Take may have something again.
func (s *Subscription) Wake() <-chan struct{} { return s.wake }

// Drained reports whether nothing waits to be taken. It is for the taker.
func (s *Subscription) Drained() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting) == 0 && !s.missed && len(s.found) == 0 && !s.gap && !s.pos.before(s.to)
}

// Take returns the next event if there is one now.
func (s *Subscription) Take() (e event.Event, ok bool, err error) {
	for {
		if e, ok, err = s.fromFiles(); ok || err != nil {
			return e, ok, err
		}
		e, ok, again := s.fromMemory()
		if !again {
			return e, ok, nil
		}
		// What did not fit is read up to the present end. What has come since
		// is in memory too, and told once: see wanted.after.
		s.log.mu.Lock()
		s.to = s.log.end()
		s.log.mu.Unlock()
	}
}

func (s *Subscription) fromFiles() (e event.Event, ok bool, err error) {
	s.mu.Lock()
	ended := s.ended
	s.mu.Unlock()
	if ended {
		return e, false, ErrEnded
	}
	for len(s.found) == 0 && !s.gap && s.pos.before(s.to) {
		if s.found, s.pos, s.gap, err = s.log.read(s.pos, s.to, s.wanted, s.found[:0]); err != nil {
			return e, false, err
		}
	}
	if s.gap {
		s.gap = false
		return event.Gap(s.firstKept(), s.wanted.account), true, nil
	}
	if len(s.found) == 0 {
		return e, false, nil
	}
	e = s.found[0]
	s.found = s.found[1:]
	s.wanted.after = e.ID
	return e, true, nil
}

// fromMemory takes what is new; again tells that the files have more.
func (s *Subscription) fromMemory() (e event.Event, ok, again bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.waiting) > 0 {
		first := s.waiting[0]
		s.waiting[0] = nil
		s.waiting = s.waiting[1:]
		s.bytes -= len(first.Body)
		if first.ID.Compare(s.wanted.after) > 0 {
			s.wanted.after = first.ID
			return *first, true, false
		}
	}
	if s.missed {
		s.missed, s.pos = false, s.missedAt
		return e, false, true
	}
	return e, false, false
}

// firstKept is the next event there is, for the one that tells of a gap.
func (s *Subscription) firstKept() event.ID {
	if len(s.found) > 0 {
		return s.found[0].ID
	}
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	for _, seg := range s.log.segments {
		if seg.first.Compare(s.wanted.after) > 0 {
			return seg.first
		}
	}
	return s.log.last.After()
}
