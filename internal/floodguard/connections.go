package floodguard

import (
	"net/netip"
	"sync"
)

const connShards = 64

// connShard counts connections. Its map has an entry for a source only while
// one is open, so it is bounded by the number of connections.
type connShard struct {
	mu      sync.Mutex
	sources map[source]connCount
}

type connCount struct{ open, unbound int32 }

func (g *Guard) connShard(s source) *connShard {
	return &g.connections[g.hash(s)%connShards]
}

// Open counts a new connection from src, without a registration yet, and
// reports whether src may have it. Each true is taken back by one Close.
func (g *Guard) Open(src netip.Addr) bool {
	s := g.source(src)
	shard := g.connShard(s)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	n := shard.sources[s]
	switch {
	case n.open >= g.maxOpen:
		g.openRefused.Add(1)
		return false
	case n.unbound >= g.maxUnbound:
		g.unboundRefused.Add(1)
		return false
	}
	shard.sources[s] = connCount{n.open + 1, n.unbound + 1}
	return true
}

// SetBound tells that a connection from src got its first registration or lost
// its last one. The caller reports changes only.
func (g *Guard) SetBound(src netip.Addr, bound bool) {
	g.count(src, func(n *connCount) {
		if bound {
			n.unbound--
		} else {
			n.unbound++
		}
	})
}

// Close tells that a connection that Open allowed is gone.
func (g *Guard) Close(src netip.Addr, bound bool) {
	g.count(src, func(n *connCount) {
		n.open--
		if !bound {
			n.unbound--
		}
	})
}

// Connections returns how many connections src has and how many of them are
// without a registration.
func (g *Guard) Connections(src netip.Addr) (open, unbound int) {
	s := g.source(src)
	shard := g.connShard(s)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	n := shard.sources[s]
	return int(n.open), int(n.unbound)
}

func (g *Guard) count(src netip.Addr, change func(*connCount)) {
	s := g.source(src)
	shard := g.connShard(s)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	n := shard.sources[s]
	change(&n)
	if n.open <= 0 {
		delete(shard.sources, s)
		return
	}
	shard.sources[s] = n
}
