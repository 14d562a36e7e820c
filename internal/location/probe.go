package location

import (
	"time"

	"onhook/internal/sip"
)

// ProbeMode says which UDP bindings are to be asked whether their devices are
// still there.
type ProbeMode uint8

// The modes.
const (
	ProbeNAT  ProbeMode = iota // those behind a NAT
	ProbeAll                   // all
	ProbeNone                  // none
)

// missesSuspect is how many probes in a row may go unanswered.
const missesSuspect = 2

// wantsProbe reports whether a binding is to be probed. One with a Path is the
// business of the edge proxy in front of it.
func (x *Index) wantsProbe(b *Binding) bool {
	return b.Flow.Transport == sip.UDP && b.Path == "" &&
		(x.cfg.Probe == ProbeAll || x.cfg.Probe == ProbeNAT && b.BehindNAT)
}

// Probed returns how many bindings are to be probed, and Shards in how many
// parts ProbedKeys tells them.
func (x *Index) Probed() int { return int(x.probed.Load()) }

// Shards is the number of parts that ProbedKeys knows.
func (x *Index) Shards() int { return numShards }

// ProbedKeys appends the addresses-of-record of one part, 0 to Shards()-1, that
// have a binding to be probed, in no order.
func (x *Index) ProbedKeys(part int, dst []Key) []Key {
	if part == 0 {
		x.heard.fit(x.Probed())
	}
	s := &x.shards[part]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.probed == 0 {
		return dst
	}
	for key, en := range s.entries {
		if en.probed > 0 {
			dst = append(dst, key)
		}
	}
	return dst
}

// ToProbe appends the live bindings of an address-of-record that are to be
// probed. They may be kept.
func (x *Index) ToProbe(key Key, dst []Binding) []Binding {
	start := len(dst)
	dst = x.Lookup(key, dst)
	kept := dst[:start]
	for i := start; i < len(dst); i++ {
		if x.wantsProbe(&dst[i]) {
			kept = append(kept, dst[i])
		}
	}
	return kept
}

// Answered tells that the device of a binding has answered a probe; false when
// there is no such binding. Like Missed it changes memory alone: what was heard
// of a device is no business of the journal's.
func (x *Index) Answered(key Key, bindingID string) bool {
	return x.touch(key, bindingID, func(b *Binding, now time.Time) {
		b.LastSeen, b.State, b.misses = now, Reachable, 0
	})
}

// Missed tells that a probe sent at a time was not answered. It reports false
// when the device was heard of otherwise, or is gone. Two probes missed in a row
// make its binding suspect, which is tried after all others.
func (x *Index) Missed(key Key, bindingID string, sent time.Time) (missed bool) {
	sent = time.UnixMilli(sent.UnixMilli()) // as LastSeen is kept
	x.touch(key, bindingID, func(b *Binding, _ time.Time) {
		x.freshen(b)
		if missed = b.LastSeen.Before(sent); !missed {
			return
		}
		if b.misses = min(b.misses+1, missesSuspect); b.misses == missesSuspect {
			b.State = Suspect
		}
	})
	return missed
}

// touch changes what memory knows of a live binding.
func (x *Index) touch(key Key, bindingID string, f func(b *Binding, now time.Time)) (found bool) {
	now := x.now()
	c := x.change(key, now)
	defer x.release(c)
	s := x.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	en := s.entries[key]
	c.decode(en)
	for i := range c.set.Bindings {
		if b := &c.set.Bindings[i]; b.ID == bindingID && b.endsAt() > now.UnixMilli() {
			f(b, now)
			c.encode(x)
			x.store(s, en, c, now.UnixMilli())
			found = true
			break
		}
	}
	c.clear() // its strings are views of what the lock protects
	return found
}
