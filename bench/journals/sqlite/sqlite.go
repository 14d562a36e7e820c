// Package sqlite is a location.Journal on SQLite, for the comparison only.
package sqlite

import (
	"database/sql"
	"errors"
	"path/filepath"

	_ "modernc.org/sqlite"

	"onhook/internal/location"
)

// Journal is a location.Journal.
type Journal struct {
	db            *sql.DB
	put, cut, get *sql.Stmt
}

var _ location.Journal = (*Journal)(nil)

// Open opens the database in dir: write-ahead log, synced at each commit.
func Open(dir string) (*Journal, error) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "bindings.db")+
		"?_pragma=journal_mode(wal)&_pragma=synchronous(full)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	j := &Journal{db: db}
	_, err = db.Exec(`CREATE TABLE IF NOT EXISTS bindings (key INTEGER PRIMARY KEY, value BLOB NOT NULL)`)
	for _, s := range []struct {
		stmt **sql.Stmt
		text string
	}{
		{&j.put, `INSERT INTO bindings (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value`},
		{&j.cut, `DELETE FROM bindings WHERE key = ?`},
		{&j.get, `SELECT value FROM bindings WHERE key = ?`},
	} {
		if err == nil {
			*s.stmt, err = db.Prepare(s.text)
		}
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return j, nil
}

// Commit writes the batch in one transaction.
func (j *Journal) Commit(batch []location.Record) error {
	tx, err := j.db.Begin()
	if err != nil {
		return err
	}
	put, cut := tx.Stmt(j.put), tx.Stmt(j.cut)
	for _, r := range batch {
		if len(r.Value) == 0 {
			_, err = cut.Exec(int64(r.Key))
		} else {
			_, err = put.Exec(int64(r.Key), r.Value)
		}
		if err != nil {
			return errors.Join(err, tx.Rollback())
		}
	}
	return tx.Commit()
}

// Load goes through all records.
func (j *Journal) Load(f func(location.Key, []byte) error) (err error) {
	rows, err := j.db.Query(`SELECT key, value FROM bindings`)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var key int64
		var value sql.RawBytes
		if err := rows.Scan(&key, &value); err != nil {
			return err
		}
		if err := f(location.Key(key), value); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Get appends the record of a key.
func (j *Journal) Get(key location.Key, dst []byte) ([]byte, error) {
	var value []byte
	err := j.get.QueryRow(int64(key)).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return dst, nil
	}
	return append(dst, value...), err
}

// Close ends the store.
func (j *Journal) Close() error {
	return errors.Join(j.put.Close(), j.cut.Close(), j.get.Close(), j.db.Close())
}
