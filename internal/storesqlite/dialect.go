package storesqlite

import (
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"onhook/internal/storesql"
)

//go:embed migrations/*.sql
var migrations embed.FS

// dialect is what SQLite does differently.
type dialect struct{}

var _ storesql.Dialect = dialect{}

func (dialect) Migrations() (goose.Dialect, fs.FS) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(fmt.Sprintf("storesqlite: %v", err)) // the name is a valid one
	}
	return goose.DialectSQLite3, files
}

func (dialect) Text(query string) string { return query }

func (dialect) List(values any) (condition string, arg any) {
	text, err := json.Marshal(values)
	if err != nil {
		panic(fmt.Sprintf("storesqlite: list of %T: %v", values, err)) // strings and numbers always marshal
	}
	return `IN (SELECT value FROM json_each(?))`, string(text)
}

func (dialect) Contains(column string) string { return "instr(" + column + ", ?) > 0" }

// The indexes of endpoints are of blocks of records: each block is asked. The
// plus keeps SQLite from going through all of the account's records instead.
func (dialect) RecordsOf() string {
	of := func(column string) string {
		return `SELECT r.seq FROM blocks CROSS JOIN call_records r WHERE r.seq >> 12 = block AND r.` + column + ` = ?`
	}
	return `+account = ? AND seq IN (WITH RECURSIVE blocks(block) AS (SELECT min(seq) >> 12 FROM call_records
		UNION ALL SELECT block + 1 FROM blocks WHERE block < (SELECT max(seq) >> 12 FROM call_records)) ` +
		of("endpoint") + ` UNION ALL ` + of("peer") + `)`
}

// A transaction of the write-ahead log reads one snapshot in any case.
func (dialect) Snapshot() sql.IsolationLevel { return sql.LevelDefault }

func (dialect) Failure(err error) (kind storesql.Failure, where string) {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return storesql.Other, ""
	}
	switch e.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return storesql.Unique, e.Error() // UNIQUE constraint failed: table.column, …
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return storesql.Foreign, ""
	}
	switch e.Code() & 0xff { // the rest is the extended code
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY,
		sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM:
		return storesql.Unavailable, ""
	}
	return storesql.Other, ""
}
