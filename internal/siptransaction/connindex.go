package siptransaction

import "sync"

// connIndex finds the client transactions that wait on a connection. Its lock
// may be taken while a shard is locked, never the other way round.
type connIndex struct {
	mu    sync.Mutex
	conns map[uint64]*Client // first of a list
}

func (x *connIndex) init() { x.conns = make(map[uint64]*Client) }

func (x *connIndex) add(c *Client) {
	conn := c.flow.Conn
	if conn == 0 {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	first := x.conns[conn]
	if c.connNext = first; first != nil {
		first.connPrev = c
	}
	x.conns[conn] = c
	c.onConn = true
}

// remove takes c out, if it is still there.
func (x *connIndex) remove(c *Client) {
	if c.flow.Conn == 0 {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if !c.onConn {
		return
	}
	if c.connPrev != nil {
		c.connPrev.connNext = c.connNext
	} else if c.connNext != nil {
		x.conns[c.flow.Conn] = c.connNext
	} else {
		delete(x.conns, c.flow.Conn)
	}
	if c.connNext != nil {
		c.connNext.connPrev = c.connPrev
	}
	c.connNext, c.connPrev, c.onConn = nil, nil, false
}

// take empties the list of a connection and returns what was in it.
func (x *connIndex) take(conn uint64) (clients []*Client) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for c := x.conns[conn]; c != nil; {
		next := c.connNext
		c.connNext, c.connPrev, c.onConn = nil, nil, false
		clients = append(clients, c)
		c = next
	}
	delete(x.conns, conn)
	return clients
}

func (x *connIndex) count() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.conns)
}
