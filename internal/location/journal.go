package location

import "errors"

// Record is one change for the journal: the whole record of an
// address-of-record. An empty Value removes it.
type Record struct {
	Key   Key
	Value []byte
}

// Journal keeps records on stable storage. Commit and Close are called by one
// goroutine at a time; Get may be called beside them.
type Journal interface {
	// Commit applies the batch in order, all or nothing, and returns when it is
	// durable. It keeps no reference to the batch. After an error the journal
	// goes on: Get tells what it holds, and a later Commit may succeed.
	Commit(batch []Record) error
	// Load calls f for every record, in any order; f keeps no reference to the
	// value. It stops at f's first error and returns it.
	Load(f func(key Key, value []byte) error) error
	// Get appends the value of a record to dst; nothing is appended for a key it
	// does not hold.
	Get(key Key, dst []byte) ([]byte, error)
	Close() error
}

var (
	// ErrBusy: too many changes wait for the journal; nothing was changed.
	ErrBusy = errors.New("location: too many changes are waiting for the journal")
	// ErrClosed: the index has been closed; nothing was changed.
	ErrClosed = errors.New("location: index is closed")
	// ErrRecord marks a record that cannot be read: damaged, or of a version
	// this program does not know.
	ErrRecord = errors.New("location: unreadable record")
)
