package sipproxy

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"onhook/internal/callrecord"
	"onhook/internal/location"
	"onhook/internal/sip"
)

// journal carries the state of calls to stable storage, off the way of calls:
// what is written in one moment goes out together. A call that rings for long,
// that is answered, whose dialog changes or that ends is written; when its
// records are stored, its ID alone is left for a while.
type journal struct {
	location.Journal
	mu      sync.Mutex
	batch   []location.Record
	piece   []byte // of memory, from which the batch's values are taken
	wake    chan struct{}
	epochs  map[uint32]bool // of this server's processes before this one
	ringing []ringStart     // calls that began lately, oldest first
	over    []forgotten     // whose IDs are left, oldest first
	missed  uint64          // changes that found no room
	failed  uint64          // changes that the journal did not take
}

type ringStart struct {
	call *call
	at   time.Time
}

type forgotten struct {
	id CallID
	at time.Time
}

const (
	journalRoom   = 100_000 // changes that may wait
	journalPiece  = 16 << 10
	journalGather = 20 * time.Millisecond // how long a write waits for more
	// ringJournalled is how long a call may ring without being in the journal.
	ringJournalled = 50 * time.Millisecond
	// longestRing bounds how long a call rings, and so how long after its beginning
	// it may be answered; and how long the ID of one that is over is kept.
	longestRing = 10 * time.Minute
	keptEpochs  = 16
	// cseqLeap is put on the CSeqs of a call from before a restart, which may have
	// gone on since they were written (RFC 3261 12.2.2: they may leap).
	cseqLeap = 100
)

// epochsKey is where the epochs of past processes are kept. No call has it: the
// first bits of what follows the time in an ID are the UUID's variant.
const epochsKey location.Key = 0

func journalKey(id CallID) location.Key { return location.Key(binary.BigEndian.Uint64(id[8:])) }

// keep writes what is known of a call to the journal. The call is locked.
func (p *Proxy) keep(c *call) {
	if p.journal == nil || !c.invite {
		return
	}
	kind := byte(kindOpen)
	if c.over {
		kind = kindOver
	}
	buf := p.buffers.Get().(*[]byte)
	*buf = appendCall(append((*buf)[:0], journalVersion, kind), c)
	p.journal.put(c.id, *buf)
	p.buffers.Put(buf)
}

// put takes a change that waits; it copies the value.
func (j *journal) put(id CallID, value []byte) {
	j.mu.Lock()
	room := len(j.batch) < journalRoom
	if room {
		if cap(j.piece)-len(j.piece) < len(value) {
			j.piece = make([]byte, 0, max(journalPiece, len(value)))
		}
		at := len(j.piece)
		j.piece = append(j.piece, value...)
		j.batch = append(j.batch, location.Record{Key: journalKey(id), Value: j.piece[at:len(j.piece):len(j.piece)]})
	} else {
		j.missed++
	}
	j.mu.Unlock()
	if room {
		select {
		case j.wake <- struct{}{}:
		default:
		}
	}
}

// Stored takes the IDs of finished calls whose records are stored
// (callrecord.OutboxConfig.Saved): the journal need not hold them any more.
func (p *Proxy) Stored(ids []CallID) {
	j := p.journal
	if j == nil {
		return
	}
	now := time.Now()
	for _, id := range ids {
		value := [18]byte{journalVersion, kindForgotten}
		copy(value[2:], id[:])
		j.put(id, value[:])
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, id := range ids {
		j.over = append(j.over, forgotten{id, now})
	}
}

// lost counts the changes that are not in the journal and should be.
func (j *journal) lost() uint64 {
	if j == nil {
		return 0
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.missed + j.failed
}

// write writes what waits.
func (j *journal) write() error {
	j.mu.Lock()
	batch := j.batch
	j.batch = nil
	j.mu.Unlock()
	err := j.Commit(batch)
	if err != nil {
		j.mu.Lock()
		j.failed += uint64(len(batch))
		j.mu.Unlock()
	}
	return err
}

// run writes until ctx ends, and then what is left.
func (j *journal) run(ctx context.Context, logger *slog.Logger) error {
	failing := false
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-j.wake:
			pause := time.NewTimer(journalGather)
			select {
			case <-pause.C:
			case <-ctx.Done():
			}
			pause.Stop()
		}
		err := j.write()
		if err != nil && !failing {
			logger.Error("calls in progress cannot be written to the journal: a restart would not know them", "error", err)
		}
		failing = err != nil
	}
	return j.write()
}

