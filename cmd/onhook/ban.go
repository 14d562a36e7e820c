package main

import (
	"context"
	"errors"

	"onhook/client"
)

// banCommand shows and lifts bans.
type banCommand struct {
	List banList `cmd:"" help:"List the users who are refused at an address."`
	Lift banLift `cmd:"" help:"Lift bans."`
}

type banList struct{ admin }

// Run is onhook ban list.
func (c *banList) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		bans, mode, err := api.Bans(ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			return m.writeJSON(bans)
		}
		rows := make([][]string, len(bans))
		for i := range bans {
			b := &bans[i]
			rows[i] = []string{b.ID, b.Username, b.Domain, b.Source, b.Reason, when(&b.EndsAt)}
		}
		if mode != "on" {
			rows = append(rows, []string{"(auth.bans is " + mode + ": nobody is refused)"})
		}
		return m.table("BAN_ID USERNAME DOMAIN SOURCE REASON ENDS", rows)
	})
}

type banLift struct {
	BanIDs []string `arg:"" optional:"" name:"ban-ids" help:"As onhook ban list shows them."`
	All    bool     `help:"All of them."`
	admin
}

// Run is onhook ban lift.
func (c *banLift) Run(m *Main) error {
	if c.All == (len(c.BanIDs) > 0) {
		return errors.New("name the bans to lift, or --all")
	}
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		if c.All {
			return api.LiftBans(ctx)
		}
		for _, id := range c.BanIDs {
			if err := api.LiftBan(ctx, id); err != nil {
				return err
			}
		}
		return nil
	})
}
