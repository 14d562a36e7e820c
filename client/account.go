package client

import (
	"context"
	"time"
)

// Me is the account whose key it is.
type Me struct {
	Type                 string    `json:"type"` // account
	ID                   int64     `json:"id"`
	AuthID               string    `json:"auth_id"`
	AuthSecret           string    `json:"auth_secret"` // redacted
	ParentAuthID         *string   `json:"parent_auth_id"`
	Name                 string    `json:"name"`
	Email                string    `json:"email"`
	Phone                string    `json:"phone"`
	Description          string    `json:"description"`
	Enabled              bool      `json:"enabled"`
	IsActive             bool      `json:"is_active"` // the same
	Timezone             string    `json:"timezone"`
	RateLimit            int       `json:"rate_limit"`             // API requests per second
	CPSLimit             int       `json:"cps_limit"`              // calls per second; 0: not limited
	ConcurrentCallsLimit int       `json:"concurrent_calls_limit"` // 0: not limited
	CreatedAt            time.Time `json:"created_at"`
	UpdatedAt            time.Time `json:"updated_at"`
}

// Me returns the account whose key it is.
func (c *Client) Me(ctx context.Context) (m Me, err error) {
	err = c.do(ctx, "GET", "/v1/auth/me", nil, nil, &m)
	return m, err
}

// Account is an account in short.
type Account struct {
	AuthID      string    `json:"auth_id"`
	Name        string    `json:"name"`
	Enabled     bool      `json:"enabled"`
	ResourceURI string    `json:"resource_uri"`
	CreatedAt   time.Time `json:"created_at"`
}

// Describe returns the account that is meant.
func (c *Client) Describe(ctx context.Context) (a Account, err error) {
	err = c.do(ctx, "GET", c.path(), nil, nil, &a)
	return a, err
}

// RotateToken gives the account that is meant a new auth token and returns it.
// The old one stops at once; the client keeps it.
func (c *Client) RotateToken(ctx context.Context) (token string, err error) {
	var out struct {
		Token string `json:"auth_token"`
	}
	err = c.do(ctx, "POST", c.path("Token"), nil, nil, &out)
	return out.Token, err
}