// Flush writes what the journal is to hold and does not yet, after Run.
func (p *Proxy) Flush() error {
	if p.journal == nil {
		return nil
	}
	return p.journal.write()
}

// tidy puts calls that ring for long into the journal, and takes out IDs that
// nobody will ask for any more.
func (p *Proxy) tidy(now time.Time) {
	j := p.journal
	j.mu.Lock()
	var due []*call
	for len(j.ringing) > 0 && now.Sub(j.ringing[0].at) >= ringJournalled {
		due = append(due, j.ringing[0].call)
		j.ringing[0] = ringStart{}
		j.ringing = j.ringing[1:]
	}
	var old []CallID
	for len(j.over) > 0 && now.Sub(j.over[0].at) >= longestRing {
		old = append(old, j.over[0].id)
		j.over = j.over[1:]
	}
	j.mu.Unlock()
	for _, id := range old {
		j.put(id, nil)
	}
	for _, c := range due {
		p.keepRinging(c)
	}
}

// rings notes that a call has begun to ring.
func (j *journal) rings(c *call, now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.ringing) < journalRoom {
		j.ringing = append(j.ringing, ringStart{c, now})
	}
}

// keepRinging writes a call that rings, with what would tell its phones that it
// is over: the answer to its caller, and the CANCEL of each device. A connection
// does not outlive the process, so only what goes over UDP is of use.
func (p *Proxy) keepRinging(c *call) {
	c.mu.Lock()
	f := c.fork
	c.mu.Unlock()
	if f == nil {
		return
	}
	var farewells []farewell
	f.mu.Lock()
	if f.final == 0 && f.req != nil {
		if f.source.Transport == sip.UDP {
			farewells = append(farewells, farewell{f.tx.Flow(), AppendRefusal(nil, f.req, f.source, 480, f.tx.ToTag(), p.Domain, "server.restarted", "The server was restarted while the call rang")})
		}
		for _, b := range f.branches {
			if !b.done && b.client != nil && b.flow.Transport == sip.UDP {
				if msg := b.client.CancelMessage(sip.AppendHeader(nil, sip.Reason, reasonOf("The server was restarted"))); msg != nil {
					farewells = append(farewells, farewell{b.flow, msg})
				}
			}
		}
	}
	f.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.pending || c.answer != 0 {
		return // it has been settled meanwhile
	}
	b := appendCall([]byte{journalVersion, kindRinging}, c)
	b = binary.AppendVarint(b, int64(len(farewells)))
	for i := range farewells {
		b = side{Flow: farewells[i].flow}.append(b)
		b = appendText(b, farewells[i].msg)
	}
	p.journal.put(c.id, b)
}

// farewell is a message that waits in the journal.
type farewell struct {
	flow sip.Flow
	msg  []byte
}

