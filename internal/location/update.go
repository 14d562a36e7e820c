package location

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"onhook/internal/sip"
)

// Editor changes the bindings of one address-of-record.
type Editor interface {
	// Edit looks at the bindings and changes them. It runs under a lock: it must
	// not block nor call the index. The set and its strings are valid until it
	// returns. After an error nothing is changed.
	Edit(s *Set) error
	// Committed is called once when the change is durable, or with an error when
	// it failed and is taken back. It must not block.
	Committed(err error)
}

// Set is the bindings of one address-of-record while they are edited.
type Set struct {
	Key      Key
	Now      time.Time
	Bindings []Binding // live ones, oldest first; change them with the methods

	x       *Index
	events  []Event
	changed bool
}

// Add appends a new binding; the index sets its ID and times of registration.
func (s *Set) Add(b Binding) {
	b.ID = newID()
	b.RegisteredAt, b.LastSeen = s.Now, s.Now
	b.State, b.graceUntil, b.misses = Reachable, 0, 0
	s.Bindings = append(s.Bindings, b)
	s.note(Registered, &b)
}

// Refresh replaces binding i by b, which keeps its ID and age.
func (s *Set) Refresh(i int, b Binding) {
	old := &s.Bindings[i]
	b.ID, b.RegisteredAt = old.ID, old.RegisteredAt
	b.LastSeen = s.Now
	b.State, b.graceUntil, b.misses = Reachable, 0, 0
	*old = b
	s.changed = true
	if s.x.cfg.RefreshEvents {
		s.note(Refreshed, &b)
	}
}

// Remove ends binding i.
func (s *Set) Remove(i int, why Reason) {
	s.note(why, &s.Bindings[i])
	s.Bindings = slices.Delete(s.Bindings, i, i+1)
}

func (s *Set) note(t EventType, b *Binding) {
	s.changed = true
	if s.x.feeds.Watched() {
		s.events = append(s.events, Event{Type: t, Key: s.Key, Binding: *b, At: s.Now})
	}
}

// newID makes a binding_id: 60 random bits.
func newID() string {
	const digits = "0123456789abcdefghjkmnpqrstvwxyz"
	var id [12]byte
	for i, r := 0, rand.Uint64(); i < len(id); i, r = i+1, r>>5 {
		id[i] = digits[r&31]
	}
	return string(id[:])
}

// change is one edit on its way to the journal, pooled.
type change struct {
	set    Set
	rec    []byte // the new record; empty: no bindings are left
	seq    uint64
	editor Editor // nil: the index's own change, nobody waits for it
	before []sip.Flow
	after  []sip.Flow
	ends   int64 // when the first binding ends, unix ms
	count  int
	probed int // of these, to be probed
}

func (x *Index) change(key Key, now time.Time) *change {
	c := x.changes.Get().(*change)
	c.set.x, c.set.Key, c.set.Now = x, key, now
	return c
}

// release gives c back to the pool, without references and without more
// memory than an ordinary change needs.
func (x *Index) release(c *change) {
	c.clear()
	clear(c.set.events)
	if cap(c.rec) > 16<<10 || cap(c.set.Bindings) > 32 {
		return
	}
	set := Set{Bindings: c.set.Bindings, events: c.set.events[:0]}
	*c = change{set: set, rec: c.rec[:0], before: c.before[:0], after: c.after[:0]}
	x.changes.Put(c)
}

func (c *change) clear() {
	clear(c.set.Bindings)
	c.set.Bindings = c.set.Bindings[:0]
}

// decode fills c.set from an entry, as views of its record. The shard is locked.
func (c *change) decode(en *entry) {
	c.clear()
	if en == nil || en.n == 0 {
		return
	}
	// Memory holds only what encode wrote, so there is no error to handle.
	c.set.Bindings, _, _ = decodeRecord(view(en.rec), c.set.Bindings)
}

// encode makes the new record from c.set, whose strings are not needed after it.
func (c *change) encode(x *Index) {
	c.rec, c.after, c.ends = c.rec[:0], c.after[:0], math.MaxInt64
	c.count, c.probed = len(c.set.Bindings), 0
	if c.count == 0 {
		return
	}
	c.rec = appendRecord(c.rec, x.epoch, c.set.Bindings)
	c.after = connections(c.after, c.set.Bindings)
	for i := range c.set.Bindings {
		c.ends = min(c.ends, c.set.Bindings[i].endsAt())
		if x.wantsProbe(&c.set.Bindings[i]) {
			c.probed++
		}
	}
}

// connections appends the connections that carry the bindings, each once.
func connections(dst []sip.Flow, bindings []Binding) []sip.Flow {
	for i := range bindings {
		if f := bindings[i].Flow; f.Conn != 0 && !hasConn(dst, f.Conn) {
			dst = append(dst, f)
		}
	}
	return dst
}

func hasConn(flows []sip.Flow, conn uint64) bool {
	for i := range flows {
		if flows[i].Conn == conn {
			return true
		}
	}
	return false
}

