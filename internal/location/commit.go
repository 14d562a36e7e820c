package location

import (
	"fmt"
	"sync"
	"time"

	"onhook/internal/sip"
)

// queue holds the changes the committer has not taken yet. Index.reserve
// bounds it.
type queue struct {
	mu     sync.Mutex
	items  []*change
	wake   chan struct{}
	enough chan struct{} // told when enoughChanges are there
}

// enoughChanges share one commit so well that waiting for more saves next to
// nothing, and only keeps these waiting: of fdatasync's 25 µs of CPU, each bears
// less than half a microsecond.
const enoughChanges = 64

// fewChanges is less than what shares a commit under load. After a commit of so
// few the next one does not wait for company: there is CPU to spare, and the
// wait would be most of the time to answer.
const fewChanges = 8

func (q *queue) put(c *change) {
	q.mu.Lock()
	q.items = append(q.items, c)
	n := len(q.items)
	q.mu.Unlock()
	switch n {
	case 1:
		q.signal()
	case enoughChanges:
		signal(q.enough)
	}
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items)
}

// take returns all that is there and leaves spare in its place.
func (q *queue) take(spare []*change) []*change {
	q.mu.Lock()
	defer q.mu.Unlock()
	items := q.items
	q.items = spare
	return items
}

func (q *queue) signal() { signal(q.wake) }

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// commitLoop writes whatever has gathered as one batch, over and over, until
// the index is closed and nothing is left. The longer the journal takes, the
// larger the batches get: that is the whole of group commit.
func (x *Index) commitLoop(stop <-chan struct{}) {
	var batch, spare []*change
	var records []Record
	var began time.Time
	served := 0 // by the last commit
	var err error
	tell := func() { x.tell(batch, err) } // made once: a commit allocates nothing
	alarm := time.NewTimer(0)
	defer alarm.Stop()
	for {
		if served >= fewChanges {
			x.gather(began, alarm)
		}
		batch = x.queue.take(spare)
		if len(batch) == 0 {
			spare = batch
			if x.closing.Load() && x.pending.Load() == 0 {
				return
			}
			select {
			case <-x.queue.wake:
			case <-stop:
				x.closing.Store(true)
				stop = nil
			}
			continue
		}
		began, served = time.Now(), len(batch)
		records = records[:0]
		for _, c := range batch {
			records = append(records, Record{Key: c.set.Key, Value: c.rec})
		}
		err = x.write(records)
		x.cfg.Together(tell)
		clear(batch)
		clear(records)
		spare = batch[:0]
	}
}

// gather waits until CommitInterval has passed since the last commit began, or
// enough changes are there: under load a commit costs the less, for each of its
// changes, the more of them share it. A change that comes alone, later, does not
// wait.
func (x *Index) gather(began time.Time, alarm *time.Timer) {
	wait := x.cfg.CommitInterval - time.Since(began)
	if wait <= 0 || x.closing.Load() || x.pending.Load() == 0 {
		return
	}
	select {
	case <-x.queue.enough: // of changes that were taken since
	default:
	}
	if x.queue.len() >= enoughChanges {
		return
	}
	alarm.Reset(wait)
	select {
	case <-alarm.C:
	case <-x.queue.enough:
	}
}

// write makes one batch durable.
func (x *Index) write(records []Record) error {
	err := x.cfg.Journal.Commit(records)
	if err == nil {
		return nil
	}
	if n := x.failures.Add(1); n&(n-1) == 0 { // at each power of two: a full disk must not fill the log
		x.cfg.Logger.Error("bindings cannot be written; REGISTERs are refused", "pkg", "location", "failures", n, "err", err)
	}
	return fmt.Errorf("location: journal: %w", err)
}

// tell tells everybody who waits for a batch what became of it.
func (x *Index) tell(batch []*change, err error) {
	for _, c := range batch {
		switch {
		case err != nil:
			x.takeBack(c)
		case len(c.rec) == 0:
			x.forget(c)
		}
		x.feeds.Publish(c.told(err)...)
		if c.editor != nil {
			c.editor.Committed(err)
		}
		x.drop(c)
	}
}

// told returns the events to tell: of a failed change only the ends that
// nobody asked for.
func (c *change) told(err error) []Event {
	if err == nil {
		return c.set.events
	}
	told := c.set.events[:0]
	for i := range c.set.events {
		if t := c.set.events[i].Type; t == Expired || t == FlowLost {
			told = append(told, c.set.events[i])
		}
	}
	return told
}

// forget drops an entry whose emptiness is durable.
func (x *Index) forget(c *change) {
	s := x.shard(c.set.Key)
	s.mu.Lock()
	if en := s.entries[c.set.Key]; en != nil && en.seq == c.seq {
		delete(s.entries, c.set.Key)
	}
	s.mu.Unlock()
}

// takeBack brings memory back to what the journal holds, after a change that
// somebody waits for failed. If a later change of the same key is in flight,
// that one's outcome decides. The index's own changes only end what has ended
// anyway: memory is right, and the journal follows when it can.
func (x *Index) takeBack(c *change) {
	key := c.set.Key
	if c.editor == nil {
		x.setDirty(key)
		return
	}
	// The committer is the journal's only writer, so this value stands until we are done.
	stored, err := x.cfg.Journal.Get(key, nil)
	durable := x.change(key, x.now())
	defer x.release(durable)
	if err == nil && len(stored) > 0 {
		err = x.decodeStored(durable, view(stored), durable.set.Now)
	}
	if err != nil {
		x.cfg.Logger.Error("a refused change could not be taken back", "pkg", "location", "key", uint64(key), "err", err)
		x.setDirty(key)
		return
	}
	if !x.restore(c, durable) {
		return
	}
	if durable.count == 0 && len(stored) > 0 {
		x.setDirty(key)
	}
	for _, f := range durable.after {
		if x.cfg.Alive != nil && !x.cfg.Alive(f) {
			x.FlowClosed(f)
		}
	}
}

// restore puts the durable state in the place of what c made, unless a later
// change has come.
func (x *Index) restore(c, durable *change) bool {
	key := c.set.Key
	s := x.shard(key)
	s.mu.Lock()
	en := s.entries[key]
	if en == nil || en.seq != c.seq {
		s.mu.Unlock()
		return false
	}
	present := x.change(key, durable.set.Now)
	present.decode(en)
	durable.before = connections(durable.before[:0], present.set.Bindings)
	x.release(present)
	durable.encode(x)
	x.store(s, en, durable, durable.set.Now.UnixMilli())
	var buf [8]sip.Flow
	moved := x.reindex(key, durable.before, durable.after, buf[:0])
	if en.n == 0 {
		delete(s.entries, key)
	}
	s.mu.Unlock()
	x.notify(moved)
	return true
}

func (x *Index) setDirty(key Key) {
	x.dirtyMu.Lock()
	x.dirty[key] = struct{}{}
	x.dirtyMu.Unlock()
	x.wakeSweeper()
}
