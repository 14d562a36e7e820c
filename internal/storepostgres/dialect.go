package storepostgres

import (
	"database/sql"
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"

	"onhook/internal/storesql"
)

//go:embed migrations/*.sql
var migrations embed.FS

// dialect is what PostgreSQL does differently.
type dialect struct{}

var _ storesql.Dialect = dialect{}

func (dialect) Migrations() (goose.Dialect, fs.FS) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(fmt.Sprintf("storepostgres: %v", err)) // the name is a valid one
	}
	return goose.DialectPostgres, files
}

// Text numbers the placeholders. No query of ours holds a question mark that is
// none.
func (dialect) Text(query string) string {
	n := strings.Count(query, "?")
	if n == 0 {
		return query
	}
	b := make([]byte, 0, len(query)+3*n)
	number := int64(0)
	for i := range len(query) {
		if query[i] != '?' {
			b = append(b, query[i])
			continue
		}
		number++
		b = strconv.AppendInt(append(b, '$'), number, 10)
	}
	return string(b)
}

func (dialect) List(values any) (condition string, arg any) { return "= ANY(?)", values }

func (dialect) Contains(column string) string { return "strpos(" + column + ", ?) > 0" }

func (dialect) RecordsOf() string { return "account = ? AND (endpoint = ? OR peer = ?)" }

func (dialect) Snapshot() sql.IsolationLevel { return sql.LevelRepeatableRead }

// https://www.postgresql.org/docs/15/errcodes-appendix.html
func (dialect) Failure(err error) (kind storesql.Failure, where string) {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		if lost(err) {
			return storesql.Unavailable, ""
		}
		return storesql.Other, ""
	}
	switch e.Code {
	case "23505": // unique_violation
		return storesql.Unique, e.ConstraintName
	case "23503": // foreign_key_violation
		return storesql.Foreign, ""
	case "22021": // character_not_in_repertoire: no row can hold it
		return storesql.NoText, ""
	case "25006", // read_only_sql_transaction: a standby
		"25P03", // idle_in_transaction_session_timeout
		"55P03": // lock_not_available
		return storesql.Unavailable, ""
	}
	switch e.Code[:2] {
	case "08", // connection exceptions
		"40", // serialization failures, deadlocks
		"53", // insufficient resources: disk, memory, connections
		"57", // shutdown, starting up, cancelled by a timeout
		"58": // I/O errors
		return storesql.Unavailable, ""
	}
	return storesql.Other, ""
}

// lost reports whether an error is that of a connection.
func lost(err error) bool {
	var connect *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connect) || errors.As(err, &network) ||
		errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, pgconn.ErrConnClosed)
}
