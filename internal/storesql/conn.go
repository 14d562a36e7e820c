package storesql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"onhook/internal/account"
)

// conn runs queries in a pool or in a transaction. Its errors are
// account.ErrNotFound for a missing row and account.ErrUnavailable for what
// will pass.
type conn struct {
	on interface {
		QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
		QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
		ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	}
	dialect  Dialect
	silence  time.Duration // after which a database that says nothing is lost; 0: never
	prepared *statements   // nil: the driver keeps them by itself
}

type scanner interface{ Scan(dest ...any) error }

// row is the one row of a query, or its error.
type row struct {
	*sql.Row
	conn  conn
	asker context.Context // the caller's, for the length of one call
	end   func()
}

func (r row) Scan(dest ...any) error {
	defer r.end()
	err := r.Row.Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) || r.conn.impossible(err) {
		return account.ErrNotFound
	}
	return r.conn.failed(r.asker, err)
}

// row runs a query for one row, which must be scanned.
func (c conn) row(ctx context.Context, query string, args ...any) row {
	within, end := c.within(ctx)
	return row{c.queryRow(within, c.dialect.Text(query), args), c, ctx, end}
}

// each runs f with every row of a query, however many there are.
func (c conn) each(ctx context.Context, f func(scanner) error, query string, args ...any) error {
	alive := func() {}
	within := ctx
	if c.silence > 0 {
		bounded, cancel := context.WithCancel(ctx)
		defer cancel()
		timer := time.AfterFunc(c.silence, cancel)
		defer timer.Stop()
		within, alive = bounded, func() { timer.Reset(c.silence) }
	}
	rows, err := c.query(within, c.dialect.Text(query), args)
	if err == nil {
		defer rows.Close()
		for rows.Next() {
			if err := f(rows); err != nil {
				return c.failed(ctx, err)
			}
			alive()
		}
		err = rows.Err()
	}
	if c.impossible(err) {
		return nil
	}
	return c.failed(ctx, err)
}

// exec runs a statement; changed tells whether it touched a row.
func (c conn) exec(ctx context.Context, query string, args ...any) (changed bool, err error) {
	within, end := c.within(ctx)
	defer end()
	result, err := c.run(within, c.dialect.Text(query), args)
	if err != nil {
		return false, c.failed(ctx, err)
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// statement returns a prepared statement, nil where the text is to be run.
func (c conn) statement(ctx context.Context, text string) *sql.Stmt {
	if c.prepared == nil {
		return nil
	}
	t, _ := c.on.(*sql.Tx)
	return c.prepared.find(ctx, text, t)
}

func (c conn) queryRow(ctx context.Context, text string, args []any) *sql.Row {
	if s := c.statement(ctx, text); s != nil {
		return s.QueryRowContext(ctx, args...)
	}
	return c.on.QueryRowContext(ctx, text, args...)
}

func (c conn) query(ctx context.Context, text string, args []any) (*sql.Rows, error) {
	if s := c.statement(ctx, text); s != nil {
		return s.QueryContext(ctx, args...)
	}
	return c.on.QueryContext(ctx, text, args...)
}

func (c conn) run(ctx context.Context, text string, args []any) (sql.Result, error) {
	if s := c.statement(ctx, text); s != nil {
		return s.ExecContext(ctx, args...)
	}
	return c.on.ExecContext(ctx, text, args...)
}

func (c conn) within(ctx context.Context) (context.Context, func()) {
	if c.silence == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, c.silence)
}

// failed is Failed, where a context that ended though the caller's goes on was
// ended by the database's silence.
func (c conn) failed(ctx context.Context, err error) error {
	if ctx.Err() == nil && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) {
		return fmt.Errorf("%w: no answer for %v: %w", account.ErrUnavailable, c.silence, err)
	}
	return Failed(c.dialect, err)
}

// list is Dialect.List: "column "+condition, with arg.
func (c conn) list(values any) (condition string, arg any) { return c.dialect.List(values) }

// taken reports whether a statement failed because another row has its key,
// which a column, if one is named, is part of.
func (c conn) taken(err error, column string) bool {
	if err == nil {
		return false
	}
	kind, where := c.dialect.Failure(err)
	return kind == Unique && strings.Contains(where, column)
}

// orphan reports whether a statement named a row that does not exist.
func (c conn) orphan(err error) bool { return c.is(err, Foreign) }

// impossible reports whether a query asked for what no row can hold.
func (c conn) impossible(err error) bool { return c.is(err, NoText) }

func (c conn) is(err error, want Failure) bool {
	if err == nil {
		return false
	}
	kind, _ := c.dialect.Failure(err)
	return kind == want
}

func null(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }

func nullTime(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.Unix(), Valid: !t.IsZero()}
}

func utc(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }
