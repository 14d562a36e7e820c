// Package storesqlite keeps accounts, endpoints and applications in one SQLite
// file: write-ahead log, one writer, many readers. It holds no rules; those are
// the account package's.
package storesqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite" // registers the driver "sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"onhook/internal/account"
)

//go:embed migrations/*.sql
var migrations embed.FS

// readers is how many connections read at the same time.
const readers = 8

// busyTimeout is how long a statement waits for another process's lock.
const busyTimeout = 2 * time.Second

// Store is an account.Store on a SQLite file.
type Store struct {
	write *sql.DB // one connection
	read  *sql.DB
	keys  *account.Keys
	turn  chan struct{} // held from the begin of a transaction until its changes are told

	mu          sync.Mutex
	subscribers []func(account.Change)
}

var _ account.Store = (*Store)(nil)

// Open opens the file, creating it and its tables where they are missing. It
// returns account.ErrWrongKey when other keys sealed what is in it.
func Open(ctx context.Context, path string, keys *account.Keys) (*Store, error) {
	s := &Store{keys: keys, turn: make(chan struct{}, 1)}
	var err error
	// synchronous=FULL: an acknowledged create survives power loss, not only a crash.
	if s.write, err = open(path, "immediate", "synchronous(FULL)", "foreign_keys(1)"); err != nil {
		return nil, err
	}
	s.write.SetMaxOpenConns(1)
	if s.read, err = open(path, "deferred", "query_only(1)"); err != nil {
		return nil, errors.Join(err, s.write.Close())
	}
	s.read.SetMaxOpenConns(readers)
	s.read.SetMaxIdleConns(readers)
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(unavailable(err), s.Close())
	}
	return s, nil
}

// open makes a pool whose every connection has the pragmas.
func open(path, lock string, pragmas ...string) (*sql.DB, error) {
	v := url.Values{"_txlock": {lock}, "_pragma": append([]string{
		"busy_timeout(" + strconv.FormatInt(busyTimeout.Milliseconds(), 10) + ")", "journal_mode(WAL)"}, pragmas...)}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: v.Encode()}).String())
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	return db, nil
}

// prepare brings the tables up to date and checks the keys.
func (s *Store) prepare(ctx context.Context) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, s.write, files, goose.WithSlog(slog.New(slog.DiscardHandler)))
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	var check []byte
	err = s.write.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = 'key_check'`).Scan(&check)
	if errors.Is(err, sql.ErrNoRows) {
		_, err = s.write.ExecContext(ctx, `INSERT INTO settings (name, value) VALUES ('key_check', ?)`, s.keys.Check())
		return err
	}
	if err != nil {
		return err
	}
	return s.keys.VerifyCheck(check)
}

// Close closes the file.
func (s *Store) Close() error { return errors.Join(s.read.Close(), s.write.Close()) }

// Subscribe registers f for every committed change.
func (s *Store) Subscribe(f func(account.Change)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subscribers = append(s.subscribers, f)
}

// Update runs f in one write transaction and then tells its changes.
func (s *Store) Update(ctx context.Context, f func(context.Context, account.Tx) error) error {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.turn }()
	changes, err := s.update(ctx, f)
	if err != nil {
		return err
	}
	s.mu.Lock()
	subscribers := s.subscribers[:len(s.subscribers):len(s.subscribers)]
	s.mu.Unlock()
	for _, c := range changes {
		for _, f := range subscribers {
			f(c)
		}
	}
	return nil
}

func (s *Store) update(ctx context.Context, f func(context.Context, account.Tx) error) ([]account.Change, error) {
	t, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return nil, unavailable(err)
	}
	tx := &tx{reader: reader{q: t, keys: s.keys}}
	if err := f(ctx, tx); err != nil {
		// The transaction is gone either way; what f found is what counts.
		_ = t.Rollback()
		return nil, err
	}
	if err := t.Commit(); err != nil {
		return nil, unavailable(err)
	}
	return tx.changes, nil
}

// unavailable marks what will pass (a full disk, a lock, a read-only file) as
// account.ErrUnavailable.
func unavailable(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM:
		return fmt.Errorf("%w: %w", account.ErrUnavailable, err)
	}
	return err
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
