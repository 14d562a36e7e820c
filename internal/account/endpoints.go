package account

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Endpoint returns an endpoint of the scope: the account's own or, for a main
// account, its sub-accounts' too. Foreign ones are ErrNotFound.
func (s *Service) Endpoint(ctx context.Context, scope Account, id EndpointID) (Endpoint, error) {
	return visible(ctx, s.store, scope, id)
}

func visible(ctx context.Context, r Reader, scope Account, id EndpointID) (Endpoint, error) {
	e, err := r.Endpoint(ctx, id)
	return seen(e, err, scope)
}

// seen hides what was looked up from whoever may not see it.
func seen(e Endpoint, err error, scope Account) (Endpoint, error) {
	switch {
	case err != nil:
		return Endpoint{}, err
	case e.Owner == scope.AuthID, scope.Parent == "" && e.Main == scope.AuthID:
		return e, nil
	}
	return Endpoint{}, ErrNotFound
}

// Endpoints returns one page of the scope's own endpoints, or of the
// sub-account that the query selects, and the number of all that match.
func (s *Service) Endpoints(ctx context.Context, scope Account, q EndpointQuery) ([]Endpoint, int, error) {
	if err := checkPage(q.Malformed, q.Limit, q.Offset); err != nil {
		return nil, 0, err
	}
	if q.Application.Set {
		id, ok := parseApplication(q.Application.Value)
		if !ok {
			return nil, 0, nil
		}
		q.Application = Some(id)
	}
	owner, err := s.selected(ctx, scope, q.SubAccount)
	if err != nil || owner == "" {
		return nil, 0, err
	}
	page, total, err := s.store.Endpoints(ctx, owner, q)
	if err != nil {
		return nil, 0, fmt.Errorf("list endpoints: %w", err)
	}
	return page, total, nil
}

func checkPage(malformed map[string]string, limit, offset int) error {
	f := newFaults(malformed)
	if limit < 1 || limit > MaxLimit {
		f.add("limit", fmt.Sprintf("Must be a number from 1 to %d", MaxLimit))
	}
	if offset < 0 {
		f.add("offset", "Must be a number of at least 0")
	}
	return f.err()
}

// selected returns the auth_id whose things a list shows: the scope's or that
// of the sub-account asked for. "" is nobody's: an unknown, a foreign and an
// empty sub-account look the same.
func (s *Service) selected(ctx context.Context, scope Account, subAccount Optional[string]) (owner string, err error) {
	if !subAccount.Set || subAccount.Value == scope.AuthID && scope.Parent != "" {
		return scope.AuthID, nil
	}
	sub, err := s.store.Account(ctx, subAccount.Value)
	if errors.Is(err, ErrNotFound) || err == nil && (scope.Parent != "" || sub.Parent != scope.AuthID) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("list: %w", err)
	}
	return sub.AuthID, nil
}

// UpdateEndpoint changes an endpoint of the scope: all of the patch or nothing.
// Two updates at the same time act as if one came after the other.
func (s *Service) UpdateEndpoint(ctx context.Context, scope Account, id EndpointID, patch EndpointPatch) (Endpoint, error) {
	// A patch that cannot succeed is refused without waiting for the writer.
	before, err := visible(ctx, s.store, scope, id)
	if err != nil {
		return Endpoint{}, err
	}
	after, err := s.patched(ctx, s.store, before, patch)
	if err != nil || after == before {
		return after, err
	}
	err = s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		before, err := visible(ctx, tx, scope, id)
		if err != nil {
			return err
		}
		after, err = s.patched(ctx, tx, before, patch)
		if err != nil || after == before {
			return err
		}
		after.UpdatedAt = s.time()
		return tx.UpdateEndpoint(ctx, before, after)
	})
	if err != nil {
		return Endpoint{}, fmt.Errorf("update endpoint: %w", err)
	}
	return after, nil
}

// patched returns the endpoint as the patch wants it, or *Invalid.
func (s *Service) patched(ctx context.Context, r Reader, e Endpoint, p EndpointPatch) (Endpoint, error) {
	f := newFaults(p.Malformed)
	checkLocked(f, e, p)
	after := e
	after.Alias = value(f, "alias", p.Alias, e.Alias)
	if p.Alias.Set {
		f.add("alias", checkAlias(after.Alias))
	}
	after.Allow.Voice = value(f, "allow_voice", p.AllowVoice, e.Allow.Voice)
	after.Allow.Message = value(f, "allow_message", p.AllowMessage, e.Allow.Message)
	after.Allow.Video = value(f, "allow_video", p.AllowVideo, e.Allow.Video)
	after.MaxContacts = value(f, "max_contacts", p.MaxContacts, e.MaxContacts)
	f.add("max_contacts", checkMaxContacts(after.MaxContacts))
	after.ExpiresAt = s.expiry(f, p.ExpiresAt, e.ExpiresAt)
	if p.Application.Set {
		after.Application = wantedApplication(f, p.Application)
		// What is attached already is not asked for again.
		if after.Application != e.Application {
			bad, err := applicationFault(ctx, r, after)
			if err != nil {
				return Endpoint{}, fmt.Errorf("update endpoint: %w", err)
			}
			f.add("application", bad)
		}
	}
	if overlap := value(f, "password_overlap", p.Overlap, 0); overlap < 0 || overlap > maxOverlap {
		f.add("password_overlap", msgOverlap)
	} else if p.Overlap.Set && !p.Password.Set {
		f.add("password_overlap", msgOverlapOf)
	}
	if p.Password.Set {
		password := value(f, "password", p.Password, "")
		f.add("password", checkPassword(password))
		if len(f) == 0 {
			s.rotate(&after, newSecret(e.Username, e.Domain, password), p.Overlap.Value)
		}
	}
	if err := f.err(); err != nil {
		return Endpoint{}, err
	}
	return after, nil
}

