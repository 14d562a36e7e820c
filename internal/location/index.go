package location

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"onhook/internal/feed"
	"onhook/internal/sip"
)

// Config says how an Index behaves. Zero values mean the defaults.
type Config struct {
	Journal Journal

	Now            func() time.Time // time.Now
	Logger         *slog.Logger
	MaxPending     int           // changes waiting for the journal, 16384; over it Update returns ErrBusy
	CommitInterval time.Duration // under load, from the beginning of one commit to that of the next at least; 0: none
	WebSocketGrace time.Duration // how long a WS/WSS binding waits for its device to return, 15 s; negative: not at all
	RestartGrace   time.Duration // the same for every connection after a restart, 60 s; negative: not at all
	Probe          ProbeMode     // which UDP bindings are to be probed: ProbeNAT, ProbeAll or ProbeNone
	RefreshEvents  bool          // tell Refreshed, which is as frequent as REGISTER itself

	// Together calls f, which calls Editor.Committed for all changes of one
	// commit: whoever answers them may do it at once. nil just calls it.
	Together func(f func())
	// Bound and Idle tell that a connection now carries a binding, or no longer
	// any. They are called with the latest state, one at a time per connection,
	// possibly twice with the same; they must not block.
	Bound func(sip.Flow)
	Idle  func(sip.Flow)
	// Registered tells that an address-of-record now has bindings, or no longer
	// any; in order for each of them. It must not block.
	Registered func(key Key, is bool)
	// Alive says whether a connection is still there; nil: all are. It is asked
	// when a failed change gives a binding back.
	Alive func(sip.Flow) bool
}

const numShards = 128 // a power of two

// Index holds all bindings. Its memory is ahead of the journal by the changes
// in flight; a caller who must know waits for Editor.Committed.
type Index struct {
	cfg        Config
	epoch      uint64 // of this process, in every record it writes
	shards     [numShards]shard
	flows      flowIndex
	queue      queue
	changes    sync.Pool
	keys       atomic.Int64
	bindings   atomic.Int64
	probed     atomic.Int64 // bindings to be probed
	heard      heardTable
	pending    atomic.Int64
	refused    atomic.Uint64
	failures   atomic.Uint64
	running    atomic.Bool
	closing    atomic.Bool
	done       chan struct{}
	nextSweep  atomic.Int64 // unix ms the expirer sleeps until
	sweepWake  chan struct{}
	restoredAt atomic.Int64 // unix ms of Load

	dirtyMu    sync.Mutex
	dirty      map[Key]struct{} // in memory otherwise than in the journal, to be written again
	dirtyTried int64            // unix ms

	feeds feed.Feeds[Event]
}

type shard struct {
	mu      sync.Mutex
	entries map[Key]*entry
	heap    []timer
	seq     uint64 // of the latest change in this shard
	probed  int    // bindings to be probed
}

// entry is an address-of-record. It stays, empty, until the change that
// emptied it is durable.
type entry struct {
	key Key
	rec []byte // the encoded record: all there is to know, in one allocation
	seq uint64 // of the latest change put into the queue
	pos int32  // in the shard's heap, -1 when not there
	n   int16  // bindings in rec

	probed int16 // of these, those to be probed
}

// New makes an index; Load, then Run, bring it to life.
func New(cfg Config) *Index {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Together == nil {
		cfg.Together = func(f func()) { f() }
	}
	if cfg.MaxPending == 0 {
		cfg.MaxPending = 16384
	}
	if cfg.WebSocketGrace == 0 {
		cfg.WebSocketGrace = 15 * time.Second
	}
	if cfg.RestartGrace == 0 {
		cfg.RestartGrace = 60 * time.Second
	}
	x := &Index{
		cfg:       cfg,
		epoch:     rand.Uint64(),
		done:      make(chan struct{}),
		sweepWake: make(chan struct{}, 1),
		dirty:     make(map[Key]struct{}),
	}
	for i := range x.shards {
		x.shards[i].entries = make(map[Key]*entry)
	}
	x.flows.init()
	x.queue.wake, x.queue.enough = make(chan struct{}, 1), make(chan struct{}, 1)
	x.heard.init()
	x.changes.New = func() any { return new(change) }
	x.restoredAt.Store(x.now().UnixMilli())
	return x
}

// now is the time to the millisecond, as records keep it.
func (x *Index) now() time.Time { return time.UnixMilli(x.cfg.Now().UnixMilli()) }

func (x *Index) shard(key Key) *shard {
	return &x.shards[uint64(key)*0x9E3779B97F4A7C15>>57]
}

// view returns b as a string that holds until b is written to again.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// Run commits changes and ends bindings on time until ctx ends or Close is
// called; then it refuses new changes, finishes the waiting ones and returns.
func (x *Index) Run(ctx context.Context) error {
	if !x.running.CompareAndSwap(false, true) {
		return errors.New("location: Run called twice")
	}
	defer close(x.done)
	sweepCtx, stop := context.WithCancel(ctx)
	var sweeper sync.WaitGroup
	sweeper.Go(func() { x.expire(sweepCtx) })
	x.commitLoop(ctx.Done())
	stop()
	sweeper.Wait()
	x.feeds.Close()
	return nil
}

// Close refuses further changes, waits until the waiting ones are durable and
// Run has returned, and ends all feeds. The journal is its owner's to close.
func (x *Index) Close() {
	x.closing.Store(true)
	x.queue.signal()
	if x.running.Load() {
		<-x.done
	} else {
		x.feeds.Close()
	}
}

