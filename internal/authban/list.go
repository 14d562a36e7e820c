package authban

import (
	"cmp"
	"crypto/rand"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Reason is why every ban is there.
const Reason = "auth.wrong_digests"

// Ban is a pair that is refused.
type Ban struct {
	ID       string
	Source   netip.Prefix // an IPv4 address or an IPv6 /64
	Realm    string
	Username string // as claimed, cut after 64 bytes
	Reason   string
	Began    time.Time
	Ends     time.Time
	DryRun   bool // nothing is refused
}

// List returns the bans under way, newest first.
func (b *Bans) List() []Ban {
	if b == nil {
		return nil
	}
	var list []Ban
	b.each(func(e *entry, now int64) {
		list = append(list, b.ban(e))
	})
	slices.SortFunc(list, func(x, y Ban) int {
		return cmp.Or(y.Began.Compare(x.Began), strings.Compare(x.ID, y.ID))
	})
	return list
}

// Lift ends the ban of that id and forgives what led to it; false when there is
// none.
func (b *Bans) Lift(id string) bool {
	return b.lift(func(e *entry) bool { return e.id == id }) > 0
}

// LiftAll ends all bans and returns how many there were.
func (b *Bans) LiftAll() int { return b.lift(func(*entry) bool { return true }) }

func (b *Bans) lift(which func(*entry) bool) (n int) {
	if b == nil {
		return 0
	}
	b.each(func(e *entry, _ int64) {
		if which(e) {
			e.clear()
			b.used.Add(-1)
			n++
		}
	})
	b.lifted.Add(uint64(n))
	return n
}

// each calls f for every banned entry, with its set locked.
func (b *Bans) each(f func(e *entry, now int64)) {
	now := b.now()
	for i := range b.table.sets {
		s := &b.table.sets[i]
		s.mu.Lock()
		for j := range s.entries {
			if s.entries[j].until > now {
				f(&s.entries[j], now)
			}
		}
		s.mu.Unlock()
	}
}

func (b *Bans) ban(e *entry) Ban {
	source := netip.AddrFrom16(e.key.source).Unmap()
	bits := 64
	if source.Is4() {
		bits = 32
	}
	return Ban{
		ID: e.id, Source: netip.PrefixFrom(source, bits), Realm: e.realm, Username: e.username, Reason: Reason,
		Began: b.start.Add(time.Duration(e.began)), Ends: b.start.Add(time.Duration(e.until)), DryRun: b.config.DryRun,
	}
}

// Stats are the figures since New, and the present ones.
type Stats struct {
	Pairs   int    // remembered now
	Active  int    // bans under way
	Wrong   uint64 // wrong digests
	Made    uint64 // bans
	Refused uint64 // requests refused, in a dry run those that would have been
	Lifted  uint64 // bans ended by hand
	Evicted uint64 // pairs forgotten early because the table was full
}

// Stats returns the figures.
func (b *Bans) Stats() Stats {
	if b == nil {
		return Stats{}
	}
	s := Stats{Pairs: int(b.used.Load()), Wrong: b.wrong.Load(), Made: b.made.Load(), Refused: b.refused.Load(),
		Lifted: b.lifted.Load(), Evicted: b.evicted.Load()}
	b.each(func(*entry, int64) { s.Active++ })
	return s
}

func newID() string { return strings.ToLower(rand.Text()[:16]) }
