package storesql

import (
	"context"
	"errors"
	"fmt"
	"time"

	"onhook/internal/account"
)

// maxAnswers is how many answers are kept at most; the oldest go first.
const maxAnswers = 1_000_000

// Answer returns what a request was answered with.
func (r reader) Answer(ctx context.Context, authID, path, key string) (a account.Answer, err error) {
	var request, sealed []byte
	var at int64
	err = r.row(ctx, `SELECT request, status, answer, at FROM idempotency WHERE owner = ? AND path = ? AND key = ?`, authID, path, key).
		Scan(&request, &a.Status, &sealed, &at)
	if err != nil {
		return a, err
	}
	copy(a.Request[:], request)
	a.At = utc(at)
	text, err := r.keys.OpenAnswer(authID, key, sealed)
	if err != nil {
		return a, err
	}
	const idLen = 36 // of a UUID
	if len(text) < idLen {
		return a, fmt.Errorf("the answer of %s is too short", authID)
	}
	a.APIID, a.Body = string(text[:idLen]), text[idLen:]
	return a, nil
}

// Once answers a request: as it was in the last AnswerAge, or by f, whose
// changes through the Store are made in one transaction with keeping the
// answer. Of the same request at the same time, on whichever server, the second
// waits and is answered as the first. f may run more than once; when it fails
// nothing is changed or kept.
func (s *Store) Once(ctx context.Context, authID, path, key string, now time.Time, f func(context.Context) (account.Answer, error)) (a account.Answer, again bool, err error) {
	err = s.update(ctx, func(ctx context.Context, t *tx) error {
		a, err = t.Answer(ctx, authID, path, key)
		if again = err == nil && a.Fresh(now); again {
			return nil
		}
		if err != nil && !errors.Is(err, account.ErrNotFound) {
			return err
		}
		if a, err = f(context.WithValue(ctx, joined{}, t)); err != nil {
			return err
		}
		return t.saveAnswer(ctx, authID, path, key, a)
	})
	return a, again, err
}

// saveAnswer keeps an answer; a later one to the same key takes its place. It
// is sealed: it may hold a token that is shown once.
func (t *tx) saveAnswer(ctx context.Context, authID, path, key string, a account.Answer) error {
	sealed := t.keys.SealAnswer(authID, key, append([]byte(a.APIID), a.Body...))
	_, err := t.exec(ctx, `INSERT INTO idempotency (owner, path, key, request, status, answer, at) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (owner, path, key) DO UPDATE SET request = excluded.request, status = excluded.status, answer = excluded.answer, at = excluded.at`,
		authID, path, key, a.Request[:], a.Status, sealed, a.At.Unix())
	if t.orphan(err) {
		return account.ErrNotFound
	}
	return err
}

// DropAnswers forgets answers that are older than AnswerAge, and the oldest of
// too many.
func (s *Store) DropAnswers(ctx context.Context, now time.Time) error {
	var n int
	if err := s.row(ctx, `SELECT count(*) FROM idempotency`).Scan(&n); err != nil || n == 0 {
		return err
	}
	oldest := now.Add(-account.AnswerAge).Unix()
	if n > maxAnswers {
		var at int64
		if err := s.row(ctx, `SELECT at FROM idempotency ORDER BY at DESC LIMIT 1 OFFSET ?`, maxAnswers).Scan(&at); err != nil {
			return err
		}
		oldest = max(oldest, at)
	}
	return s.update(ctx, func(ctx context.Context, t *tx) error {
		_, err := t.exec(ctx, `DELETE FROM idempotency WHERE at <= ?`, oldest)
		return err
	})
}
