package storesql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"

	"onhook/internal/account"
)

// Failure is why a statement failed, as far as a caller decides on it.
type Failure uint8

// The failures that are told apart.
const (
	Other       Failure = iota
	Unique              // a row has this key already
	Foreign             // a row that is referred to does not exist
	NoText              // a parameter is no text that a row could hold
	Unavailable         // it will pass: a full disk, a lock, a lost connection
)

// Dialect is what one database does differently from the others.
type Dialect interface {
	// Migrations are its numbered migrations, and what goose calls it.
	Migrations() (goose.Dialect, fs.FS)
	// Text returns a query in the database's own words: its placeholders
	// are "?" here.
	Text(query string) string
	// List returns what stands right of a column for "is one of these
	// strings or numbers", and the one argument that it takes.
	List(values any) (condition string, arg any)
	// Contains returns the condition that a column contains the text of one
	// argument as it is.
	Contains(column string) string
	// RecordsOf returns the condition that a call record is an account's, the
	// first argument, and of a call from or to an endpoint, the other two.
	RecordsOf() string
	// Snapshot is the isolation in which several reads see the same.
	Snapshot() sql.IsolationLevel
	// Failure tells why a statement failed. For Unique, where holds the names
	// of the key's columns.
	Failure(err error) (kind Failure, where string)
}

// Failed marks what will pass as account.ErrUnavailable.
func Failed(d Dialect, err error) error {
	if err == nil || errors.Is(err, account.ErrUnavailable) {
		return err
	}
	if kind, _ := d.Failure(err); kind == Unavailable {
		return fmt.Errorf("%w: %w", account.ErrUnavailable, err)
	}
	return err
}

// Shared is how several processes share a database.
type Shared interface {
	// Lock is a statement that waits, within a transaction, until no other
	// transaction that ran it is under way, and sees all that those did.
	Lock() string
	// Notify is a statement that has the name of a process, its one argument,
	// heard by whoever listens once the transaction is committed.
	Notify() string
	// Listen calls heard with each name until the context ends or the
	// connection does.
	Listen(ctx context.Context, heard func(from string)) error
}
