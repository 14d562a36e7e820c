package storesqlite

import (
	"database/sql"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"onhook/internal/account"
)

// unavailable marks what will pass (a full disk, a lock, a read-only file) as
// account.ErrUnavailable.
func unavailable(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) || errors.Is(err, account.ErrUnavailable) {
		return err
	}
	switch e.Code() & 0xff { // the rest is the extended code
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY,
		sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM:
		return fmt.Errorf("%w: %w", account.ErrUnavailable, err)
	}
	return err
}

// found turns a missing row into ErrNotFound.
func found(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return account.ErrNotFound
	}
	return unavailable(err)
}

// unique reports whether a statement failed for a unique or primary key.
func unique(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && (e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
}

// foreign reports whether a statement named a row that does not exist.
func foreign(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code() == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY
}