// rotate gives the endpoint a new secret, beside which the present one works
// for so many seconds.
func (s *Service) rotate(e *Endpoint, fresh Secret, overlap int) {
	if fresh == e.Secret {
		return // it is the present one
	}
	e.Previous, e.PreviousUntil = Secret{}, time.Time{}
	if overlap > 0 {
		e.Previous, e.PreviousUntil = e.Secret, s.time().Add(time.Duration(overlap)*time.Second)
	}
	e.Secret = fresh
}

// EndOverlaps ends the old passwords whose time is over and returns how many
// they were. The caller runs it from time to time.
func (s *Service) EndOverlaps(ctx context.Context) (int, error) {
	ended := 0
	for {
		next, err := s.store.NextOverlapEnd(ctx)
		if err != nil {
			return ended, fmt.Errorf("end old passwords: %w", err)
		}
		now := s.time()
		if next.IsZero() || next.After(now) {
			return ended, nil
		}
		n := 0
		err = s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
			all, err := tx.OverlapsEnded(ctx, now, sweep)
			n = len(all)
			for i := 0; err == nil && i < n; i++ {
				after := all[i]
				after.Previous, after.PreviousUntil = Secret{}, time.Time{}
				err = tx.UpdateEndpoint(ctx, all[i], after)
			}
			return err
		})
		if err != nil {
			return ended, fmt.Errorf("end old passwords: %w", err)
		}
		ended += n
	}
}

// checkLocked refuses locked fields unless they carry their present value.
func checkLocked(f faults, e Endpoint, p EndpointPatch) {
	sub := ""
	if e.Owner != e.Main {
		sub = e.Owner
	}
	if p.SubAccount.Set && p.SubAccount.Value != sub {
		f.add("sub_account", msgLocked)
	}
	for name, is := range map[string]struct {
		want    Optional[string]
		present string
	}{
		"username":    {p.Username, e.Username},
		"endpoint_id": {p.EndpointID, e.ID.String()},
		"domain":      {Optional[string]{p.Domain.Set, p.Domain.Null, strings.ToLower(p.Domain.Value)}, e.Domain},
	} {
		if is.want.Set && (is.want.Null || is.want.Value != is.present) {
			f.add(name, msgLocked)
		}
	}
	for name, is := range map[string]struct {
		want    Optional[bool]
		present bool
	}{
		"allow_same_domain":   {p.AllowSameDomain, e.Allow.SameDomain},
		"allow_other_domains": {p.AllowOtherDomains, e.Allow.OtherDomains},
		"allow_phones":        {p.AllowPhones, e.Allow.Phones},
		"allow_apps":          {p.AllowApps, e.Allow.Apps},
	} {
		if is.want.Set && (is.want.Null || is.want.Value != is.present) {
			f.add(name, msgLocked)
		}
	}
}

// DeleteEndpoint removes an endpoint of the scope.
func (s *Service) DeleteEndpoint(ctx context.Context, scope Account, id EndpointID) error {
	if _, err := visible(ctx, s.store, scope, id); err != nil {
		return err
	}
	err := s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		e, err := visible(ctx, tx, scope, id)
		if err != nil {
			return err
		}
		return tx.DeleteEndpoint(ctx, e)
	})
	if err != nil {
		return fmt.Errorf("delete endpoint: %w", err)
	}
	return nil
}

// sweep is how many endpoints DeleteExpired deletes in one transaction.
const sweep = 200

// DeleteExpired deletes the endpoints whose time has come and returns how many
// they were. The caller runs it from time to time.
func (s *Service) DeleteExpired(ctx context.Context) (int, error) {
	deleted := 0
	for {
		// Most of the time there is nothing to do, and no writer to wait for.
		next, err := s.store.NextExpiry(ctx)
		if err != nil {
			return deleted, fmt.Errorf("delete expired endpoints: %w", err)
		}
		now := s.time()
		if next.IsZero() || next.After(now) {
			return deleted, nil
		}
		var expired []Endpoint
		err = s.store.Update(ctx, func(ctx context.Context, tx Tx) (err error) {
			if expired, err = tx.ExpiredEndpoints(ctx, now, sweep); err != nil {
				return err
			}
			return deleteAll(ctx, tx, expired)
		})
		if err != nil {
			return deleted, fmt.Errorf("delete expired endpoints: %w", err)
		}
		deleted += len(expired)
	}
}

func deleteAll(ctx context.Context, tx Tx, endpoints []Endpoint) error {
	for _, e := range endpoints {
		if err := tx.DeleteEndpoint(ctx, e); err != nil {
			return err
		}
	}
	return nil
}