// Lookup appends the live bindings of an address-of-record to dst, newest
// first. They may be kept.
func (x *Index) Lookup(key Key, dst []Binding) []Binding {
	s := x.shard(key)
	s.mu.Lock()
	en := s.entries[key]
	if en == nil || en.n == 0 {
		s.mu.Unlock()
		return dst
	}
	rec := string(en.rec)
	s.mu.Unlock()
	start := len(dst)
	dst, _, err := decodeRecord(rec, dst)
	if err != nil {
		return dst[:start] // cannot be: memory holds what we encoded
	}
	now := x.now().UnixMilli()
	live := dst[:start]
	for i := start; i < len(dst); i++ {
		if dst[i].endsAt() > now {
			x.freshen(&dst[i])
			live = append(live, dst[i])
		}
	}
	for i, j := start, len(live)-1; i < j; i, j = i+1, j-1 {
		live[i], live[j] = live[j], live[i]
	}
	return live
}

// Registered reports whether an address-of-record has a live binding.
func (x *Index) Registered(key Key) bool {
	s := x.shard(key)
	now := x.now().UnixMilli()
	s.mu.Lock()
	defer s.mu.Unlock()
	en := s.entries[key]
	return en != nil && x.live(s, en, now)
}

// live reports whether an entry has a live binding. s is locked.
func (x *Index) live(s *shard, en *entry, now int64) bool {
	if en.n == 0 {
		return false
	}
	if s.heap[en.pos].at > now { // nothing has ended since the record was written
		return true
	}
	c := x.change(en.key, time.UnixMilli(now))
	defer x.release(c)
	c.decode(en)
	for i := range c.set.Bindings {
		if c.set.Bindings[i].endsAt() > now {
			return true
		}
	}
	return false
}

// RegisteredKeys returns every address-of-record with a live binding, in no order.
func (x *Index) RegisteredKeys() []Key {
	keys := make([]Key, 0, x.keys.Load())
	now := x.now().UnixMilli()
	for i := range x.shards {
		s := &x.shards[i]
		s.mu.Lock()
		for key, en := range s.entries {
			if x.live(s, en, now) {
				keys = append(keys, key)
			}
		}
		s.mu.Unlock()
	}
	return keys
}

// Count returns the number of bindings.
func (x *Index) Count() int { return int(x.bindings.Load()) }

// CountKeys returns the number of addresses-of-record that have bindings.
func (x *Index) CountKeys() int { return int(x.keys.Load()) }

// Stats are the index's figures for the metrics.
type Stats struct {
	Keys, Bindings  int
	Pending         int    // changes waiting for the journal
	Refused         uint64 // changes refused because too many were waiting
	JournalFailures uint64 // failed commits
}

// Stats returns the present figures.
func (x *Index) Stats() Stats {
	return Stats{Keys: x.CountKeys(), Bindings: x.Count(), Pending: int(x.pending.Load()),
		Refused: x.refused.Load(), JournalFailures: x.failures.Load()}
}

// Load reads the journal, once, before Run. Bindings of connections, which did
// not survive, come back as suspect; expired ones are removed. A record it
// cannot read is an error: nothing is dropped in silence.
func (x *Index) Load() error {
	started := x.now()
	x.restoredAt.Store(started.UnixMilli())
	var gone []Record
	c := x.change(0, started)
	defer x.release(c)
	err := x.cfg.Journal.Load(func(key Key, rec []byte) error {
		if err := x.decodeStored(c, view(rec), x.now()); err != nil {
			return fmt.Errorf("record of %d: %w", key, err)
		}
		if len(c.set.Bindings) == 0 {
			gone = append(gone, Record{Key: key})
			return nil
		}
		c.encode(x)
		s := x.shard(key)
		s.mu.Lock()
		defer s.mu.Unlock()
		en := s.entry(key)
		x.store(s, en, c, math.MinInt64)
		return nil
	})
	if err != nil {
		return fmt.Errorf("loading bindings: %w", err)
	}
	for ; len(gone) > 0; gone = gone[min(len(gone), 4096):] {
		if err := x.cfg.Journal.Commit(gone[:min(len(gone), 4096)]); err != nil {
			// They are expired: the next start drops them again.
			x.cfg.Logger.Warn("expired bindings stay in the journal", "pkg", "location", "err", err)
			return nil
		}
	}
	return nil
}

// decodeStored reads a record from the journal into c.set and applies what has
// happened since it was written: bindings that ended are left out, and
// connections of an earlier process are gone.
func (x *Index) decodeStored(c *change, rec string, now time.Time) error {
	c.clear()
	all, epoch, err := decodeRecord(rec, c.set.Bindings)
	if err != nil {
		return err
	}
	c.set.Bindings = all[:0]
	for i := range all {
		b := &all[i]
		if epoch != x.epoch && b.Flow.Transport.Reliable() {
			x.disconnect(b, max(x.restoredAt.Load(), 0)+x.cfg.RestartGrace.Milliseconds())
			b.State = Suspect
		}
		if b.endsAt() > now.UnixMilli() {
			c.set.Bindings = append(c.set.Bindings, *b)
		}
	}
	clear(all[len(c.set.Bindings):])
	return nil
}

// disconnect takes the connection from a binding; a flow-bound one ends when
// its device has not returned by the time given.
func (x *Index) disconnect(b *Binding, until int64) {
	b.Flow.Conn = 0
	if b.FlowBound {
		b.State, b.graceUntil = Suspect, max(until, 1)
	}
}
