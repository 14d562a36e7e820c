// Package locationlog keeps the location index's records in an append-only
// journal of segment files: the location.Journal of a single node. It knows
// nothing of what a record says.
package locationlog

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"onhook/internal/location"
)

// Config says where the journal is kept.
type Config struct {
	Dir    string
	Logger *slog.Logger // nil: nothing is told

	disk    disk  // tests put a failing one here
	minRoom int64 // of a segment, 16 MiB
}

const (
	defaultMinRoom = 16 << 20
	maxRoom        = 1 << 30 // an offset has 32 bits
	// maxSegments bounds what many restarts with little to write leave behind.
	maxSegments = 16
	// keptBuffer is how much memory for frames outlives a large batch.
	keptBuffer = 8 << 20
)

var (
	// ErrDiskFull is why Commit refuses while the disk has no room.
	ErrDiskFull = errors.New("the disk is full")
	// ErrInUse marks a folder that another process has open.
	ErrInUse  = errors.New("the location journal is in use by another process")
	errClosed = errors.New("the location journal is closed")
)

// Journal is a location.Journal.
type Journal struct {
	dir   string
	disk  disk
	lock  io.Closer
	log   *slog.Logger
	stock stock

	// mu is held while a frame is written and made durable, by Commit or for a
	// small piece of compaction.
	mu       sync.Mutex
	segments []*segment // oldest first; head, if there is one, is the last
	head     *segment   // nil until something is written
	first    uint32     // the oldest segment that counts
	records  int64      // in all segments
	bytes    int64
	written  int64 // bytes since Open
	retryAt  int64 // of written: after a failure the housekeeping waits until then
	damaged  bool  // a segment cannot be read any more: no compaction
	working  bool  // housekeeping is under way
	retired  uint64
	lastGone time.Time // when a segment was retired last
	closed   bool
	buf      []byte // a frame in the making
	offsets  []int  // of its records
	worker   sync.WaitGroup
	progress *sync.Cond // of the housekeeping, on mu

	indexMu sync.RWMutex // taken inside mu; never held over I/O
	index   map[location.Key]at
	files   map[uint32]file
}

var _ location.Journal = (*Journal)(nil)

// Open opens the journal in cfg.Dir, or makes it. An unfinished frame at its
// end, as a crash leaves it, is cut off and told; a journal damaged otherwise
// is a DamageError. It writes nothing: the first Commit begins a new segment.
func Open(cfg Config) (_ *Journal, err error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.minRoom == 0 {
		cfg.minRoom = defaultMinRoom
	}
	if cfg.disk == nil {
		cfg.disk = folder(cfg.Dir)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("location journal: %w", err)
	}
	lock, err := lockFolder(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.Dir, err)
	}
	j := &Journal{
		dir: cfg.Dir, disk: cfg.disk, lock: lock, log: cfg.Logger, first: 1,
		index: make(map[location.Key]at), files: make(map[uint32]file),
	}
	j.progress = sync.NewCond(&j.mu)
	j.stock.disk, j.stock.minRoom = cfg.disk, cfg.minRoom
	if err := j.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("location journal: %w", err), j.closeFiles())
	}
	return j, nil
}

