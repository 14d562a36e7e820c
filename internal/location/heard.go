package location

import (
	"encoding/binary"
	"hash/maphash"
	"sync/atomic"
	"time"

	"onhook/internal/sip"
)

// heardTable remembers when UDP peers were last heard of, so that a keepalive
// need not find its binding. It is a cache: one peer may push another out, who
// is then known by its REGISTERs and by its answers to probes alone.
type heardTable struct {
	seed  maphash.Seed
	slots atomic.Pointer[[]atomic.Uint64] // 32 bits of hash, then tenths of a second
}

const (
	heardMin  = 1 << 12 // slots, 8 bytes each
	heardMax  = 1 << 20
	heardUnit = 100 * time.Millisecond
)

func (h *heardTable) init() {
	h.seed = maphash.MakeSeed()
	slots := make([]atomic.Uint64, heardMin)
	h.slots.Store(&slots)
}

// fit makes room for so many peers. What was heard before is forgotten.
func (h *heardTable) fit(peers int) {
	n := len(*h.slots.Load())
	for n < peers && n < heardMax {
		n *= 2
	}
	if n > len(*h.slots.Load()) {
		slots := make([]atomic.Uint64, n)
		h.slots.Store(&slots)
	}
}

func (h *heardTable) slot(flow sip.Flow) (*atomic.Uint64, uint64) {
	var key [18]byte
	addr := flow.Remote.Addr().As16()
	copy(key[:], addr[:])
	binary.BigEndian.PutUint16(key[16:], flow.Remote.Port())
	hash := maphash.Bytes(h.seed, key[:])
	slots := *h.slots.Load()
	return &slots[hash&uint64(len(slots)-1)], hash >> 32
}

func (h *heardTable) note(flow sip.Flow, at time.Time) {
	s, hash := h.slot(flow)
	s.Store(hash<<32 | uint64(uint32(at.UnixMilli()/heardUnit.Milliseconds())))
}

// since returns when the peer was last heard of; the zero time when that was
// before at, or is not known.
func (h *heardTable) since(flow sip.Flow, at time.Time) time.Time {
	s, hash := h.slot(flow)
	v := s.Load()
	if v>>32 != hash {
		return time.Time{}
	}
	unit := heardUnit.Milliseconds()
	from := at.UnixMilli() / unit
	ago := int32(uint32(v) - uint32(from)) // the upper bits are those of at
	if ago <= 0 {
		return time.Time{}
	}
	return time.UnixMilli((from + int64(ago)) * unit)
}

// Heard tells that a UDP peer sent something: a keepalive, a request or an
// answer. It shows that its bindings are reachable, and costs no memory.
func (x *Index) Heard(flow sip.Flow) { x.heard.note(flow, x.cfg.Now()) }

// freshen takes in what was heard of a UDP binding since it was last looked at.
func (x *Index) freshen(b *Binding) {
	if b.Flow.Transport != sip.UDP {
		return
	}
	if at := x.heard.since(b.Flow, b.LastSeen); !at.IsZero() {
		b.LastSeen, b.State, b.misses = at, Reachable, 0
	}
}
