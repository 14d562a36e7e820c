// Package eventlog keeps events in files, for a day and up to a number of
// bytes, and hands them to any number of subscribers: what is new from memory,
// what they missed from the files. It makes no event and knows no HTTP.
package eventlog

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"onhook/internal/event"
)

// Config says where the events are and how many. Dir must be set.
type Config struct {
	Dir      string
	Keep     time.Duration    // 0: DefaultKeep
	MaxBytes int64            // of all files, the oldest of which goes first; 0: DefaultMaxBytes
	Logger   *slog.Logger     // nil: nothing is logged
	Now      func() time.Time // nil: time.Now

	SegmentBytes int64 // of one file; 0: a 32nd of MaxBytes, 16 MiB at most
}

// Defaults of a Config.
const (
	DefaultKeep     = 24 * time.Hour
	DefaultMaxBytes = 1 << 30
)

// Log is the events of one server. It is safe for concurrent use, with one
// appender.
type Log struct {
	cfg    Config
	origin string
	scans  chan struct{} // a place for each that reads files at present

	mu       sync.Mutex
	segments []*segment // oldest first; the last is written to
	file     *os.File   // of the last segment
	buf      []byte
	starts   []int64 // of the frames in buf
	last     event.ID
	seq      int64
	dropped  bool // some events that were kept once are gone
	ended    bool // nobody subscribes any more
	closed   bool
	subs     map[string][]*Subscription // by account

	bytes         atomic.Int64
	slow, damaged atomic.Uint64
	subscribers   atomic.Int64
}

// maxScans is how many may read files at a time: after a restart many want to.
const maxScans = 4

// Open opens the log in its folder, which is made if need be. What a crash left
// half written at the end is cut off.
func Open(cfg Config) (*Log, error) {
	if cfg.Keep <= 0 {
		cfg.Keep = DefaultKeep
	}
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = DefaultMaxBytes
	}
	if cfg.SegmentBytes <= 0 {
		cfg.SegmentBytes = min(max(cfg.MaxBytes/32, 64<<10), 16<<20)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	l := &Log{cfg: cfg, subs: map[string][]*Subscription{}, scans: make(chan struct{}, maxScans)}
	err := l.load()
	if err != nil {
		return nil, err
	}
	if err := l.name(); err != nil {
		return nil, err
	}
	l.dropped = l.segments[0].number > 1
	l.retain()
	return l, nil
}

// Origin names this log among those of servers that share a database.
func (l *Log) Origin() string { return l.origin }

// Last returns the youngest ID ever kept and the greatest Seq.
func (l *Log) Last() (event.ID, int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last, l.seq
}

// Append writes events, whose IDs must increase, and hands them to the
// subscribers. After an error none of them is kept. The events and their bodies
// are the caller's again when it returns.
func (l *Log) Append(events []event.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return fs.ErrClosed
	}
	s := l.segments[len(l.segments)-1]
	if s.size >= l.cfg.SegmentBytes {
		if err := l.begin(s.number + 1); err != nil {
			return fmt.Errorf("eventlog: %w", err)
		}
		s = l.segments[len(l.segments)-1]
		l.retain()
	}
	l.buf = l.buf[:0]
	l.starts = l.starts[:0]
	for i := range events {
		l.starts = append(l.starts, s.size+int64(len(l.buf)))
		l.buf = appendFrame(l.buf, &events[i])
	}
	if _, err := l.file.Write(l.buf); err != nil {
		return errors.Join(fmt.Errorf("eventlog: %w", err), l.file.Truncate(s.size))
	}
	s.size += int64(len(l.buf))
	l.bytes.Add(int64(len(l.buf)))
	if cap(l.buf) > 4<<20 {
		l.buf = nil
	}
	for i := range events {
		e := &events[i]
		if s.first == (event.ID{}) {
			s.first = e.ID
		}
		l.last, l.seq = e.ID, max(l.seq, e.Seq)
		l.publish(e, position{s.number, l.starts[i]})
	}
	return nil
}

// Sync makes everything appended survive the end of the machine.
func (l *Log) Sync() error {
	l.mu.Lock()
	f := l.file
	l.mu.Unlock()
	if err := f.Sync(); err != nil && !errors.Is(err, fs.ErrClosed) { // closed ones were synced
		return fmt.Errorf("eventlog: %w", err)
	}
	return nil
}

// Retain removes what has been kept long enough. Append does so too, but not
// while nothing happens.
func (l *Log) Retain() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.retain()
}

func (l *Log) retain() {
	oldest := l.cfg.Now().Add(-l.cfg.Keep)
	for len(l.segments) > 1 {
		s, next := l.segments[0], l.segments[1]
		old := next.first != (event.ID{}) && next.first.Time().Before(oldest)
		if !old && l.bytes.Load() <= l.cfg.MaxBytes {
			return
		}
		if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.cfg.Logger.Error("old events cannot be removed", "file", s.path, "error", err)
			return
		}
		l.bytes.Add(-s.size)
		l.segments = slices.Delete(l.segments, 0, 1)
		l.dropped = true
	}
}

// Close ends every subscription and closes the file.
func (l *Log) Close() error {
	l.EndAll()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	return errors.Join(l.file.Sync(), l.file.Close())
}

// Stats are the log's figures for the metrics.
type Stats struct {
	Bytes       int64
	Subscribers int
	Slow        uint64 // times a subscriber was too slow for its memory and went back to the files
	Damaged     uint64 // times a file could not be read to its end
}

// Stats returns the present figures.
func (l *Log) Stats() Stats {
	return Stats{Bytes: l.bytes.Load(), Subscribers: int(l.subscribers.Load()), Slow: l.slow.Load(), Damaged: l.damaged.Load()}
}