// Load takes in the calls of the processes before this one: those that were
// established go on, those that rang are over, and their phones are told so
// when Run begins. It is called once, before the first message.
func (p *Proxy) Load() error {
	j := p.journal
	if j == nil {
		return nil
	}
	now := time.Now()
	rang := map[CallID]*call{}
	p.rang.Store(&rang)
	var epochs []byte
	var updates []location.Record
	err := j.Load(func(key location.Key, value []byte) error {
		if key == epochsKey {
			epochs = append(epochs, value...)
			return nil
		}
		if drop, err := p.restore(value, rang, now); err != nil || drop {
			updates = append(updates, location.Record{Key: key})
			if err != nil { // one of a newer version, or damaged: the others go on
				p.Logger.Warn("a call in the journal is given up", "error", err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("calls in the journal: %w", err)
	}
	epochs = epochs[max(0, len(epochs)-4*(keptEpochs-1)):]
	for i := 0; i+4 <= len(epochs); i += 4 {
		j.epochs[binary.BigEndian.Uint32(epochs[i:])] = true
	}
	updates = append(updates, location.Record{Key: epochsKey, Value: binary.BigEndian.AppendUint32(epochs, p.calls.epoch)})
	return j.Commit(updates)
}

// restore takes in one record of the journal; drop tells that it is of no more
// use.
func (p *Proxy) restore(value []byte, rang map[CallID]*call, now time.Time) (drop bool, err error) {
	r := &journalReader{b: value}
	if version := r.bytes(1)[0]; version != journalVersion {
		return false, fmt.Errorf("%w: it is of version %d", errJournal, version)
	}
	kind := r.bytes(1)[0]
	if kind == kindForgotten {
		var id CallID
		copy(id[:], r.bytes(16))
		if now.Sub(id.Time()) > 2*longestRing {
			return true, nil
		}
		p.calls.noteEnded(id, tag{})
		p.journal.over = append(p.journal.over, forgotten{id, now})
		return false, nil
	}
	c := readCall(r)
	switch {
	case r.failed:
		return false, errJournal
	case kind == kindOpen:
		p.resume(c, now)
	case kind == kindOver:
		c.over = true
		p.calls.noteEnded(c.id, tag{})
		p.lateRecords(c)
	case kind == kindRinging: // or answered in the last moment: what comes with its cookie goes on
		c.over, c.end, c.status, c.reason = true, now.UnixMilli(), 480, "server.restarted"
		c.outcome, _ = callrecord.OfReason(c.reason)
		rang[c.id] = c
		for range r.count() {
			var s side
			r.side(&s)
			msg := append([]byte(nil), r.blob()...)
			if !r.failed {
				p.farewells = append(p.farewells, farewell{s.Flow, msg})
			}
		}
		p.lateRecords(c)
	}
	return false, nil
}

// resume goes on with an established call.
func (p *Proxy) resume(c *call, now time.Time) {
	c.seen, c.outcome = now.UnixMilli(), callrecord.Outcome{}
	if !p.calls.begin(c) {
		return
	}
	p.counts(c)
	if line := p.lineOf(c.from); line != nil {
		c.takeLine(line, true)
	}
	for i := range c.dialogs {
		if line := p.lineOf(c.dialogs[i].callee); line != nil && !c.dialogs[i].closed {
			c.takeLine(line, true)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p.limit(c, now)
	for i := range c.dialogs {
		d := &c.dialogs[i]
		d.cseq[callerEnd] += cseqLeap
		d.cseq[calleeEnd] += cseqLeap
		d.acked = true // or given up long ago
		if !d.closed {
			p.watchSession(c, d, now)
		}
	}
}

// lateRecords hands on the records of a call that ended before the restart.
func (p *Proxy) lateRecords(c *call) {
	if records := c.records(); p.Records != nil && len(records) > 0 {
		p.Records.Put(records)
		return
	}
	p.Stored([]CallID{c.id})
}

// sayFarewell tells the phones of calls that rang that they are over, a few times
// since nobody acknowledges an answer to a transaction that is gone.
func (p *Proxy) sayFarewell() {
	farewells := p.farewells
	p.farewells = nil
	p.Transactions.AfterFunc(longestRing, func() { p.rang.Store(nil) })
	var answers []farewell
	for _, f := range farewells {
		var m sip.Message
		if m.Parse(f.msg) != nil {
			continue
		}
		if m.IsRequest() {
			_, err := p.Transactions.Request(f.flow, f.msg, heedless{})
			_ = err // a phone that cannot be reached cannot be told
		} else {
			answers = append(answers, f)
		}
	}
	answer := func() {
		for _, f := range answers {
			_ = p.Transport.Send(f.flow, f.msg) // likewise
		}
	}
	answer()
	for _, wait := range [...]time.Duration{500 * time.Millisecond, 1500 * time.Millisecond, 3500 * time.Millisecond} { // Timer G
		p.Transactions.AfterFunc(wait, answer)
	}
}

// endedBefore reports whether a call of a process of ours before this one must
// have ended: the journal would know it otherwise.
func (p *Proxy) endedBefore(k *cookie) bool {
	j := p.journal
	return j != nil && k.Invite && j.epochs[k.Epoch] && p.started.Sub(k.Call.Time()) > longestRing
}