// prune removes the bindings that have ended by themselves.
func (s *Set) prune() {
	now := s.Now.UnixMilli()
	for i := 0; i < len(s.Bindings); {
		b := &s.Bindings[i]
		switch {
		case b.Expires.UnixMilli() <= now:
			s.Remove(i, Expired)
		case b.endsAt() <= now:
			s.Remove(i, FlowLost)
		default:
			i++
		}
	}
}

// Update edits the bindings of one address-of-record and hands the result to
// the journal. When it returns nil, e.Committed has been or will be called,
// from any goroutine; otherwise nothing was changed, and the error is ErrBusy,
// ErrClosed or what Edit returned.
func (x *Index) Update(key Key, e Editor) error {
	if err := x.reserve(); err != nil {
		return err
	}
	return x.apply(key, e, false)
}

// apply makes the change for which a place was reserved. e is nil for the
// index's own changes; rewrite sends the record to the journal in any case.
func (x *Index) apply(key Key, e Editor, rewrite bool) error {
	now := x.now()
	c := x.change(key, now)
	s := x.shard(key)
	s.mu.Lock()
	en := s.entries[key]
	c.decode(en)
	c.before = connections(c.before[:0], c.set.Bindings)
	c.set.prune()
	if e != nil {
		if err := e.Edit(&c.set); err != nil {
			s.mu.Unlock()
			x.drop(c)
			return err
		}
	}
	if !c.set.changed && !rewrite {
		if en != nil {
			c.encode(x)
			s.schedule(x, en, c.ends, now.UnixMilli())
		}
		s.mu.Unlock()
		x.drop(c)
		if e != nil {
			e.Committed(nil)
		}
		return nil
	}
	if en == nil {
		en = s.entry(key)
	}
	c.editor = e
	for i := range c.set.events {
		c.set.events[i].Binding = c.set.events[i].Binding.clone()
	}
	c.encode(x)
	x.store(s, en, c, now.UnixMilli())
	s.seq++
	en.seq, c.seq = s.seq, s.seq
	var buf [8]sip.Flow
	moved := x.reindex(key, c.before, c.after, buf[:0])
	c.clear()
	x.queue.put(c) // under the shard's lock, so that changes of one key stay in order; c is the committer's now
	s.mu.Unlock()
	x.notify(moved)
	return nil
}

// entry returns the entry of a key, made if need be. The shard is locked.
func (s *shard) entry(key Key) *entry {
	en := s.entries[key]
	if en == nil {
		en = &entry{key: key, pos: -1}
		s.entries[key] = en
	}
	return en
}

// store puts c's record into memory. The shard is locked.
func (x *Index) store(s *shard, en *entry, c *change, now int64) {
	if old := en.n; int(old) != c.count {
		x.bindings.Add(int64(c.count) - int64(old))
		if old == 0 {
			x.keys.Add(1)
		} else if c.count == 0 {
			x.keys.Add(-1)
		}
		if is := c.count > 0; x.cfg.Registered != nil && is != (old > 0) {
			x.cfg.Registered(en.key, is)
		}
	}
	en.n = int16(c.count)
	if more := c.probed - int(en.probed); more != 0 {
		en.probed = int16(c.probed)
		s.probed += more
		x.probed.Add(int64(more))
	}
	if n := len(c.rec); n > cap(en.rec) || n < cap(en.rec)/2 {
		en.rec = append([]byte(nil), c.rec...)
	} else {
		en.rec = append(en.rec[:0], c.rec...)
	}
	s.schedule(x, en, c.ends, now)
}

// reserve takes one of the places for changes on their way to the journal.
func (x *Index) reserve() error {
	if x.pending.Add(1) > int64(x.cfg.MaxPending) {
		x.refused.Add(1)
		x.unreserve()
		return ErrBusy
	}
	if x.closing.Load() {
		x.unreserve()
		return ErrClosed
	}
	return nil
}

// reserveOwn takes a place for a change of the index's own, which must leave
// half of them to devices: an hour after a storm everything expires at once.
func (x *Index) reserveOwn() error {
	if x.pending.Load() >= int64(max(1, x.cfg.MaxPending/2)) {
		return ErrBusy
	}
	return x.reserve()
}

func (x *Index) unreserve() {
	if x.pending.Add(-1) == 0 && x.closing.Load() {
		x.queue.signal()
	}
}

// drop gives back c and its place.
func (x *Index) drop(c *change) {
	x.release(c)
	x.unreserve()
}

// clone copies what the binding's strings point to, to one place.
func (b Binding) clone() Binding {
	texts := [...]*string{&b.ID, &b.Contact, &b.Params, &b.InstanceID, &b.CallID, &b.Path, &b.UserAgent}
	size := 0
	for _, s := range texts {
		size += len(*s)
	}
	var all strings.Builder
	all.Grow(size)
	for _, s := range texts {
		all.WriteString(*s)
	}
	rest := all.String()
	for _, s := range texts {
		n := len(*s)
		*s, rest = rest[:n], rest[n:]
	}
	return b
}
