// Package floodguard decides, before anything is parsed, whether a source may
// go on talking: packet rates and numbers of connections per source prefix, in
// tables of fixed size. It reads no packet, opens no socket and logs nothing;
// what it refuses it counts.
package floodguard

import (
	"hash/maphash"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// Config sets the limits. Zero values mean the defaults named.
type Config struct {
	PacketsPerSecond int // sustained rate of one source prefix: 1,000; negative: no limit
	Burst            int // packets it may send at once: 5,000
	Sources          int // prefixes remembered: 65,536
	IPv4Bits         int // a source is this long a prefix: 32
	IPv6Bits         int // 64, as one host owns at least that

	Connections        int // of one source prefix: 1,000
	UnboundConnections int // of those, without a registration: 200

	// Trusted networks have no packet rate. Their connections are limited as
	// anyone's.
	Trusted []netip.Prefix
}

// Guard holds the limits and what is known about sources. All its methods may
// be called from many goroutines.
type Guard struct {
	trusted        atomic.Pointer[[]netip.Prefix]
	bits4, bits6   int
	interval       int64 // nanoseconds that one packet costs; 0: nothing
	credit         int64 // nanoseconds that may be owed: the burst
	seed           maphash.Seed
	packets        *packetTable
	connections    [connShards]connShard
	maxOpen        int32
	maxUnbound     int32
	rateLimited    atomic.Uint64
	evicted        atomic.Uint64
	openRefused    atomic.Uint64
	unboundRefused atomic.Uint64
}

// New returns a Guard with the limits of c.
func New(c Config) *Guard {
	or := func(v, otherwise int) int {
		if v <= 0 {
			return otherwise
		}
		return v
	}
	g := &Guard{
		bits4:      min(or(c.IPv4Bits, 32), 32),
		bits6:      min(or(c.IPv6Bits, 64), 128),
		interval:   max(int64(time.Second)/int64(or(c.PacketsPerSecond, 1000)), 1),
		seed:       maphash.MakeSeed(),
		maxOpen:    int32(or(c.Connections, 1000)),
		maxUnbound: int32(or(c.UnboundConnections, 200)),
	}
	if c.PacketsPerSecond < 0 {
		g.interval = 0
	}
	g.credit = int64(or(c.Burst, 5000)) * g.interval
	g.Trust(c.Trusted)
	g.packets = newPacketTable(or(c.Sources, 1<<16))
	for i := range g.connections {
		g.connections[i].sources = make(map[source]connCount)
	}
	return g
}

// Trust replaces the trusted networks.
func (g *Guard) Trust(networks []netip.Prefix) {
	trusted := make([]netip.Prefix, len(networks))
	for i, p := range networks {
		trusted[i] = unmapped(p)
	}
	g.trusted.Store(&trusted)
}

// Trusted reports whether src lies in a trusted network.
func (g *Guard) Trusted(src netip.Addr) bool {
	src = src.Unmap().WithZone("")
	return slices.ContainsFunc(*g.trusted.Load(), func(p netip.Prefix) bool { return p.Contains(src) })
}

// Admit takes one packet from what src may send and reports whether it had any
// left. now is in nanoseconds, on any clock that does not jump.
func (g *Guard) Admit(src netip.Addr, now int64) bool {
	if g.interval == 0 || g.Trusted(src) {
		return true
	}
	s := g.source(src)
	admitted, evicted := g.packets.take(s, g.hash(s), now, g.interval, g.credit)
	if !admitted {
		g.rateLimited.Add(1)
	}
	if evicted {
		g.evicted.Add(1)
	}
	return admitted
}

// Stats is what the Guard refused since it was made.
type Stats struct {
	RateLimited    uint64 // packets over the rate of their source
	Evicted        uint64 // sources forgotten, while they owed packets, because the table was full
	OpenRefused    uint64 // connections beyond the limit of their source
	UnboundRefused uint64 // connections beyond the limit of those without a registration
}

// Stats returns the counters.
func (g *Guard) Stats() Stats {
	return Stats{
		RateLimited:    g.rateLimited.Load(),
		Evicted:        g.evicted.Load(),
		OpenRefused:    g.openRefused.Load(),
		UnboundRefused: g.unboundRefused.Load(),
	}
}

// source is an address cut to its prefix, in 16-byte form.
type source [16]byte

func (g *Guard) source(a netip.Addr) source {
	a = a.Unmap()
	s := source(a.As16())
	keep := g.bits6
	if a.Is4() {
		keep = 96 + g.bits4
	}
	for i := range s {
		switch {
		case keep >= 8:
			keep -= 8
		default:
			s[i] &= ^byte(0xff >> keep)
			keep = 0
		}
	}
	return s
}

func (g *Guard) hash(s source) uint64 { return maphash.Bytes(g.seed, s[:]) }

// unmapped turns a prefix of IPv4-mapped addresses into one of IPv4, so that
// it contains what Unmap returns.
func unmapped(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked()
}
