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
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"onhook/internal/account"
)

//go:embed migrations/*.sql
var migrations embed.FS

// ErrNewer is what a file made by a later version of the program opens with.
var ErrNewer = errors.New("the database was made by a newer version of onhook")

// settings is what tests turn.
type settings struct {
	busy     time.Duration // how long a statement waits for another process's lock
	maxPages int           // the file's size limit; 0: none
}

// Store is an account.Store on a SQLite file. It is safe for concurrent use.
type Store struct {
	read   *sql.DB
	keys   *account.Keys
	writer *writer
}

var _ account.Store = (*Store)(nil)

// Open opens the file, creating it and its tables where they are missing. It
// returns account.ErrWrongKey when other keys sealed what is in it and ErrNewer
// when its tables are from the future.
func Open(ctx context.Context, path string, keys *account.Keys) (*Store, error) {
	return open(ctx, path, keys, settings{busy: 2 * time.Second})
}

func open(ctx context.Context, path string, keys *account.Keys, set settings) (*Store, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if err := create(path); err != nil {
		return nil, err
	}
	common := []string{"foreign_keys(1)", "temp_store(2)"}
	// synchronous=FULL: an acknowledged create survives power loss, not only a
	// crash; group commit (writer) pays for it.
	own := []string{"synchronous(FULL)", "cache_size(-32000)", "journal_size_limit(67108864)"}
	if set.maxPages > 0 {
		own = append(own, "max_page_count("+strconv.Itoa(set.maxPages)+")")
	}
	write, err := pool(path, set.busy, "immediate", append(append([]string{"journal_mode(WAL)"}, own...), common...))
	if err != nil {
		return nil, err
	}
	write.SetMaxOpenConns(1)
	if err := prepare(ctx, write, keys); err != nil {
		return nil, errors.Join(unavailable(err), write.Close())
	}
	read, err := pool(path, set.busy, "deferred", append([]string{"query_only(1)", "cache_size(-8000)"}, common...))
	if err != nil {
		return nil, errors.Join(err, write.Close())
	}
	readers := max(4, runtime.GOMAXPROCS(0))
	read.SetMaxOpenConns(readers)
	read.SetMaxIdleConns(readers)
	return &Store{read: read, keys: keys, writer: &writer{db: write, keys: keys}}, nil
}

// create makes a missing file readable for its owner alone; SQLite gives its
// companions the same mode.
func create(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, fs.ErrPermission) {
		return nil // a read-only file may still be read; SQLite will tell
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// pool opens connections that all have the pragmas.
func pool(path string, busy time.Duration, lock string, pragmas []string) (*sql.DB, error) {
	v := url.Values{"_txlock": {lock}, "_pragma": append([]string{
		"busy_timeout(" + strconv.FormatInt(busy.Milliseconds(), 10) + ")"}, pragmas...)}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: v.Encode()}).String())
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	return db, nil
}

// prepare brings the tables up to date and checks the keys.
func prepare(ctx context.Context, db *sql.DB, keys *account.Keys) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, files,
		goose.WithSlog(slog.New(slog.DiscardHandler)), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	switch current, newest, err := provider.GetVersions(ctx); {
	case err != nil:
		return fmt.Errorf("migrations: %w", err)
	case current > newest:
		return fmt.Errorf("%w: its tables are version %d, this program knows %d", ErrNewer, current, newest)
	case current < newest:
		if _, err := provider.Up(ctx); err != nil {
			return fmt.Errorf("migrate: %w", err)
		}
	}
	var check []byte
	err = db.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = 'key_check'`).Scan(&check)
	if errors.Is(err, sql.ErrNoRows) {
		_, err = db.ExecContext(ctx, `INSERT INTO settings (name, value) VALUES ('key_check', ?)`, keys.Check())
		return err
	}
	if err != nil {
		return err
	}
	return keys.VerifyCheck(check)
}

// Update runs f in a write transaction.
func (s *Store) Update(ctx context.Context, f func(context.Context, account.Tx) error) error {
	return s.writer.update(ctx, f)
}

// Subscribe registers f for every committed change.
func (s *Store) Subscribe(f func(account.Change)) { s.writer.subscribe(f) }

// SubscribeAccounts registers f for every committed change of an account.
func (s *Store) SubscribeAccounts(f func(account.AccountChange)) { s.writer.subscribeAccounts(f) }

// Close waits for the changes under way and closes the file.
func (s *Store) Close() error {
	s.writer.close()
	return errors.Join(s.read.Close(), s.writer.db.Close())
}
