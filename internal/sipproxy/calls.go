package sipproxy

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"slices"
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

// tag is the hash of the called side's tag: it tells the dialogs of a call
// apart, of which there are several when several devices answer.
type tag = [8]byte

// calls knows which calls of this process are open. A cookie of a dialog that
// this process began and that is not open any more is refused; one from before
// the last start is taken, unless its dialog was closed since.
type calls struct {
	mu    sync.Mutex
	epoch uint32 // of this process, in every cookie it makes
	max   int
	open  map[CallID]call
	ended map[dialog]struct{} // begun before the start, closed since
}

type call struct {
	seen    time.Time     // last request within the call
	idle    time.Duration // without any request for so long, its phones have forgotten it
	pending bool          // its first request has no final response yet
	open    []tag         // dialogs that are established
	closed  []tag         // dialogs that are over while another one is open
}

type dialog struct {
	call CallID
	tag  tag
}

const (
	callIdle         = 24 * time.Hour
	subscriptionIdle = 2 * time.Hour // a subscription is refreshed; a transfer is over sooner
	maxDialogs       = 16            // of one call
)

func newCalls(max int) *calls {
	var epoch [4]byte
	rand.Read(epoch[:])
	return &calls{epoch: binary.BigEndian.Uint32(epoch[:]), max: max, open: map[CallID]call{}, ended: map[dialog]struct{}{}}
}

// begin opens a call; false when too many are open.
func (c *calls) begin(id CallID, idle time.Duration, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(now)
	if len(c.open) >= c.max {
		return false
	}
	c.open[id] = call{seen: now, idle: idle, pending: true}
	return true
}

// answered opens one more dialog of a call, also when another one is over already.
func (c *calls) answered(id CallID, t tag, idle time.Duration, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.open[id]
	if !ok {
		e = call{idle: idle}
	}
	e.seen = now
	if !slices.Contains(e.open, t) && !slices.Contains(e.closed, t) && len(e.open) < maxDialogs {
		e.open = append(e.open, t)
	}
	c.open[id] = e
}

// settled tells that the first request has its final response. A call without
// a dialog is over then.
func (c *calls) settled(id CallID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.open[id]; ok {
		e.pending = false
		c.put(id, e)
	}
}

// touch reports whether a dialog is open, and keeps its call so.
func (c *calls) touch(k *cookie, t tag, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.open[k.Call]
	if slices.Contains(e.closed, t) {
		return false
	}
	if k.Epoch != c.epoch {
		if _, over := c.ended[dialog{k.Call, t}]; over || !ok && len(c.open) >= c.max {
			return false
		}
		if e.idle = callIdle; !k.Invite {
			e.idle = subscriptionIdle
		}
		if !slices.Contains(e.open, t) && len(e.open) < maxDialogs {
			e.open = append(e.open, t)
		}
	} else if !ok {
		return false
	}
	e.seen = now
	c.open[k.Call] = e
	return true
}

// end closes a dialog, and its call with the last.
func (c *calls) end(k *cookie, t tag) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k.Epoch != c.epoch && len(c.ended) < c.max {
		c.ended[dialog{k.Call, t}] = struct{}{}
	}
	e, ok := c.open[k.Call]
	if !ok {
		return
	}
	if i := slices.Index(e.open, t); i >= 0 {
		e.open = slices.Delete(e.open, i, i+1)
	}
	if len(e.closed) < maxDialogs {
		e.closed = append(e.closed, t)
	}
	c.put(k.Call, e)
}

// put keeps a call while anything of it is open. The caller holds mu.
func (c *calls) put(id CallID, e call) {
	if e.pending || len(e.open) > 0 {
		c.open[id] = e
		return
	}
	delete(c.open, id)
}

// forget looks at a few calls, others each time, and drops those that have been
// idle for too long: the table is swept while it is used. The caller holds mu.
func (c *calls) forget(now time.Time) {
	n := 0
	for id, e := range c.open {
		if now.Sub(e.seen) > e.idle {
			delete(c.open, id)
		}
		if n++; n == 4 {
			return
		}
	}
}

func (c *calls) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}
