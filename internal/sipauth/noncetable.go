package sipauth

import "sync"

// nonceTable keeps the nonce counts seen of every nonce in use. It is split in
// shards by the nonces' random part.
type nonceTable struct {
	shards [nonceShards]nonceShard
}

const nonceShards = 16

// nonceShard keeps its windows in a ring in the order they came, so that the
// oldest goes first, and finds them by an index with open addressing: no
// pointers, and no allocation once it has grown.
type nonceShard struct {
	mu      sync.Mutex
	max     int
	ring    []window // capacity a power of two
	first   int
	count   int
	index   []uint32 // position in ring + 1; twice as long as ring
	evicted uint64
	// forgotten is the latest issue time of all windows that were dropped. A
	// nonce that is not younger and has no window may be one of them: it is not
	// accepted, since its counts are not known any more.
	forgotten int64
}

// window says which nonce counts were seen: last, and bit i for last-i.
type window struct {
	id   nonceID
	last uint32
	seen uint64
}

// windowSize is how far behind the highest one a nonce count may come.
const windowSize = 64

// noCount stands for a request without qop: it uses up the whole nonce.
const noCount = 0

const firstNonces = 64

func (t *nonceTable) init(maxNonces int) {
	for i := range t.shards {
		t.shards[i].max = max(1, maxNonces/nonceShards)
	}
}

// use takes one nonce count of a nonce, and reports whether it was still free.
// Nonces issued before oldest need not be kept.
func (t *nonceTable) use(id nonceID, count uint32, oldest int64) bool {
	s := &t.shards[id.random%nonceShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.find(id); i >= 0 {
		return s.ring[s.index[i]-1].use(count)
	}
	if id.issued <= s.forgotten {
		return false
	}
	for s.count > 0 && s.ring[s.first].id.issued < oldest {
		s.drop()
	}
	if s.count == s.max {
		s.drop()
		s.evicted++
		if id.issued <= s.forgotten {
			return false
		}
	}
	w := window{id: id, last: count, seen: 1}
	if count == noCount {
		w = window{id: id, last: ^uint32(0), seen: ^uint64(0)}
	}
	s.add(w)
	return true
}

func (w *window) use(count uint32) bool {
	switch {
	case count == noCount:
		return false // it was used before
	case count > w.last:
		if shift := count - w.last; shift < windowSize {
			w.seen = w.seen<<shift | 1
		} else {
			w.seen = 1
		}
		w.last = count
		return true
	case w.last-count >= windowSize:
		return false
	}
	bit := uint64(1) << (w.last - count)
	if w.seen&bit != 0 {
		return false
	}
	w.seen |= bit
	return true
}

func (s *nonceShard) add(w window) {
	if s.count == len(s.ring) {
		s.grow()
	}
	pos := (s.first + s.count) & (len(s.ring) - 1)
	s.ring[pos] = w
	s.count++
	s.insert(pos)
}

// drop forgets the oldest window.
func (s *nonceShard) drop() {
	id := s.ring[s.first].id
	s.remove(id)
	s.forgotten = max(s.forgotten, id.issued)
	s.first = (s.first + 1) & (len(s.ring) - 1)
	s.count--
}

func (s *nonceShard) grow() {
	ring := make([]window, max(firstNonces, 2*len(s.ring)))
	for i := range s.count {
		ring[i] = s.ring[(s.first+i)&(len(s.ring)-1)]
	}
	s.ring, s.first = ring, 0
	s.index = make([]uint32, 2*len(ring))
	for i := range s.count {
		s.insert(i)
	}
}

func (s *nonceShard) home(id nonceID) int {
	return int(id.random/nonceShards) & (len(s.index) - 1)
}

// find returns the position in the index, -1 when the nonce is not there.
func (s *nonceShard) find(id nonceID) int {
	if s.count == 0 {
		return -1
	}
	for i := s.home(id); s.index[i] != 0; i = (i + 1) & (len(s.index) - 1) {
		if s.ring[s.index[i]-1].id == id {
			return i
		}
	}
	return -1
}

func (s *nonceShard) insert(pos int) {
	i := s.home(s.ring[pos].id)
	for s.index[i] != 0 {
		i = (i + 1) & (len(s.index) - 1)
	}
	s.index[i] = uint32(pos + 1)
}

// remove takes a nonce out of the index and moves back those after it that
// would not be found across the gap.
func (s *nonceShard) remove(id nonceID) {
	mask := len(s.index) - 1
	gap := s.find(id)
	for i := (gap + 1) & mask; s.index[i] != 0; i = (i + 1) & mask {
		home := s.home(s.ring[s.index[i]-1].id)
		if (i-home)&mask >= (i-gap)&mask {
			s.index[gap] = s.index[i]
			gap = i
		}
	}
	s.index[gap] = 0
}

func (t *nonceTable) stats() (st Stats) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		st.Nonces += s.count
		st.Evicted += s.evicted
		s.mu.Unlock()
	}
	return st
}
