// Package pebble is a location.Journal on Pebble, for the comparison only.
package pebble

import (
	"encoding/binary"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"onhook/internal/location"
)

// Journal is a location.Journal.
type Journal struct {
	db    *pebble.DB
	batch *pebble.Batch
}

var _ location.Journal = (*Journal)(nil)

// Open opens the store in dir with settings for many small records that are
// read once, at start: no block cache to speak of, small memtables, one
// compaction.
func Open(dir string) (*Journal, error) {
	db, err := pebble.Open(dir, &pebble.Options{
		Logger:                     quiet{},
		FormatMajorVersion:         pebble.FormatNewest,
		CacheSize:                  1 << 20,
		MemTableSize:               8 << 20,
		MaxOpenFiles:               128,
		CompactionConcurrencyRange: func() (int, int) { return 1, 1 },
	})
	if err != nil {
		return nil, err
	}
	return &Journal{db: db, batch: db.NewBatch()}, nil
}

// Commit writes the batch with one sync.
func (j *Journal) Commit(batch []location.Record) error {
	j.batch.Reset()
	var key [8]byte
	for _, r := range batch {
		binary.BigEndian.PutUint64(key[:], uint64(r.Key))
		var err error
		if len(r.Value) == 0 {
			err = j.batch.Delete(key[:], nil)
		} else {
			err = j.batch.Set(key[:], r.Value, nil)
		}
		if err != nil {
			return err
		}
	}
	if j.batch.Empty() {
		return nil
	}
	return j.batch.Commit(pebble.Sync)
}

// Load goes through all records.
func (j *Journal) Load(f func(location.Key, []byte) error) error {
	it, err := j.db.NewIter(nil)
	if err != nil {
		return err
	}
	for it.First(); it.Valid(); it.Next() {
		if err := f(location.Key(binary.BigEndian.Uint64(it.Key())), it.Value()); err != nil {
			return errors.Join(err, it.Close())
		}
	}
	return errors.Join(it.Error(), it.Close())
}

// Get appends the record of a key.
func (j *Journal) Get(key location.Key, dst []byte) ([]byte, error) {
	var k [8]byte
	binary.BigEndian.PutUint64(k[:], uint64(key))
	value, closer, err := j.db.Get(k[:])
	if errors.Is(err, pebble.ErrNotFound) {
		return dst, nil
	}
	if err != nil {
		return dst, err
	}
	dst = append(dst, value...)
	return dst, closer.Close()
}

// Close ends the store.
func (j *Journal) Close() error { return errors.Join(j.batch.Close(), j.db.Close()) }

// quiet keeps Pebble from telling of its work; what it cannot survive ends the
// program.
type quiet struct{}

func (quiet) Infof(string, ...any)              {}
func (quiet) Errorf(string, ...any)             {}
func (quiet) Fatalf(format string, args ...any) { pebble.DefaultLogger.Fatalf(format, args...) }
