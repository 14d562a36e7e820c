package account

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Service applies the rules over a Store. It is safe for concurrent use.
type Service struct {
	store   Store
	keys    *Keys
	domains []string // lower case, the first is the default
	now     func() time.Time
	uses    uses
}

// NewService makes a Service for the server's SIP domains, of which the first
// is the default; there must be one. keys are those the store was opened with.
// A nil now means time.Now.
func NewService(store Store, domains []string, keys *Keys, now func() time.Time) *Service {
	if now == nil {
		now = time.Now
	}
	s := &Service{store: store, keys: keys, now: now}
	for _, d := range domains {
		s.domains = append(s.domains, strings.ToLower(d))
	}
	return s
}

// Subscribe registers f for every committed change of an endpoint: in commit
// order, after the commit and before the call that made it returns. f must be
// quick and must not change anything through the Service.
func (s *Service) Subscribe(f func(Change)) { s.store.Subscribe(f) }

// Authenticate returns the enabled account that authID and token name, else
// ErrUnauthorized. It takes the same time whether the account exists or not.
func (s *Service) Authenticate(ctx context.Context, authID, token string) (Account, error) {
	given := s.keys.HashToken(token)
	login, err := s.store.Login(ctx, authID)
	known := 1
	if errors.Is(err, ErrNotFound) {
		// Compare with something all the same, which cannot match.
		login.TokenHash = s.keys.dummyHash
		known = 0
	} else if err != nil {
		return Account{}, fmt.Errorf("authenticate: %w", err)
	}
	if subtle.ConstantTimeCompare(given[:], login.TokenHash[:])&known != 1 {
		return Account{}, ErrUnauthorized
	}
	a := login.Account
	if !a.Enabled {
		return Account{}, ErrUnauthorized
	}
	if a.Parent != "" {
		parent, err := s.store.Account(ctx, a.Parent)
		if err != nil {
			return Account{}, fmt.Errorf("authenticate: %w", err)
		}
		if !parent.Enabled {
			return Account{}, ErrUnauthorized
		}
	}
	s.uses.note(a, s.time())
	return a, nil
}

// Scope returns the account a request path names as far as the caller may act
// on it: itself or, for a main account, one of its sub-accounts. Everything
// else is ErrNotFound, so that existence is not revealed.
func (s *Service) Scope(ctx context.Context, caller Account, authID string) (Account, error) {
	if authID == caller.AuthID {
		return caller, nil
	}
	if caller.Parent != "" {
		return Account{}, ErrNotFound
	}
	a, err := s.store.Account(ctx, authID)
	if err != nil {
		return Account{}, err
	}
	if a.Parent != caller.AuthID {
		return Account{}, ErrNotFound
	}
	return a, nil
}

// SubscribeAccounts does for accounts what Subscribe does for endpoints.
func (s *Service) SubscribeAccounts(f func(AccountChange)) { s.store.SubscribeAccounts(f) }

// SubscribeApplications does so for new applications and deleted ones.
func (s *Service) SubscribeApplications(f func(ApplicationChange)) { s.store.SubscribeApplications(f) }

// CreateAccount makes a main account and returns its auth token, which is not
// shown again.
func (s *Service) CreateAccount(ctx context.Context, name string) (Account, string, error) {
	if msg := checkName(name); msg != "" {
		return Account{}, "", &Invalid{Fields: map[string]string{"name": msg}}
	}
	return s.insertAccount(ctx, "MA_", Account{Name: name, Enabled: true})
}

// insertAccount puts the account into the store under a new auth_id.
func (s *Service) insertAccount(ctx context.Context, prefix string, a Account) (Account, string, error) {
	a.CreatedAt = s.time()
	a.UpdatedAt = a.CreatedAt
	token := newToken()
	err := s.drawing(func() error {
		a.ID, a.AuthID = newAccountID(), newAuthID(prefix)
		return s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
			return tx.InsertAccount(ctx, a, token)
		})
	})
	if err != nil {
		return Account{}, "", fmt.Errorf("create account: %w", err)
	}
	return a, token, nil
}

// Accounts lists every account and sub-account, oldest first.
func (s *Service) Accounts(ctx context.Context) ([]Account, error) {
	return s.store.Accounts(ctx)
}

// RotateToken gives the account a new auth token and returns it, which is not
// shown again. The old one stops at once.
func (s *Service) RotateToken(ctx context.Context, authID string) (string, error) {
	token := newToken()
	err := s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		return tx.SetToken(ctx, authID, token)
	})
	if err != nil {
		return "", fmt.Errorf("rotate token: %w", err)
	}
	return token, nil
}

// Applications returns those of the applications that exist, by app_id; for
// the endpoints of one page.
func (s *Service) Applications(ctx context.Context, ids []string) (map[string]Application, error) {
	return s.store.Applications(ctx, ids)
}

// ApplicationDomain is the host of applications' SIP URIs.
func (s *Service) ApplicationDomain() string { return "app." + s.domains[0] }

// drawing runs f, which draws an identifier, again when it is taken already.
func (s *Service) drawing(f func() error) error {
	for attempt := 0; ; attempt++ {
		err := f()
		if attempt == 4 || !errors.Is(err, ErrDuplicate) {
			return err
		}
	}
}

// time is the present as it is stored: UTC, whole seconds.
func (s *Service) time() time.Time { return s.now().UTC().Truncate(time.Second) }

func checkName(name string) string {
	if n := utf8.RuneCountInString(name); n < 1 || n > 100 || !utf8.ValidString(name) {
		return "Must be 1 to 100 characters"
	}
	return checkText(name)
}

func checkText(s string) string {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return "Control characters are not allowed"
	}
	return ""
}
