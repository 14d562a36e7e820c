package siptransport

import (
	"net/netip"
	"sync"

	"onhook/internal/sip"
)

const registryShards = 64

// registry finds connections by their number and, those we dialled, by where
// they lead to.
type registry struct {
	shards  [registryShards]registryShard
	mu      sync.Mutex
	dialled map[destination]*conn
}

type registryShard struct {
	mu    sync.RWMutex
	conns map[uint64]*conn
}

// destination is what an outgoing connection may be shared by.
type destination struct {
	transport  sip.Transport
	remote     netip.AddrPort
	serverName string
}

func (r *registry) init() {
	r.dialled = make(map[destination]*conn)
	for i := range r.shards {
		r.shards[i].conns = make(map[uint64]*conn)
	}
}

func (r *registry) shard(number uint64) *registryShard { return &r.shards[number%registryShards] }

// get returns the connection of flow, nil when it is gone.
func (r *registry) get(flow sip.Flow) *conn {
	s := r.shard(flow.Conn)
	s.mu.RLock()
	defer s.mu.RUnlock()
	c := s.conns[flow.Conn]
	if c == nil || c.flow != flow {
		return nil
	}
	return c
}

func (r *registry) add(c *conn) {
	s := r.shard(c.flow.Conn)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c.flow.Conn] = c
}

// remove forgets c, so that nothing is sent to it any more.
func (r *registry) remove(c *conn) {
	s := r.shard(c.flow.Conn)
	s.mu.Lock()
	delete(s.conns, c.flow.Conn)
	s.mu.Unlock()
	if c.dest == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dialled[*c.dest] == c {
		delete(r.dialled, *c.dest)
	}
}

// each calls f for every connection, without a lock held.
func (r *registry) each(f func(*conn)) {
	var conns []*conn
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.RLock()
		for _, c := range s.conns {
			conns = append(conns, c)
		}
		s.mu.RUnlock()
	}
	for _, c := range conns {
		f(c)
	}
}
