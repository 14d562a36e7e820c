package roster

import (
	"sync"
	"sync/atomic"

	"onhook/internal/account"
)

// registered keeps one bit per endpoint. The SIP side sets it: it must not wait
// for a list that looks at a million of them.
type registered struct {
	pages  atomic.Pointer[pages]
	shards [64]registeredShard

	mu   sync.Mutex // of what follows
	free []uint32
	next uint32
}

type registeredShard struct {
	mu    sync.RWMutex
	slots map[account.EndpointID]uint32
}

// pages are the bits by slot. Pages are added, never moved.
type pages []*[pageWords]atomic.Uint64

const (
	pageWords = 1024
	pageBits  = pageWords * 64
)

func (p *pages) word(slot uint32) (word *atomic.Uint64, bit uint64) {
	return &(*p)[slot/pageBits][slot%pageBits/64], 1 << (slot % 64)
}

// mask says which of the next 64 slots are set.
func (p *pages) mask(slots []uint32) (mask uint64) {
	at, word := ^uint32(0), uint64(0)
	for i, slot := range slots[:min(64, len(slots))] {
		if slot/64 != at { // slots of one age are neighbours
			at = slot / 64
			w, _ := p.word(slot)
			word = w.Load()
		}
		mask |= word >> (slot % 64) & 1 << i
	}
	return mask
}

// run is mask for 64 slots that follow each other.
func (p *pages) run(first uint32) uint64 {
	word, _ := p.word(first)
	shift := first % 64
	mask := word.Load() >> shift
	if shift > 0 {
		word, _ = p.word(first + 63)
		mask |= word.Load() << (64 - shift)
	}
	return mask
}

func (r *registered) init() {
	r.pages.Store(&pages{})
	r.free, r.next = nil, 0
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		s.slots = map[account.EndpointID]uint32{}
		s.mu.Unlock()
	}
}

func (r *registered) shard(id account.EndpointID) *registeredShard {
	return &r.shards[uint64(id)*0x9E3779B97F4A7C15>>58]
}

// add gives an endpoint a slot, which is not set.
func (r *registered) add(id account.EndpointID) uint32 {
	r.mu.Lock()
	slot := r.next
	if n := len(r.free); n > 0 {
		slot, r.free = r.free[n-1], r.free[:n-1]
	} else {
		if slot%pageBits == 0 {
			more := append(append(pages{}, *r.pages.Load()...), new([pageWords]atomic.Uint64))
			r.pages.Store(&more)
		}
		r.next++
	}
	r.mu.Unlock()
	s := r.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slots[id] = slot
	return slot
}

// set sets a known endpoint's bit.
func (r *registered) set(id account.EndpointID, is bool) {
	s := r.shard(id)
	s.mu.RLock() // so that the slot stays its own
	defer s.mu.RUnlock()
	slot, ok := s.slots[id]
	if !ok {
		return
	}
	if word, bit := r.pages.Load().word(slot); is {
		word.Or(bit)
	} else {
		word.And(^bit)
	}
}

func (r *registered) remove(id account.EndpointID) {
	s := r.shard(id)
	s.mu.Lock()
	slot, ok := s.slots[id]
	delete(s.slots, id)
	s.mu.Unlock()
	if !ok {
		return
	}
	word, bit := r.pages.Load().word(slot)
	word.And(^bit)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free = append(r.free, slot)
}
