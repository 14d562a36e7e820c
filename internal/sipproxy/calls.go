package sipproxy

import (
	"crypto/rand"
	"encoding/hex"
	"sync"
	"time"
)

// CallID is a call's UUID (version 4), as shown in X-Onhook-Call-Id and logs.
type CallID [16]byte

func newCallID() (id CallID) {
	rand.Read(id[:])
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

func (id CallID) String() string {
	var b [36]byte
	hex.Encode(b[0:8], id[0:4])
	hex.Encode(b[9:13], id[4:6])
	hex.Encode(b[14:18], id[6:8])
	hex.Encode(b[19:23], id[8:10])
	hex.Encode(b[24:36], id[10:16])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

// calls knows which calls of this process are open. A cookie of a call that
// this process began and that is not open any more is refused; one from before
// the last start is taken, unless the call was closed since.
type calls struct {
	mu      sync.Mutex
	started time.Time
	max     int
	open    map[CallID]time.Time // last request within the call
	closed  map[CallID]time.Time // begun before the start, closed since
}

const callIdle = 24 * time.Hour // a call without any request for so long has been forgotten by its phones

func newCalls(max int, now time.Time) *calls {
	return &calls{started: now.Truncate(time.Second), max: max, open: map[CallID]time.Time{}, closed: map[CallID]time.Time{}}
}

// begin opens a call; false when too many are open.
func (c *calls) begin(id CallID, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) >= c.max {
		c.forget(now)
		if len(c.open) >= c.max {
			return false
		}
	}
	c.open[id] = now
	return true
}

// touch reports whether the call is open, and keeps it so.
func (c *calls) touch(k *cookie, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.open[k.Call]; ok {
		c.open[k.Call] = now
		return true
	}
	if _, ok := c.closed[k.Call]; ok {
		return false
	}
	if !k.Created.Before(c.started) || len(c.open) >= c.max {
		return false
	}
	c.open[k.Call] = now
	return true
}

// end closes a call.
func (c *calls) end(k *cookie, now time.Time) { c.endCall(k.Call, k.Created, now) }

func (c *calls) endCall(id CallID, created, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, id)
	if created.Before(c.started) && len(c.closed) < c.max {
		c.closed[id] = now
	}
}

// forget drops calls that have been idle for too long. It runs only when the
// table is full. The caller holds mu.
func (c *calls) forget(now time.Time) {
	for id, seen := range c.open {
		if now.Sub(seen) > callIdle {
			delete(c.open, id)
		}
	}
}

func (c *calls) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}
