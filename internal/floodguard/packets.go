package floodguard

import "sync"

const (
	ways   = 8   // sources that share a hash slot
	shards = 128 // at most; each has its own lock
)

// packetTable remembers what each source has sent. It is set-associative: a
// source may only be in the eight places its hash names, so that looking it up
// and finding a victim both cost a bounded walk and nothing is ever allocated.
type packetTable struct {
	shards []packetShard
}

type packetShard struct {
	mu   sync.Mutex
	sets []packetSet
	_    [32]byte // shards do not share a cache line
}

type packetSet struct {
	entries [ways]packetEntry
}

// packetEntry is a token bucket in one number (GCRA): the time at which the
// source will owe nothing. An entry that owes nothing is as good as none.
type packetEntry struct {
	src  source
	paid int64
}

func newPacketTable(sources int) *packetTable {
	n := shards
	for n > 1 && n*ways > sources {
		n /= 2
	}
	t := &packetTable{shards: make([]packetShard, n)}
	sets := max(1, (sources+n*ways-1)/(n*ways))
	for i := range t.shards {
		t.shards[i].sets = make([]packetSet, sets)
	}
	return t
}

// take charges one packet of interval nanoseconds to s, unless it would then
// owe more than credit. evicted tells that another source, which still owed
// something, had to be forgotten.
func (t *packetTable) take(s source, hash uint64, now, interval, credit int64) (admitted, evicted bool) {
	shard := &t.shards[hash%uint64(len(t.shards))]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	set := &shard.sets[hash>>16%uint64(len(shard.sets))]
	i, found := set.find(s)
	if !found {
		i, evicted = set.victim(now)
		set.entries[i] = packetEntry{src: s, paid: now}
	}
	e := &set.entries[i]
	paid := max(e.paid, now) + interval
	if paid-now > credit {
		return false, evicted
	}
	e.paid = paid
	return true, evicted
}

func (set *packetSet) find(s source) (int, bool) {
	for i := range set.entries {
		if set.entries[i].src == s {
			return i, true
		}
	}
	return 0, false
}

// victim returns the place of the source that owes least: an empty one, one that
// owes nothing, or the one whose forgetting gives away the fewest packets. So a
// flood from many addresses cannot wipe out what a single flooder owes.
func (set *packetSet) victim(now int64) (least int, evicted bool) {
	for i := range set.entries {
		if set.entries[i].paid < set.entries[least].paid {
			least = i
		}
	}
	return least, set.entries[least].paid > now
}
