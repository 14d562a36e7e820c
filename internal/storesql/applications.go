package storesql

import (
	"context"
	"time"

	"onhook/internal/account"
)

func (t *tx) InsertApplication(ctx context.Context, a account.Application) error {
	t.forget()
	if err := t.takeDefaults(ctx, a); err != nil {
		return err
	}
	_, err := t.exec(ctx, `INSERT INTO applications (`+applicationColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		a.ID, a.Owner, a.Name, a.AnswerURL, a.AnswerMethod, a.FallbackURL, a.FallbackMethod, a.HangupURL, a.HangupMethod,
		a.MessageURL, a.MessageMethod, a.TransferURL, a.TransferMethod, a.LogMessages, a.PublicURI, a.Enabled, a.DefaultEndpoint, a.DefaultNumber,
		a.CreatedAt.Unix(), a.UpdatedAt.Unix())
	switch {
	case t.taken(err, "name"):
		return account.ErrNameTaken
	case t.taken(err, ""):
		return account.ErrDuplicate
	case t.orphan(err):
		return account.ErrNotFound
	case err == nil:
		t.entry.applications = append(t.entry.applications, account.ApplicationChange{ID: a.ID})
	}
	return err
}

func (t *tx) UpdateApplication(ctx context.Context, a account.Application) error {
	t.forget()
	if err := t.takeDefaults(ctx, a); err != nil {
		return err
	}
	err := t.one(ctx, `UPDATE applications SET name = ?, answer_url = ?, answer_method = ?, fallback_url = ?, fallback_method = ?,
		hangup_url = ?, hangup_method = ?, message_url = ?, message_method = ?, transfer_url = ?, transfer_method = ?,
		log_messages = ?, public_uri = ?, enabled = ?, default_endpoint = ?, default_number = ?, updated_at = ? WHERE id = ?`,
		a.Name, a.AnswerURL, a.AnswerMethod, a.FallbackURL, a.FallbackMethod,
		a.HangupURL, a.HangupMethod, a.MessageURL, a.MessageMethod, a.TransferURL, a.TransferMethod,
		a.LogMessages, a.PublicURI, a.Enabled, a.DefaultEndpoint, a.DefaultNumber, a.UpdatedAt.Unix(), a.ID)
	if t.taken(err, "name") {
		return account.ErrNameTaken
	}
	return err
}

// takeDefaults takes the defaults that the application is to be from the
// owner's others.
func (t *tx) takeDefaults(ctx context.Context, a account.Application) error {
	if a.DefaultEndpoint {
		if _, err := t.exec(ctx, `UPDATE applications SET default_endpoint = FALSE WHERE owner = ? AND default_endpoint AND id <> ?`, a.Owner, a.ID); err != nil {
			return err
		}
	}
	if a.DefaultNumber {
		if _, err := t.exec(ctx, `UPDATE applications SET default_number = FALSE WHERE owner = ? AND default_number AND id <> ?`, a.Owner, a.ID); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) DeleteApplication(ctx context.Context, appID string) error {
	t.forget()
	if err := t.one(ctx, `DELETE FROM applications WHERE id = ?`, appID); err != nil {
		return err
	}
	t.entry.applications = append(t.entry.applications, account.ApplicationChange{ID: appID, Gone: true})
	return nil
}

// ApplicationIDs lists all applications.
func (s *Store) ApplicationIDs(ctx context.Context) (ids []string, err error) {
	err = s.each(ctx, func(row scanner) error {
		var id string
		err := row.Scan(&id)
		ids = append(ids, id)
		return err
	}, `SELECT id FROM applications`)
	return ids, err
}

func (t *tx) ApplicationsOf(ctx context.Context, owner string) (all []account.Application, err error) {
	err = t.each(ctx, func(row scanner) error {
		a, err := scanApplication(row)
		all = append(all, a)
		return err
	}, `SELECT `+applicationColumns+` FROM applications WHERE owner = ? ORDER BY seq`, owner)
	return all, err
}

func (t *tx) EndpointsOf(ctx context.Context, owner string, limit int) ([]account.Endpoint, error) {
	return t.endpoints(ctx, `owner = ? ORDER BY seq`, owner, limit)
}

func (t *tx) EndpointsWith(ctx context.Context, appID string, limit int) ([]account.Endpoint, error) {
	return t.endpoints(ctx, `application = ? ORDER BY seq`, appID, limit)
}

func (t *tx) ExpiredEndpoints(ctx context.Context, now time.Time, limit int) ([]account.Endpoint, error) {
	return t.endpoints(ctx, `expires_at <= ? ORDER BY expires_at`, now.Unix(), limit)
}

func (t *tx) endpoints(ctx context.Context, where string, arg any, limit int) (all []account.Endpoint, err error) {
	err = t.each(ctx, func(row scanner) error {
		e, err := t.scanEndpoint(row)
		all = append(all, e)
		return err
	}, `SELECT `+endpointColumns+` FROM endpoints WHERE `+where+` LIMIT ?`, arg, limit)
	return all, err
}
