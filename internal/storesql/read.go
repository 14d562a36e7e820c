package storesql

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"onhook/internal/account"
)

// reader looks things up, in a transaction or outside.
type reader struct {
	conn
	keys *account.Keys
}

const (
	accountColumns  = `auth_id, parent, name, enabled, created_at, updated_at, id, email, phone, description, permissions, rate_limit, limits, last_used`
	endpointColumns = `id, owner, main, username, domain, alias, application, allow_voice, allow_message, allow_video,
		allow_same_domain, allow_other_domains, allow_phones, allow_apps, max_contacts, expires_at, secret, created_at, updated_at, limits, previous_secret, previous_until`
	applicationColumns = `id, owner, name, answer_url, answer_method, fallback_url, fallback_method, hangup_url, hangup_method,
		message_url, message_method, transfer_url, transfer_method, log_messages, public_uri, enabled, default_endpoint, default_number,
		created_at, updated_at`
)

func scanAccount(row scanner, more ...any) (a account.Account, err error) {
	var parent sql.NullString
	var created, updated int64
	var limits string
	var used sql.NullInt64
	err = row.Scan(append([]any{&a.AuthID, &parent, &a.Name, &a.Enabled, &created, &updated,
		&a.ID, &a.Email, &a.Phone, &a.Description, &a.Permissions, &a.RateLimit, &limits, &used}, more...)...)
	if err != nil {
		return a, err
	}
	if used.Valid {
		a.LastUsed = utc(used.Int64)
	}
	a.Limits, err = account.ParseLimits(limits)
	a.Parent, a.CreatedAt, a.UpdatedAt = parent.String, utc(created), utc(updated)
	return a, err
}

func (r reader) scanEndpoint(row scanner) (e account.Endpoint, err error) {
	var application sql.NullString
	var expires, until sql.NullInt64
	var created, updated int64
	var secret, previous []byte
	var limits string
	err = row.Scan(&e.ID, &e.Owner, &e.Main, &e.Username, &e.Domain, &e.Alias, &application,
		&e.Allow.Voice, &e.Allow.Message, &e.Allow.Video, &e.Allow.SameDomain, &e.Allow.OtherDomains, &e.Allow.Phones, &e.Allow.Apps,
		&e.MaxContacts, &expires, &secret, &created, &updated, &limits, &previous, &until)
	if err != nil {
		return e, err
	}
	if e.Limits, err = account.ParseLimits(limits); err != nil {
		return e, err
	}
	e.Application, e.CreatedAt, e.UpdatedAt = application.String, utc(created), utc(updated)
	if expires.Valid {
		e.ExpiresAt = utc(expires.Int64)
	}
	if e.Secret, err = r.keys.OpenSecret(e.ID, secret); err != nil || !until.Valid {
		return e, err
	}
	e.PreviousUntil = utc(until.Int64)
	e.Previous, err = r.keys.OpenSecret(e.ID, previous)
	return e, err
}

func scanApplication(row scanner) (a account.Application, err error) {
	var created, updated int64
	err = row.Scan(&a.ID, &a.Owner, &a.Name, &a.AnswerURL, &a.AnswerMethod, &a.FallbackURL, &a.FallbackMethod, &a.HangupURL, &a.HangupMethod,
		&a.MessageURL, &a.MessageMethod, &a.TransferURL, &a.TransferMethod, &a.LogMessages, &a.PublicURI, &a.Enabled, &a.DefaultEndpoint, &a.DefaultNumber,
		&created, &updated)
	a.CreatedAt, a.UpdatedAt = utc(created), utc(updated)
	return a, err
}

// Account looks an account up.
func (r reader) Account(ctx context.Context, authID string) (account.Account, error) {
	return scanAccount(r.row(ctx, `SELECT `+accountColumns+` FROM accounts WHERE auth_id = ?`, authID))
}

// AccountByID looks an account up by its number.
func (r reader) AccountByID(ctx context.Context, id int64) (account.Account, error) {
	return scanAccount(r.row(ctx, `SELECT `+accountColumns+` FROM accounts WHERE id = ?`, id))
}

