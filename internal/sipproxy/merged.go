package sipproxy

import (
	"hash/maphash"
	"strconv"
	"sync"

	"onhook/internal/sip"
)

// merged knows the requests without a To tag that are under way. It holds one
// entry for each fork, and forks are bounded by their transactions.
type merged struct {
	seed   maphash.Seed
	shards [32]struct {
		mu   sync.Mutex
		keys map[uint64]struct{}
	}
}

func newMerged() *merged {
	m := &merged{seed: maphash.MakeSeed()}
	for i := range m.shards {
		m.shards[i].keys = map[uint64]struct{}{}
	}
	return m
}

// key tells requests apart that are not copies of one another. An upstream proxy
// may fork a request to several addresses of ours, so the address counts too.
func (m *merged) key(req *sip.Message) uint64 {
	var h maphash.Hash
	h.SetSeed(m.seed)
	var number [10]byte
	for _, part := range [...]string{req.CallID, req.From.Tag(), req.Method, req.RequestURI} {
		h.WriteString(part)
		h.WriteByte(0)
	}
	h.Write(strconv.AppendUint(number[:0], uint64(req.CSeq), 10))
	return h.Sum64()
}

// enter notes a request; false when a copy of it is under way in another
// transaction: it was forked upstream, and both copies have come to us.
func (m *merged) enter(key uint64) bool {
	s := &m.shards[key%uint64(len(m.shards))]
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.keys[key]; there {
		return false
	}
	s.keys[key] = struct{}{}
	return true
}

func (m *merged) leave(key uint64) {
	s := &m.shards[key%uint64(len(m.shards))]
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.keys, key)
}
