// Package storepostgres opens a PostgreSQL database for storesql, which several
// servers may share. It holds the tables and no queries.
package storepostgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"onhook/internal/account"
	"onhook/internal/storesql"
)

// How patient the program is with a database.
const (
	startWait = 30 * time.Second // for one that is not there yet when the program starts
	startPoll = 500 * time.Millisecond
	connect   = 5 * time.Second        // to be answered
	lock      = 5 * time.Second        // for another server's transaction
	silence   = 10 * time.Second       // within a transaction or a statement
	poll      = 500 * time.Millisecond // for a notification that may have been lost
)

// readers is how many lookups run at the same time; more wait.
const readers = 8

// Open opens the database that a URL names (postgres://user@host/database; what
// it leaves out is taken from the environment, as psql does) and makes the
// tables that are missing. One that cannot be reached is waited for, as it
// starts together with this program often enough, but not forever. Errors are
// storesql.Prepare's; none holds the password.
func Open(ctx context.Context, url string, keys *account.Keys, logger *slog.Logger) (*storesql.Store, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	config.ConnectTimeout = connect
	options := storesql.Options{Logger: logger, Shared: shared{config}, Poll: poll, Silence: silence}
	deadline := time.Now().Add(startWait)
	for first := true; ; first = false {
		s, err := open(ctx, config, keys, options)
		switch {
		case err == nil || !errors.Is(err, account.ErrUnavailable):
			return s, err
		case time.Now().After(deadline):
			return nil, fmt.Errorf("no answer for %v: %w", startWait, reason(err))
		case first:
			logger.Warn("waiting for the database", "at_most", startWait, "error", reason(err))
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(startPoll):
		}
	}
}

// reason is what a person needs of an error of connecting, which names every
// attempt in a line of its own.
func reason(err error) error {
	var answer *pgconn.PgError
	var network net.Error
	switch {
	case errors.As(err, &answer):
		return answer
	case errors.As(err, &network):
		return network
	}
	return err
}

func open(ctx context.Context, config *pgx.ConnConfig, keys *account.Keys, options storesql.Options) (*storesql.Store, error) {
	if err := prepare(ctx, config, keys); err != nil {
		return nil, err
	}
	read := pool(config, readers, nil)
	write := pool(config, 1, map[string]time.Duration{
		"lock_timeout": lock, "statement_timeout": silence, "idle_in_transaction_session_timeout": silence,
	})
	return storesql.Open(ctx, read, write, dialect{}, keys, options)
}

// prepare makes the tables while no other server does, however long it takes.
func prepare(ctx context.Context, config *pgx.ConnConfig, keys *account.Keys) (err error) {
	db := pool(config, 2, nil)
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Conn(ctx)
	if err == nil {
		defer conn.Close() // and with the connection ends its lock
		_, err = conn.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, lockOpening)
	}
	if err != nil {
		return storesql.Failed(dialect{}, err)
	}
	return storesql.Prepare(ctx, db, dialect{}, keys)
}

// pool opens up to n connections.
func pool(config *pgx.ConnConfig, n int, limits map[string]time.Duration) *sql.DB {
	config = config.Copy()
	config.RuntimeParams["application_name"] = "onhook"
	for name, limit := range limits {
		config.RuntimeParams[name] = fmt.Sprint(limit.Milliseconds())
	}
	db := stdlib.OpenDB(*config, stdlib.OptionAfterConnect(durable))
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	return db
}

// durable makes commits wait for the disk where the server would not: what was
// acknowledged survives a crash. Where it waits for replicas too, it goes on so.
func durable(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, `SELECT set_config('synchronous_commit', 'on', FALSE) WHERE current_setting('synchronous_commit') = 'off'`)
	return err
}

// Numbers of our advisory locks: arbitrary, and the same in every version.
const (
	lockOpening = 7_015_001
	lockWriting = 7_015_002
)
