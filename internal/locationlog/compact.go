package locationlog

import (
	"errors"
	"time"

	"onhook/internal/location"
)

// Compaction takes the oldest segment, appends those of its records that still
// count to the newest, and lets it go. Because it is always the oldest, nothing
// is left that one of its removals could be needed for, and the order of the
// journal stays the order of the changes. The records are written again in
// pieces, each a frame as any commit's; a commit waits for one piece at most.
const pieceSize = 256 << 10

// housekeep starts the housekeeping if there is some to do. mu is held.
func (j *Journal) housekeep() {
	if j.working || !j.toCompact() && !j.toStock() {
		return
	}
	j.working = true
	j.worker.Go(j.work)
}

// toStock reports whether the next segment is to be made. mu is held.
func (j *Journal) toStock() bool {
	h := j.head
	return h != nil && (!h.written || h.end > h.room/2) && j.written >= j.retryAt && !j.stock.ready.Load()
}

// toCompact reports whether the oldest segment is to be compacted: because
// less than half of all bytes count, or to keep the segments few. mu is held.
func (j *Journal) toCompact() bool {
	if len(j.segments) < 2 || j.damaged || j.written < j.retryAt {
		return false
	}
	room := j.roomWanted()
	if j.bytes > 2*j.live()+room {
		return true
	}
	n := len(j.segments)
	return n > maxSegments && j.bytes < int64(n)*room/2 // many small ones, of many short runs
}

// wait lets the compaction get on by a piece where commits come faster than it
// keeps up with: space stays bounded. mu is held.
func (j *Journal) wait() {
	if j.working && !j.closed && j.toCompact() && j.bytes > 3*j.live()+2*j.roomWanted() {
		j.progress.Wait()
	}
}

// work does all housekeeping there is.
func (j *Journal) work() {
	for {
		j.mu.Lock()
		j.progress.Broadcast()
		stock, compact, room := j.toStock(), j.toCompact(), j.roomWanted()
		oldest := (*segment)(nil)
		if compact {
			oldest = j.segments[0]
		}
		if j.closed || !stock && !compact {
			j.working = false
			j.mu.Unlock()
			return
		}
		j.mu.Unlock()
		var err error
		if stock {
			err = j.stock.fill(room)
		} else {
			err = j.compact(oldest, room)
		}
		if err != nil && !errors.Is(err, errClosed) {
			j.postpone(err)
		}
	}
}

// postpone lets the housekeeping rest until more has been written: on a full
// disk it fails again and again.
func (j *Journal) postpone(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var damage *DamageError
	j.damaged = errors.As(err, &damage)
	j.retryAt = j.written + j.roomWanted()/8
	j.log.Error("the location journal is not compacted for now; it grows", "dir", j.dir, "err", err)
}

// compact lets the oldest segment go.
func (j *Journal) compact(s *segment, room int64) error {
	p := piece{journal: j}
	err := j.each(s, func(key location.Key, value []byte, offset int64) error {
		if len(value) == 0 {
			return nil
		}
		return p.add(key, value, place(s.number, offset))
	})
	if err == nil {
		err = p.flush()
	}
	if err == nil {
		err = j.retire(s)
	}
	if err != nil {
		return err
	}
	return j.stock.giveBack(s, room)
}

// piece gathers records that are written again together.
type piece struct {
	journal *Journal
	values  []byte
	records []pieceRecord
}

type pieceRecord struct {
	key  location.Key
	size int
	from at
}

func (p *piece) add(key location.Key, value []byte, from at) error {
	if p.journal.place(key) != from {
		return nil
	}
	p.values = append(p.values, value...)
	p.records = append(p.records, pieceRecord{key, len(value), from})
	if len(p.values) < pieceSize {
		return nil
	}
	return p.flush()
}

// flush writes those records that still count.
func (p *piece) flush() error {
	j := p.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	j.progress.Broadcast()
	if j.closed {
		return errClosed
	}
	j.begin()
	kept := p.records[:0]
	values := p.values
	for _, r := range p.records {
		value := values[:r.size]
		values = values[r.size:]
		if j.place(r.key) != r.from {
			continue
		}
		j.offsets = append(j.offsets, len(j.buf))
		j.buf = appendRecord(j.buf, r.key, value)
		kept = append(kept, r)
	}
	p.values, p.records = p.values[:0], p.records[:0]
	if len(kept) == 0 {
		return nil
	}
	number, start, err := j.append(len(kept))
	if err != nil {
		return err
	}
	j.indexMu.Lock()
	for i, r := range kept {
		j.index[r.key] = place(number, start+int64(j.offsets[i]))
	}
	j.indexMu.Unlock()
	return nil
}

// retire takes the oldest segment, whose records have all been written again,
// out of the journal, and tells so in an empty frame: a restart knows a segment
// that was let go from one that is missing.
func (j *Journal) retire(s *segment) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return errClosed
	}
	j.first = s.number + 1
	j.begin()
	if _, _, err := j.append(0); err != nil {
		j.first = s.number
		return err
	}
	j.segments = j.segments[1:]
	j.records -= s.records
	j.bytes -= s.end - headerSize
	j.retired++
	j.lastGone = time.Now()
	j.indexMu.Lock()
	delete(j.files, s.number)
	j.indexMu.Unlock()
	return nil
}
