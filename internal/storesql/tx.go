package storesql

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"onhook/internal/account"
)

// tx is one job's part of a write transaction, and what it changes.
type tx struct {
	*lookups
	entry  entry
	broken error // the database may have rolled everything back already: nothing more may run
}

// exec runs a statement; changed tells whether it touched a row.
func (t *tx) exec(ctx context.Context, query string, args ...any) (changed bool, err error) {
	if t.broken != nil {
		return false, t.broken
	}
	changed, err = t.conn.exec(ctx, query, args...)
	if errors.Is(err, account.ErrUnavailable) {
		t.broken = err
	}
	return changed, err
}

// one is exec for a statement that must touch a row.
func (t *tx) one(ctx context.Context, query string, args ...any) error {
	changed, err := t.exec(ctx, query, args...)
	if err == nil && !changed {
		return account.ErrNotFound
	}
	return err
}

// joined is the key of a context whose changes are parts of a *tx.
type joined struct{}

// part runs f as a part of the job, undone by itself when it fails.
func (t *tx) part(ctx context.Context, f func(context.Context, *tx) error) error {
	if _, err := t.exec(ctx, "SAVEPOINT part"); err != nil {
		return err
	}
	before := t.entry
	err := f(ctx, t)
	if err != nil {
		t.entry = before
		t.forget()
		if _, undo := t.exec(ctx, "ROLLBACK TO part"); undo != nil {
			return errors.Join(err, undo)
		}
	}
	_, end := t.exec(ctx, "RELEASE part")
	return errors.Join(err, end)
}

