package account

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// SubAccountSpec asks for a sub-account or for a change of one. Absent fields
// get their defaults or stay.
type SubAccountSpec struct {
	Name        Optional[string]
	Email       Optional[string] // null is none, as are the next three
	Phone       Optional[string]
	Description Optional[string]
	Permissions Optional[string] // JSON
	RateLimit   Optional[int]    // null or 0: the server's default
	Enabled     Optional[bool]

	Malformed map[string]string // as in EndpointSpec
}

// SubAccountQuery selects one page of sub-accounts, newest first.
type SubAccountQuery struct {
	Limit      int // 1 to MaxLimit
	Offset     int
	ActiveOnly bool
}

// DefaultRateLimit is how many requests a second an account may make that has
// no limit of its own.
const DefaultRateLimit = 10000

const (
	maxText        = 1000    // characters of a description
	maxPermissions = 4096    // bytes
	maxRateLimit   = 1000000 // requests per second
)

const (
	msgText        = "Must be at most %d characters, without control characters"
	msgEmail       = "Must be an email address"
	msgPermissions = "Must be at most 4096 bytes"
	msgRateLimit   = "Must be a number from 0 to 1000000"
)

// CreateSubAccount makes a sub-account of a main account and returns its auth
// token, which is not shown again.
func (s *Service) CreateSubAccount(ctx context.Context, parent Account, spec SubAccountSpec) (Account, string, error) {
	if parent.Parent != "" {
		return Account{}, "", ErrMainOnly
	}
	if !spec.Name.Set && spec.Malformed["name"] == "" {
		spec.Name = Some("")
	}
	a, err := spec.apply(Account{Parent: parent.AuthID, Enabled: true})
	if err != nil {
		return Account{}, "", err
	}
	return s.insertAccount(ctx, "SA_", a)
}

// apply returns the account as the spec wants it, or *Invalid.
func (p SubAccountSpec) apply(a Account) (Account, error) {
	f := newFaults(p.Malformed)
	a.Name = value(f, "name", p.Name, a.Name)
	if p.Name.Set && !p.Name.Null {
		f.add("name", checkName(a.Name))
	}
	for _, t := range []struct {
		name string
		from Optional[string]
		to   *string
		max  int
	}{
		{"email", p.Email, &a.Email, 254}, {"phone", p.Phone, &a.Phone, 32}, {"description", p.Description, &a.Description, maxText},
	} {
		if t.from.Set {
			*t.to = t.from.Value
			if *t.to != "" && (utf8.RuneCountInString(*t.to) > t.max || checkText(*t.to) != "") {
				f.add(t.name, fmt.Sprintf(msgText, t.max))
			}
		}
	}
	if at := strings.LastIndexByte(a.Email, '@'); p.Email.Set && a.Email != "" && (at < 1 || at == len(a.Email)-1) {
		f.add("email", msgEmail)
	}
	if p.Permissions.Set {
		if a.Permissions = p.Permissions.Value; len(a.Permissions) > maxPermissions {
			f.add("permissions", msgPermissions)
		}
	}
	if p.RateLimit.Set {
		if a.RateLimit = p.RateLimit.Value; a.RateLimit < 0 || a.RateLimit > maxRateLimit {
			f.add("rate_limit", msgRateLimit)
		}
	}
	a.Enabled = value(f, "enabled", p.Enabled, a.Enabled)
	return a, f.err()
}

// SubAccount returns a sub-account of the main account by its auth_id or its
// number. What is somebody else's is ErrNotFound.
func (s *Service) SubAccount(ctx context.Context, parent Account, id string) (Account, error) {
	if parent.Parent != "" {
		return Account{}, ErrMainOnly
	}
	a, err := subAccount(ctx, s.store, parent, id)
	return s.uses.with(a)[0], err
}

func subAccount(ctx context.Context, r Reader, parent Account, id string) (a Account, err error) {
	if n, numeric := strconv.ParseInt(id, 10, 64); numeric == nil && n > 0 {
		a, err = r.AccountByID(ctx, n)
	} else {
		a, err = r.Account(ctx, id)
	}
	if err != nil {
		return Account{}, err
	}
	if a.Parent != parent.AuthID {
		return Account{}, ErrNotFound
	}
	return a, nil
}

// SubAccounts returns one page of the main account's sub-accounts and the
// number of all that match.
func (s *Service) SubAccounts(ctx context.Context, parent Account, q SubAccountQuery) ([]Account, int, error) {
	if parent.Parent != "" {
		return nil, 0, ErrMainOnly
	}
	page, total, err := s.store.SubAccounts(ctx, parent.AuthID, q)
	if err != nil {
		return nil, 0, fmt.Errorf("list sub-accounts: %w", err)
	}
	return s.uses.with(page...), total, nil
}

// UpdateSubAccount changes a sub-account of the main account: all of the spec
// or nothing.
func (s *Service) UpdateSubAccount(ctx context.Context, parent Account, id string, spec SubAccountSpec) (after Account, err error) {
	// A spec that cannot succeed is refused without waiting for the writer.
	before, err := s.SubAccount(ctx, parent, id)
	if err != nil {
		return Account{}, err
	}
	if after, err = spec.apply(before); err != nil || after == before {
		return after, err
	}
	err = s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		before, err := subAccount(ctx, tx, parent, id)
		if err != nil {
			return err
		}
		if after, err = spec.apply(before); err != nil || after == before {
			return err
		}
		after.UpdatedAt = s.time()
		return tx.UpdateAccount(ctx, before, after)
	})
	if err != nil {
		return Account{}, fmt.Errorf("update sub-account: %w", err)
	}
	return s.uses.with(after)[0], nil
}

// DeleteSubAccount deletes a sub-account with its applications. While it owns
// endpoints that is ErrNotEmpty unless cascade deletes them too.
func (s *Service) DeleteSubAccount(ctx context.Context, parent Account, id string, cascade bool) error {
	if _, err := s.SubAccount(ctx, parent, id); err != nil {
		return err
	}
	err := s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		a, err := subAccount(ctx, tx, parent, id)
		if err != nil {
			return err
		}
		if err := emptied(ctx, tx, a, cascade); err != nil {
			return err
		}
		apps, err := tx.ApplicationsOf(ctx, a.AuthID)
		for i := 0; err == nil && i < len(apps); i++ {
			err = tx.DeleteApplication(ctx, apps[i].ID)
		}
		if err != nil {
			return err
		}
		return tx.DeleteAccount(ctx, a)
	})
	if err != nil && !errors.Is(err, ErrNotEmpty) {
		return fmt.Errorf("delete sub-account: %w", err)
	}
	return err
}

// emptied deletes the account's endpoints, or refuses when there are any.
func emptied(ctx context.Context, tx Tx, a Account, cascade bool) error {
	for {
		endpoints, err := tx.EndpointsOf(ctx, a.AuthID, sweep)
		if err != nil || len(endpoints) == 0 {
			return err
		}
		if !cascade {
			return ErrNotEmpty
		}
		if err := deleteAll(ctx, tx, endpoints); err != nil {
			return err
		}
	}
}
