// Package sipevent is the notifier of RFC 6665 for one event package, reg (RFC
// 3680): whoever subscribes to the registration of an address-of-record is told
// its whole state at once and each change afterwards. It does not decide who may
// subscribe, and owns no socket.
//
// Subscriptions live in memory. A server that stops ends them with a NOTIFY; one
// that was killed answers their refreshes with 481. Either way the subscriber
// begins anew and gets the whole state.
package sipevent

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"onhook/internal/feed"
	"onhook/internal/location"
	"onhook/internal/sip"
	"onhook/internal/siptransaction"
)

// Package is the name of the event package (RFC 3680 4.1).
const Package = "reg"

// Config is what a Notifier is made of. Zero values mean the defaults named.
type Config struct {
	Transactions *siptransaction.Layer
	Index        *location.Index
	// OwnURI appends the URI by which the peer of a flow reaches this server.
	OwnURI func(dst []byte, flow sip.Flow) []byte
	// SentBy returns the host:port of this server for the peer of a flow.
	SentBy func(flow sip.Flow) string
	Logger *slog.Logger

	MaxSubscriptions int           // in all, 20,000
	MaxPerAOR        int           // of one address-of-record, 10
	MinExpires       time.Duration // 60 s; a shorter wish gets 423
	MaxExpires       time.Duration // 2 h; a longer wish is lowered
	DefaultExpires   time.Duration // 3761 s (RFC 3680 4.4)
	Interval         time.Duration // between two NOTIFYs of changes, 5 s (RFC 3680 4.10)
}

// AOR is the address-of-record a subscription is for.
type AOR struct {
	Key              location.Key
	Username, Domain string
	URI              string // sip:username@domain
}

// Notifier keeps the subscriptions.
type Notifier struct {
	cfg   Config
	stats counters

	mu       sync.Mutex
	dialogs  map[dialog]*subscription
	aors     map[location.Key][]*subscription
	conns    map[uint64][]*subscription // by the connection that leads to the subscriber
	feed     *location.Feed             // open while there is a subscription
	stopping bool
	wake     chan struct{}
}

type counters struct{ notified, failed, refused atomic.Uint64 }

// Stats are counts since the start, and the present number of subscriptions.
type Stats struct {
	Subscriptions int
	Notified      uint64 // NOTIFYs sent
	Failed        uint64 // subscriptions ended because a NOTIFY was refused or not answered
	Refused       uint64 // subscriptions refused because there were too many
}

// feedSize is how many changes may wait here before everybody is told the whole
// state instead.
const feedSize = 4096

// New makes a Notifier.
func New(c Config) *Notifier {
	orDuration := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	orInt := func(n *int, value int) {
		if *n == 0 {
			*n = value
		}
	}
	orInt(&c.MaxSubscriptions, 20_000)
	orInt(&c.MaxPerAOR, 10)
	orDuration(&c.MinExpires, time.Minute)
	orDuration(&c.MaxExpires, 2*time.Hour)
	orDuration(&c.DefaultExpires, 3761*time.Second)
	orDuration(&c.Interval, 5*time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Notifier{cfg: c, dialogs: map[dialog]*subscription{}, aors: map[location.Key][]*subscription{},
		conns: map[uint64][]*subscription{}, wake: make(chan struct{}, 1)}
}

// Stats returns the counts.
func (n *Notifier) Stats() Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	return Stats{Subscriptions: len(n.dialogs), Notified: n.stats.notified.Load(), Failed: n.stats.failed.Load(), Refused: n.stats.refused.Load()}
}

// Run takes in what happens to bindings until ctx ends. Without subscriptions
// it listens to nothing.
func (n *Notifier) Run(ctx context.Context) error {
	for {
		n.mu.Lock()
		told := n.feed
		n.mu.Unlock()
		if told == nil {
			select {
			case <-ctx.Done():
				return nil
			case <-n.wake:
			}
			continue
		}
		e, err := told.Next(ctx)
		switch {
		case errors.Is(err, feed.ErrClosed):
			n.closed(told)
		case err != nil:
			return nil
		default:
			n.tell(e)
		}
	}
}

