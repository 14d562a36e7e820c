package client

import (
	"context"
	"encoding/json"
	"iter"
	"net/url"
	"strconv"
	"time"
)

// SubAccount is an account below a main account, with endpoints and a key of
// its own. A main account's key alone may manage them.
type SubAccount struct {
	AuthID        string          `json:"auth_id"`    // SA_…
	AuthToken     string          `json:"auth_token"` // in clear at creation, redacted afterwards
	ID            int64           `json:"id"`
	Name          string          `json:"name"`
	Email         string          `json:"email"`
	Phone         string          `json:"phone"`
	Description   string          `json:"description"`
	Permissions   json.RawMessage `json:"permissions"` // as given
	RateLimit     int             `json:"rate_limit"`  // API requests per second
	Enabled       bool            `json:"enabled"`
	IsActive      bool            `json:"is_active"` // the same
	EmailVerified bool            `json:"email_verified"`
	ParentID      int64           `json:"parent_account_id"`
	ParentAuthID  string          `json:"parent_auth_id"`
	Account       string          `json:"account"` // resource path of the parent
	ResourceURI   string          `json:"resource_uri"`
	Created       string          `json:"created"`  // dates
	Modified      string          `json:"modified"` //
	CreatedAt     time.Time       `json:"created_at"`
	UpdatedAt     time.Time       `json:"updated_at"`
	LastUsed      *time.Time      `json:"last_used"`
}

// SubAccountPatch is a new sub-account, of which Name is needed, or a change of
// one; nil leaves a field at its default or as it is.
type SubAccountPatch struct {
	Name        *string         `json:"name,omitempty"`
	Email       *string         `json:"email,omitempty"`
	Phone       *string         `json:"phone,omitempty"`
	Description *string         `json:"description,omitempty"`
	Permissions json.RawMessage `json:"permissions,omitempty"`
	RateLimit   *int            `json:"rate_limit,omitempty"` // 0: the server's default
	Enabled     *bool           `json:"enabled,omitempty"`    // false: its key gets 401, its phones 403
}

// subPath is where sub-accounts live, all of them or one; they are the key's own
// account's.
func (c *Client) subPath(authID string) string {
	return joined("/v1/accounts/", []string{c.AuthID, "sub-accounts", authID})
}

// SubAccounts walks through the account's sub-accounts, newest first. It ends
// after an error.
func (c *Client) SubAccounts(ctx context.Context, activeOnly bool) iter.Seq2[SubAccount, error] {
	return func(yield func(SubAccount, error) bool) {
		query := url.Values{"size": {strconv.Itoa(pageSize)}}
		if activeOnly {
			query.Set("active_only", "true")
		}
		seen := 0
		for n := 1; ; n++ {
			query.Set("page", strconv.Itoa(n))
			var out struct {
				Objects []SubAccount `json:"sub_accounts"`
				Total   int          `json:"total"`
			}
			if err := c.do(ctx, "GET", c.subPath(""), query, nil, &out); err != nil {
				yield(SubAccount{}, err)
				return
			}
			for _, a := range out.Objects {
				if !yield(a, nil) {
					return
				}
			}
			if seen += len(out.Objects); seen >= out.Total || len(out.Objects) == 0 {
				return
			}
		}
	}
}

// SubAccount returns one sub-account, by auth_id.
func (c *Client) SubAccount(ctx context.Context, authID string) (a SubAccount, err error) {
	err = c.do(ctx, "GET", c.subPath(authID), nil, nil, &a)
	return a, err
}

// CreateSubAccount makes a sub-account. The answer holds its token in clear,
// which is not shown again.
func (c *Client) CreateSubAccount(ctx context.Context, spec SubAccountPatch) (a SubAccount, err error) {
	out := struct {
		SubAccount *SubAccount `json:"sub_account"`
	}{&a}
	err = c.do(ctx, "POST", c.subPath(""), nil, spec, &out)
	return a, err
}

// UpdateSubAccount changes the fields that are set and returns the result.
func (c *Client) UpdateSubAccount(ctx context.Context, authID string, patch SubAccountPatch) (a SubAccount, err error) {
	err = c.do(ctx, "PUT", c.subPath(authID), nil, patch, &a)
	return a, err
}

// DeleteSubAccount deletes a sub-account. One that owns endpoints is refused
// (IsConflict), unless they shall be deleted with it.
func (c *Client) DeleteSubAccount(ctx context.Context, authID string, cascade bool) error {
	query := url.Values{}
	if cascade {
		query.Set("cascade", "true")
	}
	return c.do(ctx, "DELETE", c.subPath(authID), query, nil, nil)
}
