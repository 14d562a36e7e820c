package client

import (
	"context"
	"time"
)

// Ban is one user who is refused at one address, for wrong passwords.
type Ban struct {
	ID       string    `json:"ban_id"`
	Source   string    `json:"source"` // an IPv4 address or an IPv6 /64
	Domain   string    `json:"domain"`
	Username string    `json:"username"` // as claimed; there may be no such user
	Reason   string    `json:"reason"`
	BeganAt  time.Time `json:"began_at"`
	EndsAt   time.Time `json:"ends_at"`
	DryRun   bool      `json:"dry_run"` // counted only
}

// Bans returns the present bans and the mode: on, dry_run or off. It needs the
// AdminToken, as do LiftBan and LiftBans.
func (c *Client) Bans(ctx context.Context) (bans []Ban, mode string, err error) {
	var out struct {
		Mode    string `json:"mode"`
		Objects []Ban  `json:"objects"`
	}
	err = c.do(ctx, "GET", adminPath+"bans/", nil, nil, &out)
	return out.Objects, out.Mode, err
}

// LiftBan ends one ban.
func (c *Client) LiftBan(ctx context.Context, id string) error {
	return c.do(ctx, "DELETE", joined(adminPath+"bans/", []string{id}), nil, nil, nil)
}

// LiftBans ends all bans.
func (c *Client) LiftBans(ctx context.Context) error {
	return c.do(ctx, "DELETE", adminPath+"bans/", nil, nil, nil)
}
