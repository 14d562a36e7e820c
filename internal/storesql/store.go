package storesql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/pressly/goose/v3"

	"onhook/internal/account"
	"onhook/internal/roster"
)

// ErrNewer is what a database opens with whose tables a later version of the
// program made.
var ErrNewer = errors.New("the database was made by a newer version of onhook")

// Options are what a database needs beside its Dialect.
type Options struct {
	Logger  *slog.Logger  // of what happens to a shared database; nil: slog.Default()
	Shared  Shared        // nil: nobody but this process writes
	Poll    time.Duration // from one look for others' changes to the next, should no notification come through
	Prepare bool          // statements once, because the driver does not
	Silence time.Duration // after which a database that does not answer is taken for lost; 0: never
}

// Store is an account.Store on a SQL database. It is safe for concurrent use.
type Store struct {
	reader // on the pool of readers
	read   *sql.DB
	writer *writer
	feed   *feed
	roster *roster.Roster
	poll   time.Duration
}

var _ account.Store = (*Store)(nil)

// Open returns a store that reads from one pool and writes to the other, of a
// database that is prepared. Both are the store's to close, also when Open
// fails.
func Open(ctx context.Context, read, write *sql.DB, d Dialect, keys *account.Keys, o Options) (*Store, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	f := &feed{logger: o.Logger}
	reading, writing := newStatements(read), newStatements(write)
	if !o.Prepare {
		reading, writing = nil, nil
	}
	s := &Store{reader: reader{conn{read, d, o.Silence, reading}, keys}, read: read, feed: f, roster: roster.New(), poll: o.Poll,
		writer: &writer{db: write, dialect: d, keys: keys, silence: o.Silence, prepared: writing, shared: o.Shared, name: newName(), feed: f}}
	s.Subscribe(s.roster.Apply)
	if o.Shared != nil {
		if err := s.row(ctx, `SELECT coalesce(max(number), 0) FROM changes`).Scan(&f.told); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// Prepare brings the tables up to date and checks the keys. It returns
// account.ErrWrongKey when other keys sealed what is in the database and
// ErrNewer when its tables are from the future.
func Prepare(ctx context.Context, db *sql.DB, d Dialect, keys *account.Keys) error {
	return Failed(d, prepare(ctx, db, d, keys))
}

func prepare(ctx context.Context, db *sql.DB, d Dialect, keys *account.Keys) error {
	name, files := d.Migrations()
	provider, err := goose.NewProvider(name, db, files,
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
	c := conn{on: db, dialect: d}
	err = c.row(ctx, `SELECT value FROM settings WHERE name = 'key_check'`).Scan(&check)
	if errors.Is(err, account.ErrNotFound) {
		_, err = c.exec(ctx, `INSERT INTO settings (name, value) VALUES ('key_check', ?)`, keys.Check())
		return err
	}
	if err != nil {
		return err
	}
	return keys.VerifyCheck(check)
}

// Update runs f in a write transaction.
func (s *Store) Update(ctx context.Context, f func(context.Context, account.Tx) error) error {
	return s.update(ctx, func(ctx context.Context, t *tx) error { return f(ctx, t) })
}

// update is Update for whatever is not account.Tx's.
func (s *Store) update(ctx context.Context, f func(context.Context, *tx) error) error {
	if t, within := ctx.Value(joined{}).(*tx); within {
		return t.part(ctx, f)
	}
	return s.writer.update(ctx, f)
}

// maxUses is how many uses of keys one transaction stores.
const maxUses = 500

// SaveUses stores when accounts' keys were used. Nobody is told: it is no change.
func (s *Store) SaveUses(ctx context.Context, at map[string]time.Time) error {
	for some := range slices.Chunk(slices.Collect(maps.Keys(at)), maxUses) {
		err := s.update(ctx, func(ctx context.Context, t *tx) error {
			for _, id := range some {
				_, err := t.exec(ctx, `UPDATE accounts SET last_used = ? WHERE auth_id = ? AND (last_used IS NULL OR last_used < ?)`,
					at[id].Unix(), id, at[id].Unix())
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Subscribe registers f for every committed change.
func (s *Store) Subscribe(f func(account.Change)) { subscribe(s.feed, &s.feed.endpoints, f) }

// SubscribeAccounts registers f for every committed change of an account.
func (s *Store) SubscribeAccounts(f func(account.AccountChange)) {
	subscribe(s.feed, &s.feed.accounts, f)
}

// SubscribeApplications registers f for every application that is made or
// deleted.
func (s *Store) SubscribeApplications(f func(account.ApplicationChange)) {
	subscribe(s.feed, &s.feed.apps, f)
}

// Waiting is the number of changes that wait to be committed.
func (s *Store) Waiting() int { return s.writer.queued() }

// Close waits for the changes under way and closes the database.
func (s *Store) Close() error {
	s.writer.close()
	return errors.Join(s.read.Close(), s.writer.db.Close())
}