// closed forgets a feed that the index has ended.
func (n *Notifier) closed(told *location.Feed) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.feed == told {
		n.feed = nil
	}
}

// tell notes one change with all who subscribed to its address-of-record.
func (n *Notifier) tell(e location.Event) {
	n.mu.Lock()
	var due []*subscription
	if e.Type == location.Gap { // what was lost may be anybody's
		for _, s := range n.dialogs {
			s.full = true
			due = n.schedule(s, due)
		}
	} else {
		for _, s := range n.aors[e.Key] {
			s.note(e)
			due = n.schedule(s, due)
		}
	}
	n.mu.Unlock()
	n.notify(due...)
}

// add enters a subscription; false when there are too many. The caller holds mu.
func (n *Notifier) add(s *subscription) bool {
	if n.stopping || len(n.dialogs) >= n.cfg.MaxSubscriptions || len(n.aors[s.aor.Key]) >= n.cfg.MaxPerAOR {
		n.stats.refused.Add(1)
		return false
	}
	if n.feed == nil { // from before the state is read, so that no change is missed
		n.feed = n.cfg.Index.Subscribe(feedSize)
		select {
		case n.wake <- struct{}{}:
		default:
		}
	}
	n.dialogs[s.dialog] = s
	n.aors[s.aor.Key] = append(n.aors[s.aor.Key], s)
	n.onConn(s)
	return true
}

func (n *Notifier) onConn(s *subscription) {
	if c := s.flow.Conn; c != 0 {
		n.conns[c] = append(n.conns[c], s)
	}
}

// remove ends a subscription. The caller holds mu.
func (n *Notifier) remove(s *subscription) {
	if n.dialogs[s.dialog] != s {
		return
	}
	delete(n.dialogs, s.dialog)
	drop(n.aors, s.aor.Key, s)
	drop(n.conns, s.flow.Conn, s)
	for _, t := range []*siptransaction.Timer{s.ends, s.later} {
		if t != nil {
			t.Stop()
		}
	}
	if len(n.dialogs) == 0 && n.feed != nil {
		n.feed.Close()
		n.feed = nil
	}
}

func drop[K comparable](m map[K][]*subscription, key K, s *subscription) {
	var kept []*subscription
	for _, other := range m[key] {
		if other != s {
			kept = append(kept, other)
		}
	}
	if len(kept) == 0 {
		delete(m, key)
	} else {
		m[key] = kept
	}
}

// FlowClosed ends the subscriptions whose subscriber was behind a connection
// that is gone.
func (n *Notifier) FlowClosed(flow sip.Flow) {
	if flow.Conn == 0 {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.conns[flow.Conn] {
		n.remove(s)
	}
}

// End ends the subscriptions to an address-of-record, with a last NOTIFY that
// gives the reason (RFC 6665 4.1.3).
func (n *Notifier) End(key location.Key, reason string) {
	n.mu.Lock()
	due := n.end(n.aors[key], reason)
	n.mu.Unlock()
	n.notify(due...)
}

// Stop ends all subscriptions: their subscribers shall return in a while. New
// ones are refused from here on.
func (n *Notifier) Stop() {
	n.mu.Lock()
	n.stopping = true
	var all []*subscription
	for _, s := range n.dialogs {
		all = append(all, s)
	}
	due := n.end(all, "probation;retry-after=10")
	n.mu.Unlock()
	n.notify(due...)
}

// end gives subscriptions their last reason. The caller holds mu.
func (n *Notifier) end(all []*subscription, reason string) (due []*subscription) {
	for _, s := range all {
		s.over, s.full, s.sending = reason, true, false // it does not wait for the answer to an earlier NOTIFY
		due = append(due, s)
	}
	return due
}