// Commit appends the batch as one frame with one fdatasync.
func (j *Journal) Commit(batch []location.Record) error {
	if len(batch) == 0 {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.wait()
	if j.closed {
		return errClosed
	}
	j.begin()
	for i := range batch {
		j.offsets = append(j.offsets, len(j.buf))
		j.buf = appendRecord(j.buf, batch[i].Key, batch[i].Value)
	}
	number, start, err := j.append(len(batch))
	if err != nil {
		if noRoom(err) {
			err = fmt.Errorf("%w: %w", ErrDiskFull, err)
		}
		return fmt.Errorf("location journal: %w", err)
	}
	j.indexMu.Lock()
	for i := range batch {
		if len(batch[i].Value) == 0 {
			delete(j.index, batch[i].Key)
		} else {
			j.index[batch[i].Key] = place(number, start+int64(j.offsets[i]))
		}
	}
	j.indexMu.Unlock()
	j.housekeep()
	return nil
}

// begin starts a frame in j.buf. mu is held.
func (j *Journal) begin() {
	if cap(j.buf) > keptBuffer {
		j.buf = nil
	}
	j.buf = append(j.buf[:0], noFrame[:]...)
	j.offsets = j.offsets[:0]
}

// append writes the frame in j.buf, with that many records, and returns where
// it stands when it is on disk. After an error the frame does not count. mu is
// held.
//
// A write that fails leaves the segment as it was: the next one goes to the
// same place. After a failed fdatasync nobody knows what the disk holds, and a
// second one would report success for pages that were dropped. The segment then
// ends with its last durable frame, the next frame begins a new segment and
// says so, and whatever stands behind never counts.
func (j *Journal) append(records int) (number uint32, start int64, err error) {
	if len(j.buf) > maxFrame {
		return 0, 0, fmt.Errorf("a batch of %d bytes is too large", len(j.buf))
	}
	size := int64(len(j.buf))
	if j.toRoll(size) {
		if err := j.roll(size); err != nil {
			return 0, 0, err
		}
	}
	h := j.head
	start = h.end
	sealFrame(j.buf, h.mark, j.first, h.previous)
	j.buf = append(j.buf, noFrame[:]...)
	if _, err := h.file.WriteAt(j.buf, start); err != nil {
		return 0, 0, errors.Join(err, h.file.Truncate(start))
	}
	if err := h.file.SyncData(); err != nil {
		return 0, 0, errors.Join(err, j.seal())
	}
	h.end += size
	h.records += int64(records)
	j.records += int64(records)
	j.bytes += size
	j.written += size
	return h.number, start, nil
}

// toRoll reports whether a frame of size goes into a new segment: the head is
// full, or was made in a hurry and a better one has become ready. mu is held.
func (j *Journal) toRoll(size int64) bool {
	h := j.head
	switch {
	case h == nil:
		return true
	case h.end == headerSize:
		return false
	case !h.written && j.stock.ready.Load():
		return true
	}
	return h.end+size+frameHeader > h.room
}

// roll begins a new segment. Its first frame, once durable, tells where the one
// before ends. mu is held.
func (j *Journal) roll(size int64) error {
	next, err := j.stock.take(max(j.roomWanted(), headerSize+size+frameHeader))
	if err != nil {
		return err
	}
	if n := len(j.segments); n > 0 {
		last := j.segments[n-1]
		next.previous = last.end
		if size, err := last.file.Size(); err == nil && size > last.end+wasted {
			// What was kept for more frames goes back to the disk. If that
			// fails only room is lost.
			_ = last.file.Truncate(last.end + frameHeader)
		}
	}
	j.segments = append(j.segments, next)
	j.head = next
	j.indexMu.Lock()
	j.files[next.number] = next.file
	j.indexMu.Unlock()
	return nil
}

// wasted is how many bytes behind the end of a segment are worth a truncation.
const wasted = 1 << 20

// seal ends the head at its last durable frame. mu is held.
func (j *Journal) seal() error {
	h := j.head
	j.head = nil
	if h.end > headerSize {
		return h.file.Truncate(h.end) // only so that a restart before the next commit does not see the rest
	}
	j.segments = j.segments[:len(j.segments)-1]
	j.indexMu.Lock()
	delete(j.files, h.number)
	j.indexMu.Unlock()
	return j.stock.discard(h)
}

// live estimates the bytes of the records that count. mu is held.
func (j *Journal) live() int64 {
	if j.records == 0 {
		return 0
	}
	return int64(float64(j.bytes) / float64(j.records) * float64(len(j.index)))
}

// roomWanted is the size for a new segment: so large that there are few of
// them, and small beside the whole. mu is held.
func (j *Journal) roomWanted() int64 { return max(j.stock.minRoom, min(j.live()/4, maxRoom)) }

// Load goes through all records, oldest first.
func (j *Journal) Load(f func(location.Key, []byte) error) error {
	j.mu.Lock() // compaction waits
	defer j.mu.Unlock()
	if j.closed {
		return errClosed
	}
	for _, s := range j.segments {
		err := j.each(s, func(key location.Key, value []byte, offset int64) error {
			if j.place(key) != place(s.number, offset) || len(value) == 0 {
				return nil
			}
			return f(key, value)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// place returns where the present record of a key stands, 0 if it has none.
func (j *Journal) place(key location.Key) at {
	j.indexMu.RLock()
	defer j.indexMu.RUnlock()
	return j.index[key]
}

// Get appends the value of a key.
func (j *Journal) Get(key location.Key, dst []byte) ([]byte, error) {
	for {
		j.indexMu.RLock()
		where, ok := j.index[key]
		file := j.files[where.number()]
		j.indexMu.RUnlock()
		if !ok {
			return dst, nil
		}
		value, err := readValue(file, where.offset(), key)
		if j.place(key) != where {
			continue // compacted away meanwhile, and the file perhaps with it
		}
		if err != nil {
			return dst, fmt.Errorf("location journal: %s: %w", segmentName(where.number()), err)
		}
		return append(dst, value...), nil
	}
}

// readValue reads the value of the record at offset.
func readValue(f file, offset int64, key location.Key) ([]byte, error) {
	for size := 1 << 10; ; size *= 8 {
		b := make([]byte, size)
		n, err := f.ReadAt(b, offset)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		got, value, _, ok := parseRecord(b[:n])
		switch {
		case ok && got == key:
			return value, nil
		case ok || n < size || size > maxFrame:
			return nil, fmt.Errorf("offset %d: the record of %d is damaged", offset, key)
		}
	}
}

// Stats is a snapshot.
type Stats struct {
	Bytes      int64 // in its frames, those that count no more included
	Records    int   // that count
	Segments   int
	Compacted  uint64    // segments let go since Open
	Compaction time.Time // when the last one was; zero: none since Open
}

// Stats returns a snapshot. It waits for a commit that is under way.
func (j *Journal) Stats() Stats {
	j.mu.Lock()
	defer j.mu.Unlock()
	return Stats{Bytes: j.bytes, Records: len(j.index), Segments: len(j.segments), Compacted: j.retired, Compaction: j.lastGone}
}

// Close ends the journal. What Commit has returned for is durable without it.
func (j *Journal) Close() error {
	j.mu.Lock()
	closed := j.closed
	j.closed = true
	j.mu.Unlock()
	if closed {
		return errClosed
	}
	j.stock.stop()
	j.worker.Wait()
	if err := j.closeFiles(); err != nil {
		return fmt.Errorf("closing the location journal: %w", err)
	}
	return nil
}

func (j *Journal) closeFiles() error {
	var errs []error
	for _, f := range j.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(append(errs, j.stock.close(), j.lock.Close())...)
}
