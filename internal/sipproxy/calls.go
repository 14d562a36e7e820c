package sipproxy

import (
	"crypto/rand"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"onhook/internal/account"
	"onhook/internal/callrecord"
)

// CallID is a call's UUID, as shown in X-Onhook-Call-Id and logs.
type CallID = callrecord.ID

// tag is the hash of the called side's tag: it tells the dialogs of a call
// apart, of which there are several when several devices answer.
type tag = [8]byte

// calls knows which calls of this process are open. A cookie of a dialog that
// this process began and that is not open any more is refused; one from before
// the last start is taken, unless its dialog was closed since.
type calls struct {
	epoch  uint32 // of this process, in every cookie it makes
	max    int
	open   atomic.Int64 // calls and subscriptions that are not over
	shards [callShards]callShard
	of     [callShards]endpointShard
}

const callShards = 32 // a power of two

type callShard struct {
	mu    sync.Mutex
	calls map[CallID]*call
	ended map[dialogKey]struct{} // begun before the start, closed since
}

// endpointShard knows the open calls of endpoints.
type endpointShard struct {
	mu    sync.Mutex
	calls map[account.EndpointID][]*call
}

type dialogKey struct {
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
	c := &calls{epoch: binary.BigEndian.Uint32(epoch[:]), max: max}
	for i := range c.shards {
		c.shards[i].calls = map[CallID]*call{}
		c.shards[i].ended = map[dialogKey]struct{}{}
		c.of[i].calls = map[account.EndpointID][]*call{}
	}
	return c
}

// shard is chosen by random bits of the ID.
func (c *calls) shard(id CallID) *callShard { return &c.shards[id[15]%callShards] }

// begin opens a call; false when too many are open.
func (c *calls) begin(k *call) bool {
	if c.open.Add(1) > int64(c.max) {
		c.open.Add(-1)
		return false
	}
	s := c.shard(k.id)
	s.mu.Lock()
	s.calls[k.id] = k
	s.mu.Unlock()
	c.list(k)
	return true
}

// list has a call found by the endpoints that take part.
func (c *calls) list(k *call) {
	for _, id := range k.endpoints() {
		if id == 0 {
			continue
		}
		e := &c.of[id%callShards]
		e.mu.Lock()
		e.calls[id] = append(e.calls[id], k)
		e.mu.Unlock()
	}
}

// unlist takes that back.
func (c *calls) unlist(k *call) {
	for _, id := range k.endpoints() {
		if id == 0 {
			continue
		}
		e := &c.of[id%callShards]
		e.mu.Lock()
		list := e.calls[id]
		for i := range list {
			if list[i] == k {
				list[i] = list[len(list)-1]
				list[len(list)-1] = nil
				list = list[:len(list)-1]
				break
			}
		}
		if len(list) == 0 {
			delete(e.calls, id)
		} else {
			e.calls[id] = list
		}
		e.mu.Unlock()
	}
}

func (c *calls) get(id CallID) *call {
	s := c.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[id]
}

// over tells that a call is over: it counts no more, and no endpoint has it.
// Until forget it is still found by its ID.
func (c *calls) over(k *call) {
	c.open.Add(-1)
	c.unlist(k)
}

func (c *calls) forget(id CallID) {
	s := c.shard(id)
	s.mu.Lock()
	delete(s.calls, id)
	s.mu.Unlock()
}

// ofEndpoint returns the open calls that an endpoint takes part in.
func (c *calls) ofEndpoint(id account.EndpointID) []*call {
	e := &c.of[id%callShards]
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]*call(nil), e.calls[id]...)
}

func (c *calls) openOf(id account.EndpointID) int {
	e := &c.of[id%callShards]
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.calls[id])
}

// each calls f for every call, without a lock.
func (c *calls) each(f func(*call)) {
	var list []*call
	for i := range c.shards {
		list = c.inShard(i, list[:0])
		for _, k := range list {
			f(k)
		}
	}
}

func (c *calls) inShard(i int, dst []*call) []*call {
	s := &c.shards[i]
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.calls {
		dst = append(dst, k)
	}
	return dst
}

// noteEnded notes that a dialog from before the start is over: its call is not
// known, and its cookie would be taken otherwise.
func (c *calls) noteEnded(id CallID, t tag) {
	s := c.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ended) < c.max/callShards {
		s.ended[dialogKey{id, t}] = struct{}{}
	}
}

func (c *calls) hasEnded(id CallID, t tag) bool {
	s := c.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ended := s.ended[dialogKey{id, t}]
	if !ended {
		_, ended = s.ended[dialogKey{id, tag{}}]
	}
	return ended
}

func (c *calls) count() int { return int(c.open.Load()) }