func (t *tx) InsertAccount(ctx context.Context, a account.Account, token string) error {
	t.forget()
	hash := t.keys.HashToken(token)
	_, err := t.exec(ctx, `INSERT INTO accounts (`+accountColumns+`, token_hash, token) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		a.AuthID, null(a.Parent), a.Name, a.Enabled, a.CreatedAt.Unix(), a.UpdatedAt.Unix(),
		a.ID, a.Email, a.Phone, a.Description, a.Permissions, a.RateLimit, a.Limits.Text(), nullTime(a.LastUsed), hash[:], t.keys.SealToken(a.AuthID, token))
	switch {
	case t.taken(err, ""):
		return account.ErrDuplicate
	case t.orphan(err):
		return account.ErrNotFound
	case err != nil:
		return err
	}
	t.entry.accounts = append(t.entry.accounts, account.AccountChange{After: a})
	return nil
}

func (t *tx) UpdateAccount(ctx context.Context, before, after account.Account) error {
	t.forget()
	err := t.one(ctx, `UPDATE accounts SET name = ?, enabled = ?, updated_at = ?, email = ?, phone = ?, description = ?, permissions = ?, rate_limit = ?, limits = ?
		WHERE auth_id = ?`, after.Name, after.Enabled, after.UpdatedAt.Unix(), after.Email, after.Phone, after.Description, after.Permissions, after.RateLimit, after.Limits.Text(), after.AuthID)
	if err != nil {
		return err
	}
	t.entry.accounts = append(t.entry.accounts, account.AccountChange{Before: before, After: after})
	return nil
}

func (t *tx) DeleteAccount(ctx context.Context, before account.Account) error {
	t.forget()
	if err := t.one(ctx, `DELETE FROM accounts WHERE auth_id = ?`, before.AuthID); err != nil {
		return err
	}
	t.entry.accounts = append(t.entry.accounts, account.AccountChange{Before: before})
	t.entry.webhooks = true // its own went with it
	return nil
}

func (t *tx) SetToken(ctx context.Context, authID, token string) error {
	hash := t.keys.HashToken(token)
	return t.one(ctx, `UPDATE accounts SET token_hash = ?, token = ? WHERE auth_id = ?`, hash[:], t.keys.SealToken(authID, token), authID)
}

func (t *tx) InsertEndpoint(ctx context.Context, e account.Endpoint) error {
	err := t.InsertEndpoints(ctx, []account.Endpoint{e})
	if conflict := (*account.Conflict)(nil); errors.As(err, &conflict) {
		conflict.Username = e.Username
	}
	return err
}

var endpointInserts = newInserts(`INSERT INTO endpoints (`+endpointColumns+`, username_key) VALUES `, 23, ``, 100, 10, 1)

func (t *tx) InsertEndpoints(ctx context.Context, all []account.Endpoint) error {
	args := make([]any, 0, len(all)*endpointInserts.values)
	for i := range all {
		e := &all[i]
		args = append(args, int64(e.ID), e.Owner, e.Main, e.Username, e.Domain, e.Alias, null(e.Application),
			e.Allow.Voice, e.Allow.Message, e.Allow.Video, e.Allow.SameDomain, e.Allow.OtherDomains, e.Allow.Phones, e.Allow.Apps,
			e.MaxContacts, nullTime(e.ExpiresAt), t.keys.SealSecret(e.ID, e.Secret), e.CreatedAt.Unix(), e.UpdatedAt.Unix(), e.Limits.Text(),
			sealPrevious(t.keys, *e), nullTime(e.PreviousUntil), strings.ToLower(e.Username))
	}
	err := endpointInserts.run(ctx, t, args)
	switch {
	case t.taken(err, "username_key"):
		return &account.Conflict{}
	case t.taken(err, ""):
		return account.ErrDuplicate
	case t.orphan(err):
		return account.ErrNotFound
	case err != nil:
		return err
	}
	t.entry.endpoints = slices.Grow(t.entry.endpoints, len(all))
	for i := range all {
		t.entry.endpoints = append(t.entry.endpoints, account.Change{Kind: account.Created, After: all[i]})
	}
	return nil
}

func (t *tx) UpdateEndpoint(ctx context.Context, before, after account.Endpoint) error {
	err := t.one(ctx, `UPDATE endpoints SET alias = ?, application = ?, allow_voice = ?, allow_message = ?, allow_video = ?,
		max_contacts = ?, expires_at = ?, secret = ?, updated_at = ?, limits = ?, previous_secret = ?, previous_until = ? WHERE id = ?`,
		after.Alias, null(after.Application), after.Allow.Voice, after.Allow.Message, after.Allow.Video,
		after.MaxContacts, nullTime(after.ExpiresAt), t.keys.SealSecret(after.ID, after.Secret), after.UpdatedAt.Unix(), after.Limits.Text(), sealPrevious(t.keys, after), nullTime(after.PreviousUntil), int64(after.ID))
	if err != nil {
		return err
	}
	fresh, overlaps := before.Secret != after.Secret, !after.PreviousUntil.IsZero()
	t.entry.endpoints = append(t.entry.endpoints, account.Change{Kind: account.Updated, Before: before, After: after,
		SecretChanged: fresh && !overlaps, Rotated: fresh && overlaps, OverlapEnded: !fresh && !overlaps && !before.PreviousUntil.IsZero()})
	return nil
}

// sealPrevious seals the secret before the present one, nil for none.
func sealPrevious(keys *account.Keys, e account.Endpoint) []byte {
	if e.PreviousUntil.IsZero() {
		return nil
	}
	return keys.SealSecret(e.ID, e.Previous)
}

func (t *tx) OverlapsEnded(ctx context.Context, now time.Time, limit int) ([]account.Endpoint, error) {
	return t.endpoints(ctx, `previous_until <= ? ORDER BY previous_until`, now.Unix(), limit)
}

func (t *tx) DeleteEndpoint(ctx context.Context, before account.Endpoint) error {
	if err := t.one(ctx, `DELETE FROM endpoints WHERE id = ?`, int64(before.ID)); err != nil {
		return err
	}
	t.entry.endpoints = append(t.entry.endpoints, account.Change{Kind: account.Deleted, Before: before, SecretChanged: true})
	return nil
}
