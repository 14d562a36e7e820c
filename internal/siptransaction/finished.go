package siptransaction

import "math"

// finished keeps the final responses of answered transactions, so that a
// retransmitted request gets the same answer (RFC 3261 17.2.2 Completed). All
// of a layer's live equally long, so they end in the order they came: records
// are a ring, their bytes a queue of chunks, and an index finds a record by its
// key. Nothing in here holds a pointer per transaction. The shard's lock guards
// it.
type finished struct {
	maxChunks int

	ring  []record // capacity a power of two
	first int      // position of the oldest record
	count int
	index []slot // open addressing; twice as long as ring

	chunks     [][]byte // len is what is used of each
	firstChunk uint32   // number of chunks[0]
	free       [][]byte
	bytes      int // of all responses kept
}

type record struct {
	key   key
	at    int64 // tick at which it ends
	chunk uint32
	off   uint32
	size  uint32
}

// slot is a place in the index. The part of the key that decides where it
// belongs stands in it: looking at ring for every neighbour would be a cache
// miss each.
type slot struct {
	lo  uint32 // of key.lo
	pos uint32 // in ring + 1; 0: empty
}

const (
	chunkSize   = 64 << 10 // no message is longer
	keptChunks  = 4        // free chunks held back for the next responses
	leastChunks = 2
	firstRing   = 64
)

func (f *finished) init(maxBytes int) { f.maxChunks = max(leastChunks, maxBytes/chunkSize) }

// get returns the response kept under k, nil when there is none. It is valid
// while the lock is held.
func (f *finished) get(k key) []byte {
	i := f.find(k)
	if i < 0 {
		return nil
	}
	r := &f.ring[f.index[i].pos-1]
	return f.chunks[r.chunk-f.firstChunk][r.off : r.off+r.size]
}

// put keeps a response until tick at, and returns how many older ones had to
// go for it before their time.
func (f *finished) put(k key, at int64, response []byte) (dropped int) {
	if len(response) > chunkSize || f.find(k) >= 0 {
		return 0
	}
	last := len(f.chunks) - 1
	if last < 0 || cap(f.chunks[last])-len(f.chunks[last]) < len(response) {
		for len(f.chunks) >= f.maxChunks {
			f.drop()
			dropped++
		}
		f.addChunk()
		last = len(f.chunks) - 1
	}
	if f.count == len(f.ring) {
		f.grow()
	}
	c := f.chunks[last]
	pos := (f.first + f.count) & (len(f.ring) - 1)
	f.ring[pos] = record{key: k, at: at, chunk: f.firstChunk + uint32(last), off: uint32(len(c)), size: uint32(len(response))}
	f.chunks[last] = append(c, response...)
	f.count++
	f.bytes += len(response)
	f.insert(pos)
	return dropped
}

// expire ends the records whose time has come.
func (f *finished) expire(now int64) {
	for f.count > 0 && f.ring[f.first].at <= now {
		f.drop()
	}
}

// next is the tick at which the oldest record ends.
func (f *finished) next() int64 {
	if f.count == 0 {
		return math.MaxInt64
	}
	return f.ring[f.first].at
}

// drop ends the oldest record, and frees the chunks that only it still used.
func (f *finished) drop() {
	r := &f.ring[f.first]
	f.remove(r.key)
	f.bytes -= int(r.size)
	f.first = (f.first + 1) & (len(f.ring) - 1)
	f.count--
	unused := len(f.chunks)
	if f.count > 0 {
		unused = int(f.ring[f.first].chunk - f.firstChunk)
	}
	if unused == 0 {
		return
	}
	for i, c := range f.chunks[:unused] {
		if len(f.free) < keptChunks {
			f.free = append(f.free, c[:0])
		}
		f.chunks[i] = nil
	}
	f.chunks = append(f.chunks[:0], f.chunks[unused:]...)
	f.firstChunk += uint32(unused)
}

func (f *finished) addChunk() {
	n := len(f.free)
	if n == 0 {
		f.chunks = append(f.chunks, make([]byte, 0, chunkSize))
		return
	}
	f.chunks = append(f.chunks, f.free[n-1])
	f.free = f.free[:n-1]
}

func (f *finished) grow() {
	ring := make([]record, max(firstRing, 2*len(f.ring)))
	for i := range f.count {
		ring[i] = f.ring[(f.first+i)&(len(f.ring)-1)]
	}
	f.ring, f.first = ring, 0
	f.index = make([]slot, 2*len(ring))
	for i := range f.count {
		f.insert(i)
	}
}

// home is where the index looks for a key first. The shard was chosen by hi.
func (f *finished) home(lo uint32) int { return int(lo) & (len(f.index) - 1) }

// find returns the key's position in the index, -1 when it is not there.
func (f *finished) find(k key) int {
	if f.count == 0 {
		return -1
	}
	lo := uint32(k.lo)
	for i := f.home(lo); ; i = (i + 1) & (len(f.index) - 1) {
		s := f.index[i]
		if s.pos == 0 {
			return -1
		}
		if s.lo == lo && f.ring[s.pos-1].key == k {
			return i
		}
	}
}

func (f *finished) insert(pos int) {
	lo := uint32(f.ring[pos].key.lo)
	i := f.home(lo)
	for f.index[i].pos != 0 {
		i = (i + 1) & (len(f.index) - 1)
	}
	f.index[i] = slot{lo, uint32(pos + 1)}
}

// remove takes a key out of the index and moves back those after it that would
// not be found across the gap.
func (f *finished) remove(k key) {
	mask := len(f.index) - 1
	gap := f.find(k)
	for i := (gap + 1) & mask; f.index[i].pos != 0; i = (i + 1) & mask {
		home := f.home(f.index[i].lo)
		if (i-home)&mask >= (i-gap)&mask {
			f.index[gap] = f.index[i]
			gap = i
		}
	}
	f.index[gap] = slot{}
}
