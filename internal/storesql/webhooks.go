package storesql

import (
	"context"
	"database/sql"
	"fmt"

	"onhook/internal/account"
	"onhook/internal/event"
	"onhook/internal/webhook"
)

var _ webhook.Store = (*Store)(nil)

const webhookColumns = `id, owner, url, events, enabled, disabled_reason, secret, started_after, created_at, last_success_at, failing_since, last_error`

func (r reader) scanWebhook(row scanner) (w webhook.Webhook, err error) {
	var events, after string
	var secret []byte
	var created int64
	var success, failing sql.NullInt64
	err = row.Scan(&w.ID, &w.Owner, &w.URL, &events, &w.Enabled, &w.DisabledReason, &secret, &after, &created, &success, &failing, &w.LastError)
	if err != nil {
		return w, err
	}
	w.Events, w.CreatedAt = webhook.ParseEvents(events), utc(created)
	if success.Valid {
		w.LastSuccessAt = utc(success.Int64)
	}
	if failing.Valid {
		w.FailingSince = utc(failing.Int64)
	}
	if w.StartedAfter, err = event.ParseID(after); err != nil {
		return w, fmt.Errorf("webhook %s: %w", w.ID, err)
	}
	w.Secret, err = r.keys.OpenWebhook(w.ID, secret)
	return w, err
}

func (r reader) webhooks(ctx context.Context, where string, args ...any) (all []webhook.Webhook, err error) {
	err = r.each(ctx, func(row scanner) error {
		w, err := r.scanWebhook(row)
		all = append(all, w)
		return err
	}, `SELECT `+webhookColumns+` FROM webhooks `+where+` ORDER BY started_after, id`, args...)
	return all, err
}

// Webhook looks a webhook up.
func (r reader) Webhook(ctx context.Context, id string) (webhook.Webhook, error) {
	return r.scanWebhook(r.row(ctx, `SELECT `+webhookColumns+` FROM webhooks WHERE id = ?`, id))
}

// WebhooksOf lists an owner's webhooks, oldest first.
func (s *Store) WebhooksOf(ctx context.Context, owner string) ([]webhook.Webhook, error) {
	return s.webhooks(ctx, `WHERE owner = ?`, owner)
}

// Webhooks lists all webhooks.
func (s *Store) Webhooks(ctx context.Context) ([]webhook.Webhook, error) { return s.webhooks(ctx, ``) }

// SubscribeWebhooks registers f for every committed change of webhooks,
// whichever server made it. f must not wait.
func (s *Store) SubscribeWebhooks(f func()) { subscribe(s.feed, &s.feed.webhooks, f) }

// InsertWebhook adds a webhook unless the owner has limit of them.
func (s *Store) InsertWebhook(ctx context.Context, w webhook.Webhook, limit int) error {
	return s.update(ctx, func(ctx context.Context, t *tx) error {
		var n int
		if err := t.row(ctx, `SELECT count(*) FROM webhooks WHERE owner = ?`, w.Owner).Scan(&n); err != nil {
			return err
		}
		if n >= limit {
			return webhook.ErrTooMany
		}
		t.entry.webhooks = true
		_, err := t.exec(ctx, `INSERT INTO webhooks (`+webhookColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			w.ID, w.Owner, w.URL, webhook.FormatEvents(w.Events), w.Enabled, w.DisabledReason, t.keys.SealWebhook(w.ID, w.Secret),
			w.StartedAfter.String(), w.CreatedAt.Unix(), nullTime(w.LastSuccessAt), nullTime(w.FailingSince), w.LastError)
		switch {
		case t.taken(err, ""):
			return account.ErrDuplicate
		case t.orphan(err):
			return account.ErrNotFound
		}
		return err
	})
}

// UpdateWebhook changes what an account or the Deliverer may change.
func (s *Store) UpdateWebhook(ctx context.Context, id string, change func(*webhook.Webhook) error) (after webhook.Webhook, err error) {
	err = s.update(ctx, func(ctx context.Context, t *tx) error {
		w, err := t.Webhook(ctx, id)
		if err != nil {
			return err
		}
		if err := change(&w); err != nil {
			return err
		}
		after = w
		t.entry.webhooks = true
		return t.one(ctx, `UPDATE webhooks SET url = ?, events = ?, enabled = ?, disabled_reason = ?, failing_since = ? WHERE id = ?`,
			w.URL, webhook.FormatEvents(w.Events), w.Enabled, w.DisabledReason, nullTime(w.FailingSince), id)
	})
	return after, err
}

// DeleteWebhook deletes a webhook with its progress.
func (s *Store) DeleteWebhook(ctx context.Context, id string) error {
	return s.update(ctx, func(ctx context.Context, t *tx) error {
		t.entry.webhooks = true
		return t.one(ctx, `DELETE FROM webhooks WHERE id = ?`, id)
	})
}

// WebhookProgress returns how far one server has come with each webhook.
func (s *Store) WebhookProgress(ctx context.Context, origin string) (map[string]event.ID, error) {
	done := map[string]event.ID{}
	err := s.each(ctx, func(row scanner) error {
		var id, text string
		if err := row.Scan(&id, &text); err != nil {
			return err
		}
		last, err := event.ParseID(text)
		if err != nil {
			return fmt.Errorf("progress of webhook %s: %w", id, err)
		}
		done[id] = last
		return nil
	}, `SELECT webhook, done FROM webhook_progress WHERE origin = ?`, origin)
	return done, err
}

// SaveWebhookProgress keeps how far one server has come.
func (s *Store) SaveWebhookProgress(ctx context.Context, origin string, list []webhook.Progress) error {
	return s.update(ctx, func(ctx context.Context, t *tx) error {
		for _, p := range list {
			exists, err := t.exec(ctx, `UPDATE webhooks SET last_success_at = coalesce(?, last_success_at), failing_since = ?, last_error = ? WHERE id = ?`,
				nullTime(p.Result.LastSuccessAt), nullTime(p.Result.FailingSince), p.Result.LastError, p.ID)
			if err != nil {
				return err
			}
			if !exists || p.Done == (event.ID{}) {
				continue
			}
			_, err = t.exec(ctx, `INSERT INTO webhook_progress (webhook, origin, done) VALUES (?, ?, ?)
				ON CONFLICT (webhook, origin) DO UPDATE SET done = excluded.done`, p.ID, origin, p.Done.String())
			if err != nil {
				return err
			}
		}
		return nil
	})
}
