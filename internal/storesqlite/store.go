// Package storesqlite opens one SQLite file for storesql: write-ahead log, one
// writer, many readers. It holds the tables and no queries.
package storesqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"onhook/internal/account"
	"onhook/internal/storesql"
)

// settings is what tests turn.
type settings struct {
	busy     time.Duration // how long a statement waits for another process's lock
	maxPages int           // the file's size limit; 0: none
}

// Open opens the file, creating it and its tables where they are missing.
// Errors are storesql.Prepare's.
func Open(ctx context.Context, path string, keys *account.Keys) (*storesql.Store, error) {
	db, err := open(ctx, path, keys, settings{busy: 2 * time.Second})
	return db.Store, err
}

// database is a store and the pools it works on.
type database struct {
	*storesql.Store
	read, write *sql.DB
}

func open(ctx context.Context, path string, keys *account.Keys, set settings) (db database, err error) {
	if path, err = filepath.Abs(path); err != nil {
		return db, err
	}
	if err := create(path); err != nil {
		return db, err
	}
	common := []string{"foreign_keys(1)", "temp_store(2)"}
	// synchronous=FULL: an acknowledged create survives power loss, not only a
	// crash; group commit (writer) pays for it.
	// wal_autocheckpoint: pages are copied from the log into the file every 64 MiB
	// instead of 4, as much as journal_size_limit leaves the log. New endpoints and
	// call records change the same pages of the indexes in batch after batch: of
	// 16 and 64 MiB the latter makes an import a sixth faster.
	own := []string{"synchronous(FULL)", "cache_size(-32000)", "journal_size_limit(67108864)", "wal_autocheckpoint(16000)"}
	if set.maxPages > 0 {
		own = append(own, "max_page_count("+strconv.Itoa(set.maxPages)+")")
	}
	db.write, err = pool(path, set.busy, "immediate", append(append([]string{"journal_mode(WAL)"}, own...), common...))
	if err != nil {
		return db, err
	}
	db.write.SetMaxOpenConns(1)
	db.read, err = pool(path, set.busy, "deferred", append([]string{"query_only(1)", "cache_size(-8000)"}, common...))
	if err != nil {
		return db, errors.Join(err, db.write.Close())
	}
	readers := max(4, runtime.GOMAXPROCS(0))
	db.read.SetMaxOpenConns(readers)
	db.read.SetMaxIdleConns(readers)
	if err := storesql.Prepare(ctx, db.write, dialect{}, keys); err != nil {
		return db, errors.Join(err, db.read.Close(), db.write.Close())
	}
	db.Store, err = storesql.Open(ctx, db.read, db.write, dialect{}, keys, storesql.Options{Prepare: true})
	return db, err
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
