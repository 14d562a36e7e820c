package storesql

import (
	"context"
	"database/sql"
	"errors"
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
	dialect Dialect
}

type scanner interface{ Scan(dest ...any) error }

// row is the one row of a query, or its error.
type row struct {
	*sql.Row
	dialect Dialect
}

func (r row) Scan(dest ...any) error {
	err := r.Row.Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return account.ErrNotFound
	}
	return failed(r.dialect, err)
}

// row runs a query for one row.
func (c conn) row(ctx context.Context, query string, args ...any) row {
	return row{c.on.QueryRowContext(ctx, c.dialect.Text(query), args...), c.dialect}
}

// each runs f with every row of a query.
func (c conn) each(ctx context.Context, f func(scanner) error, query string, args ...any) error {
	rows, err := c.on.QueryContext(ctx, c.dialect.Text(query), args...)
	if err != nil {
		return failed(c.dialect, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return failed(c.dialect, err)
		}
	}
	return failed(c.dialect, rows.Err())
}

// exec runs a statement; changed tells whether it touched a row.
func (c conn) exec(ctx context.Context, query string, args ...any) (changed bool, err error) {
	result, err := c.on.ExecContext(ctx, c.dialect.Text(query), args...)
	if err != nil {
		return false, failed(c.dialect, err)
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// list is Dialect.List: "column "+condition, with arg.
func (c conn) list(values any) (condition string, arg any) { return c.dialect.List(values) }

// taken reports whether a statement failed because another row has its key,
// which a column, if one is named, is part of.
func (c conn) taken(err error, column string) bool {
	kind, where := c.dialect.Failure(err)
	return kind == Unique && strings.Contains(where, column)
}

// orphan reports whether a statement named a row that does not exist.
func (c conn) orphan(err error) bool {
	kind, _ := c.dialect.Failure(err)
	return kind == Foreign
}

func null(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }

func nullTime(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.Unix(), Valid: !t.IsZero()}
}

func utc(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }
