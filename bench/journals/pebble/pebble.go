// Package locationpebble keeps the location index's records in a Pebble store:
// the location.Journal of a single node. It knows nothing of what a record
// says.
package locationpebble

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"onhook/internal/location"
)

// Config says where and how the journal is kept.
type Config struct {
	Dir    string
	Logger *slog.Logger

	// Reserve is how many bytes of the disk stay free, 64 MiB; below, commits
	// fail with ErrDiskFull until there is room again. Pebble needs some room to
	// compact, and cannot go on after a failed write.
	Reserve uint64

	fs vfs.FS // tests put a failing disk here
}

var (
	// ErrDiskFull is why Commit refuses while the disk has no room.
	ErrDiskFull = errors.New("the disk is full")
	// ErrCorrupt marks a store that cannot be opened or read because its files
	// are damaged.
	ErrCorrupt = errors.New("the location journal is damaged")
	// ErrInUse marks a directory that another process has open.
	ErrInUse = errors.New("the location journal is in use by another process")
)

// Journal is a location.Journal.
type Journal struct {
	db      *pebble.DB
	dir     string
	fs      *patientFS
	reserve uint64
	batch   *pebble.Batch

	mu     sync.Mutex
	broken error // Pebble's commit failed; only a restart helps
}

var _ location.Journal = (*Journal)(nil)

// uncleanMark stands in the directory while the store is open.
const uncleanMark = "UNCLEAN"

// Open opens the store in cfg.Dir, or makes it. A write-ahead log that ends in
// the middle of a record, as a crash leaves it, is read up to there.
func Open(cfg Config) (*Journal, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Reserve == 0 {
		cfg.Reserve = 64 << 20
	}
	if cfg.fs == nil {
		cfg.fs = vfs.Default
	}
	fs := newPatientFS(cfg.fs)
	j := &Journal{dir: cfg.Dir, fs: fs, reserve: cfg.Reserve}
	if err := fs.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("location journal: %w", err)
	}
	lock, err := pebble.LockDirectory(cfg.Dir, fs)
	if err != nil {
		return nil, fmt.Errorf("%s: %w (%w)", cfg.Dir, ErrInUse, err)
	}
	defer lock.Close() // the open store holds its own reference
	mark := fs.PathJoin(cfg.Dir, uncleanMark)
	_, statErr := fs.Stat(mark)
	unclean := statErr == nil
	isNew, err := isEmpty(cfg.Dir, fs)
	if err != nil {
		return nil, fmt.Errorf("location journal: %w", err)
	}
	logger := &logger{log: cfg.Logger}
	j.db, err = openDB(cfg.Dir, fs, lock, logger)
	if err == nil && isNew {
		// Pebble writes the first log of a new store in its oldest format, which
		// cannot tell damage in the middle from a torn end. The next one can.
		if err = j.db.Close(); err == nil {
			j.db, err = openDB(cfg.Dir, fs, lock, logger)
		}
	}
	if err != nil {
		return nil, err
	}
	if unclean {
		cfg.Logger.Warn("the location journal was not closed; it was read up to its last whole record",
			"pkg", "locationpebble", "dir", cfg.Dir, "replay", logger.replayed())
	}
	if err := touch(fs, mark); err != nil {
		return nil, errors.Join(fmt.Errorf("location journal: %w", err), j.db.Close())
	}
	j.batch = j.db.NewBatch()
	return j, nil
}

// openDB opens Pebble with settings for many small records that are read once,
// at start: no block cache to speak of, small memtables, one compaction.
func openDB(dir string, fs vfs.FS, lock *pebble.Lock, logger *logger) (db *pebble.DB, err error) {
	defer func() {
		// Pebble panics on some damaged files instead of returning an error.
		if p := recover(); p != nil {
			db, err = nil, fmt.Errorf("%s: %w: %v", dir, ErrCorrupt, p)
		}
	}()
	db, err = pebble.Open(dir, &pebble.Options{
		FS:                         fs,
		Lock:                       lock,
		Logger:                     logger,
		FormatMajorVersion:         pebble.FormatNewest,
		CacheSize:                  1 << 20,
		MemTableSize:               8 << 20,
		MaxOpenFiles:               128,
		CompactionConcurrencyRange: func() (int, int) { return 1, 1 },
		EventListener: &pebble.EventListener{
			// By default Pebble ends the process; whoever reads gets the error, too.
			DataCorruption: func(info pebble.DataCorruptionInfo) { logger.Errorf("%s", info) },
		},
	})
	switch {
	case err == nil:
		return db, nil
	case pebble.IsCorruptionError(err):
		return nil, fmt.Errorf("%s: %w: %w", dir, ErrCorrupt, err)
	default:
		return nil, fmt.Errorf("opening the location journal in %s: %w", dir, err)
	}
}

// isEmpty reports whether no store has been made in dir yet.
func isEmpty(dir string, fs vfs.FS) (bool, error) {
	desc, err := pebble.Peek(dir, fs)
	if err != nil {
		return false, err
	}
	return !desc.Exists, nil
}

func touch(fs vfs.FS, name string) error {
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Bindings live under one prefix byte, so that other tables may stand beside
// them.
const (
	prefix    = 'b'
	prefixEnd = prefix + 1
	keySize   = 9
)

func appendKey(dst []byte, key location.Key) []byte {
	return binary.BigEndian.AppendUint64(append(dst, prefix), uint64(key))
}

// Commit writes the batch with one fsync.
func (j *Journal) Commit(batch []location.Record) (err error) {
	if err := j.usable(); err != nil {
		return err
	}
	usage, err := j.fs.GetDiskUsage(j.dir)
	if err == nil && usage.AvailBytes < j.reserve {
		return ErrDiskFull
	}
	j.batch.Reset()
	var key [keySize]byte
	for _, r := range batch {
		k := appendKey(key[:0], r.Key)
		if len(r.Value) == 0 {
			err = j.batch.Delete(k, nil)
		} else {
			err = j.batch.Set(k, r.Value, nil)
		}
		if err != nil {
			return fmt.Errorf("location journal: %w", err)
		}
	}
	defer func() {
		if p := recover(); p != nil {
			f, ours := p.(fatal)
			if !ours {
				panic(p)
			}
			err = j.giveUp(f)
		}
	}()
	if err := j.batch.Commit(pebble.Sync); err != nil {
		return fmt.Errorf("location journal: %w", err)
	}
	return nil
}

func (j *Journal) usable() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.broken
}

func (j *Journal) giveUp(f fatal) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.broken = fmt.Errorf("location journal: cannot be written any more: %s", string(f))
	return j.broken
}

// Load goes through all records.
func (j *Journal) Load(f func(location.Key, []byte) error) error {
	it, err := j.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefix}, UpperBound: []byte{prefixEnd}})
	if err != nil {
		return fmt.Errorf("location journal: %w", err)
	}
	for it.First(); it.Valid(); it.Next() {
		k := it.Key()
		if len(k) != keySize {
			return errors.Join(fmt.Errorf("%s: %w: a key of %d bytes", j.dir, ErrCorrupt, len(k)), it.Close())
		}
		if err := f(location.Key(binary.BigEndian.Uint64(k[1:])), it.Value()); err != nil {
			return errors.Join(err, it.Close())
		}
	}
	return j.readError(errors.Join(it.Error(), it.Close()))
}

// Get appends the record of a key.
func (j *Journal) Get(key location.Key, dst []byte) ([]byte, error) {
	var k [keySize]byte
	value, closer, err := j.db.Get(appendKey(k[:0], key))
	if errors.Is(err, pebble.ErrNotFound) {
		return dst, nil
	}
	if err != nil {
		return dst, j.readError(err)
	}
	dst = append(dst, value...)
	return dst, closer.Close()
}

func (j *Journal) readError(err error) error {
	switch {
	case err == nil:
		return nil
	case pebble.IsCorruptionError(err):
		return fmt.Errorf("%s: %w: %w", j.dir, ErrCorrupt, err)
	}
	return fmt.Errorf("reading the location journal: %w", err)
}

// Close ends the store. What Commit has returned for is durable without it.
func (j *Journal) Close() error {
	j.fs.giveUp()
	if err := j.usable(); err != nil {
		return err // Pebble cannot close in order after a failed commit
	}
	if err := errors.Join(j.batch.Close(), j.db.Close()); err != nil {
		return fmt.Errorf("closing the location journal: %w", err)
	}
	if err := j.fs.Remove(j.fs.PathJoin(j.dir, uncleanMark)); err != nil {
		return fmt.Errorf("closing the location journal: %w", err)
	}
	return nil
}

// fatal is what logger.Fatalf panics with: Pebble must not go on after it.
type fatal string

// logger is Pebble's, on slog. What Pebble tells of its work is for debugging.
type logger struct {
	log *slog.Logger

	mu     sync.Mutex
	replay []string
}

func (l *logger) Infof(format string, args ...any) {
	if strings.Contains(format, "stopped reading at offset") {
		l.mu.Lock()
		l.replay = append(l.replay, fmt.Sprintf(format, args...))
		l.mu.Unlock()
	}
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug(fmt.Sprintf(format, args...), "pkg", "locationpebble")
	}
}

func (l *logger) Errorf(format string, args ...any) {
	l.log.Error(fmt.Sprintf(format, args...), "pkg", "locationpebble")
}

// Fatalf must not return. Commit recovers the panic of its own goroutine; one
// of Pebble's goroutines takes the process down, which loses nothing that was
// acknowledged.
func (l *logger) Fatalf(format string, args ...any) {
	msg := fmt.Sprintf(format, args...)
	l.log.Error(msg, "pkg", "locationpebble")
	panic(fatal(msg))
}

func (l *logger) replayed() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.replay, "; ")
}
