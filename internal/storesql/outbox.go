package storesql

import (
	"context"
	"errors"
	"time"

	"onhook/internal/account"
)

// KeepChanges has every change of an endpoint that is committed from now on
// kept in the outbox, in the same transaction, until DropChanges: for the
// events of one server, which origin names.
func (s *Store) KeepChanges(origin string) { s.writer.origin.Store(&origin) }

// keep puts a commit's changes into the outbox and gives them their number.
func (w *writer) keep(ctx context.Context, r reader, origin string, body []byte, batch []*job) error {
	var seq int64
	err := r.row(ctx, `INSERT INTO outbox (origin, at, body) VALUES (?, ?, ?) RETURNING seq`, origin, time.Now().Unix(), string(body)).Scan(&seq)
	if err != nil {
		return err
	}
	var last *account.Change
	for _, j := range batch {
		for i := range j.entry.endpoints {
			last = &j.entry.endpoints[i]
			last.Seq = seq
		}
	}
	last.Last = true
	return nil
}

// outbox is whose changes are kept here, "" for nobody's.
func (s *Store) outbox() string {
	if origin := s.writer.origin.Load(); origin != nil {
		return *origin
	}
	return ""
}

// errEnough ends a read.
var errEnough = errors.New("enough")

// PendingChanges returns kept changes numbered above after, without secrets:
// those of as many commits as it takes to have limit of them.
func (s *Store) PendingChanges(ctx context.Context, after int64, limit int) (all []account.Change, err error) {
	err = s.each(ctx, func(row scanner) error {
		if len(all) >= limit {
			return errEnough
		}
		var seq, at int64
		var body string
		if err := row.Scan(&seq, &at, &body); err != nil {
			return err
		}
		e, err := parseEntry(s.keys, seq, body)
		if err != nil {
			return err
		}
		for i := range e.endpoints {
			c := &e.endpoints[i]
			c.Seq, c.At, c.Last = seq, utc(at), i == len(e.endpoints)-1
		}
		all = append(all, e.endpoints...)
		return nil
	}, `SELECT seq, at, body FROM outbox WHERE origin = ? AND seq > ? ORDER BY seq LIMIT ?`, s.outbox(), after, limit)
	if errors.Is(err, errEnough) {
		err = nil
	}
	return all, err
}

// outboxAge is how long changes are kept for a server that does not fetch them.
const outboxAge = 7 * 24 * time.Hour

// DropChanges forgets kept changes numbered up to seq, and those that a server
// which is no more has left behind.
func (s *Store) DropChanges(ctx context.Context, seq int64) error {
	origin, old := s.outbox(), time.Now().Add(-outboxAge).Unix()
	return s.update(ctx, func(ctx context.Context, t *tx) error {
		if _, err := t.exec(ctx, `DELETE FROM outbox WHERE origin = ? AND seq <= ?`, origin, seq); err != nil {
			return err
		}
		_, err := t.exec(ctx, `DELETE FROM outbox WHERE at < ?`, old)
		return err
	})
}