// DefaultApplication looks up an owner's application for new endpoints.
func (r reader) DefaultApplication(ctx context.Context, owner string) (account.Application, error) {
	return scanApplication(r.row(ctx, `SELECT `+applicationColumns+` FROM applications WHERE owner = ? AND default_endpoint`, owner))
}

// Application looks an application up.
func (r reader) Application(ctx context.Context, appID string) (account.Application, error) {
	return scanApplication(r.row(ctx, `SELECT `+applicationColumns+` FROM applications WHERE id = ?`, appID))
}

// Endpoint looks an endpoint up.
func (r reader) Endpoint(ctx context.Context, id account.EndpointID) (account.Endpoint, error) {
	return r.scanEndpoint(r.row(ctx, `SELECT `+endpointColumns+` FROM endpoints WHERE id = ?`, int64(id)))
}

// EndpointNamed looks an endpoint up by its domain and username.
func (s *Store) EndpointNamed(ctx context.Context, domain, username string) (account.Endpoint, error) {
	return s.scanEndpoint(s.row(ctx, `SELECT `+endpointColumns+` FROM endpoints WHERE domain = ? AND username_key = ? AND username = ?`,
		domain, strings.ToLower(username), username))
}

// TakenUsernames returns those of the lower-case names that exist in a domain.
func (r reader) TakenUsernames(ctx context.Context, domain string, names []string) (map[string]bool, error) {
	taken := map[string]bool{}
	in, arg := r.list(names)
	err := r.each(ctx, func(row scanner) error {
		var name string
		err := row.Scan(&name)
		taken[name] = true
		return err
	}, `SELECT username_key FROM endpoints WHERE domain = ? AND username_key `+in, domain, arg)
	return taken, err
}

// Login returns what authentication needs of an account.
func (s *Store) Login(ctx context.Context, authID string) (l account.Login, err error) {
	var hash []byte
	l.Account, err = scanAccount(s.row(ctx, `SELECT `+accountColumns+`, token_hash FROM accounts WHERE auth_id = ?`, authID), &hash)
	copy(l.TokenHash[:], hash)
	return l, err
}

// Token returns an account's auth token in clear.
func (s *Store) Token(ctx context.Context, authID string) (string, error) {
	var sealed []byte
	if err := s.row(ctx, `SELECT token FROM accounts WHERE auth_id = ?`, authID).Scan(&sealed); err != nil {
		return "", err
	}
	return s.keys.OpenToken(authID, sealed)
}

// Accounts lists all accounts, oldest first.
func (s *Store) Accounts(ctx context.Context) (all []account.Account, err error) {
	err = s.each(ctx, func(row scanner) error {
		a, err := scanAccount(row)
		all = append(all, a)
		return err
	}, `SELECT `+accountColumns+` FROM accounts ORDER BY seq`)
	return all, err
}

// Applications returns those of the ids that exist.
func (s *Store) Applications(ctx context.Context, ids []string) (map[string]account.Application, error) {
	apps := map[string]account.Application{}
	if len(ids) == 0 {
		return apps, nil
	}
	in, arg := s.list(ids)
	err := s.each(ctx, func(row scanner) error {
		a, err := scanApplication(row)
		apps[a.ID] = a
		return err
	}, `SELECT `+applicationColumns+` FROM applications WHERE id `+in, arg)
	return apps, err
}

// NextExpiry returns when the next endpoint expires.
func (s *Store) NextExpiry(ctx context.Context) (time.Time, error) {
	var next sql.NullInt64
	err := s.row(ctx, `SELECT min(expires_at) FROM endpoints WHERE expires_at IS NOT NULL`).Scan(&next)
	if err != nil || !next.Valid {
		return time.Time{}, err
	}
	return utc(next.Int64), nil
}

// NextOverlapEnd returns when the next old secret ends.
func (s *Store) NextOverlapEnd(ctx context.Context) (time.Time, error) {
	var next sql.NullInt64
	err := s.row(ctx, `SELECT min(previous_until) FROM endpoints WHERE previous_until IS NOT NULL`).Scan(&next)
	if err != nil || !next.Valid {
		return time.Time{}, err
	}
	return utc(next.Int64), nil
}
