// Package authban weighs wrong passwords per source and user, and says which
// pairs are refused for a while. It verifies no password, reads no message and
// logs nothing: whoever does tells it of digests that were wrong although their
// nonce proved the source.
package authban

import (
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"
)

// Config sets the limits. Zero values mean the defaults named.
type Config struct {
	Wrong       int           // wrong digests of one pair that bring a ban: 10
	Window      time.Duration // within this time: 10 minutes
	Duration    time.Duration // of the first ban; each further one lasts twice as long: 60 s
	MaxDuration time.Duration // at most: 1 hour
	Pairs       int           // remembered at most: 16,384
	DryRun      bool          // count and list, refuse nothing
	Now         func() time.Time
}

// Bans are the pairs known and their bans. All methods may be called from many
// goroutines, and on nil, which knows no bans.
type Bans struct {
	config Config
	start  time.Time
	seed   maphash.Seed
	table  table
	used   atomic.Int64 // pairs in the table: with none, the good path ends here

	wrong, made, refused, evicted, lifted atomic.Uint64
}

// Pair is one source and one user.
type Pair struct {
	Source   netip.Addr
	Realm    string
	Username string // as claimed, whether there is such a user or not
}

// New returns Bans with the limits of c.
func New(c Config) *Bans {
	if c.Wrong <= 0 {
		c.Wrong = 10
	}
	if c.Window <= 0 {
		c.Window = 10 * time.Minute
	}
	if c.Duration <= 0 {
		c.Duration = time.Minute
	}
	if c.MaxDuration <= 0 {
		c.MaxDuration = time.Hour
	}
	c.MaxDuration = max(c.MaxDuration, c.Duration)
	if c.Pairs <= 0 {
		c.Pairs = 1 << 14
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	b := &Bans{config: c, start: c.Now(), seed: maphash.MakeSeed()}
	b.table = newTable(c.Pairs, c.Wrong)
	return b
}

// Refused reports whether p is banned, and counts it. In a dry run it counts
// and reports false.
func (b *Bans) Refused(p Pair) bool {
	if b == nil || b.used.Load() == 0 {
		return false
	}
	now, key := b.now(), b.key(p)
	s := b.table.set(key)
	s.mu.Lock()
	e := s.find(key)
	banned := e != nil && e.until > now
	s.mu.Unlock()
	if !banned {
		return false
	}
	b.refused.Add(1)
	return !b.config.DryRun
}

// Wrong tells that p sent a wrong digest with a good nonce. A ban may follow.
func (b *Bans) Wrong(p Pair) {
	if b == nil {
		return
	}
	b.wrong.Add(1)
	now, key := b.now(), b.key(p)
	s := b.table.set(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(key)
	if e == nil {
		e = b.take(s, now)
		e.key = key
	}
	if e.until > now {
		return // a dry run: a real ban would not have looked at this digest
	}
	if b.quiet(e, now) {
		e.level = 0
	}
	if !e.add(now, int64(b.config.Window)) {
		return
	}
	length := b.config.Duration
	for range e.level {
		if length = min(2*length, b.config.MaxDuration); length == b.config.MaxDuration {
			break
		}
	}
	e.level++
	e.began, e.until = now, now+int64(length)
	e.wrong = e.wrong[:0]
	e.describe(p)
	b.made.Add(1)
}

// Right tells that p sent a right digest: what it did before is forgiven, but
// for a ban that is under way.
func (b *Bans) Right(p Pair) {
	if b == nil || b.used.Load() == 0 {
		return
	}
	now, key := b.now(), b.key(p)
	s := b.table.set(key)
	s.mu.Lock()
	if e := s.find(key); e != nil && e.until <= now {
		e.clear()
		b.used.Add(-1)
	}
	s.mu.Unlock()
}

// quiet reports whether a pair has done nothing wrong for so long after its ban
// that the next one is a first one again.
func (b *Bans) quiet(e *entry, now int64) bool {
	return now-max(e.until, e.last()) > int64(max(b.config.MaxDuration, b.config.Window))
}

// take returns an empty entry of s, forgetting a pair where there is none. One
// that did nothing for long goes first, then the one with the fewest wrong
// digests, so that trying many names pushes out no ban, and at last the ban that
// ends first.
func (b *Bans) take(s *set, now int64) *entry {
	victim := &s.entries[0]
	for i := range s.entries {
		e := &s.entries[i]
		if !e.used() {
			b.used.Add(1)
			return e
		}
		if b.worth(e, now) < b.worth(victim, now) {
			victim = e
		}
	}
	if b.worth(victim, now) > 0 {
		b.evicted.Add(1)
	}
	victim.clear()
	return victim
}

// worth orders entries by what is lost with them.
func (b *Bans) worth(e *entry, now int64) int64 {
	switch {
	case e.until > now:
		return 1<<32 + e.until - now
	case b.quiet(e, now):
		return 0
	}
	return 1 + int64(e.level)<<16 + int64(len(e.wrong))
}

// now is the time since New: monotonic, as long as Now is.
func (b *Bans) now() int64 { return int64(b.config.Now().Sub(b.start)) }

// key hashes a pair. Usernames count in any case, as they do at a login.
func (b *Bans) key(p Pair) key {
	var stack [256]byte // longer ones are nobody's
	buf := append(stack[:0], p.Realm...)
	buf = append(buf, 0)
	for i := range len(p.Username) {
		c := p.Username[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		buf = append(buf, c)
	}
	return key{source: prefix(p.Source).As16(), name: maphash.Bytes(b.seed, buf) | 1}
}

// prefix is what counts as one source: an IPv4 address, or an IPv6 /64, as one
// host owns at least that.
func prefix(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		b := a.As16()
		clear(b[8:])
		return netip.AddrFrom16(b)
	}
	return a
}
