package main

import (
	"context"
	"strconv"

	"onhook/client"
)

// subAccountCommand manages sub-accounts through the API of a running server.
type subAccountCommand struct {
	List   subAccountList   `cmd:"" help:"List sub-accounts."`
	Get    subAccountGet    `cmd:"" help:"Show one sub-account."`
	Create subAccountCreate `cmd:"" help:"Create a sub-account and print its token."`
	Update subAccountUpdate `cmd:"" help:"Change, disable or enable a sub-account."`
	Delete subAccountDelete `cmd:"" help:"Delete a sub-account."`
}

type subAccountList struct {
	remote
	Enabled bool `help:"Enabled ones only."`
}

// Run is onhook sub-account list.
func (c *subAccountList) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		return list(m, c.JSON, api.SubAccounts(ctx, c.Enabled), 0, "AUTH_ID ENABLED CREATED LAST_USED NAME", func(a client.SubAccount) []string {
			return []string{a.AuthID, strconv.FormatBool(a.Enabled), when(&a.CreatedAt), when(a.LastUsed), a.Name}
		})
	})
}

// subAccountArg names one sub-account.
type subAccountArg struct {
	SubAccount string `arg:"" name:"auth-id" help:"Such as SA_7K2XQ9PD."`
}

type subAccountGet struct {
	remote
	subAccountArg
}

// Run is onhook sub-account get. A sub-account is the same in every form.
func (c *subAccountGet) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		a, err := api.SubAccount(ctx, c.SubAccount)
		if err != nil {
			return err
		}
		return m.writeJSON(a)
	})
}

// subAccountFields are what both create and update take.
type subAccountFields struct {
	Email       *string `help:"Whom to write to."`
	Phone       *string `help:"Whom to call."`
	Description *string `help:"What it is for."`
	RateLimit   *int    `placeholder:"N" help:"API requests per second; 0 is the server's default."`
}

func (f subAccountFields) patch() client.SubAccountPatch {
	return client.SubAccountPatch{Email: f.Email, Phone: f.Phone, Description: f.Description, RateLimit: f.RateLimit}
}

type subAccountCreate struct {
	remote
	Name string `arg:"" help:"A name for people."`
	subAccountFields
}

// Run is onhook sub-account create.
func (c *subAccountCreate) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		spec := c.patch()
		spec.Name = &c.Name
		a, err := api.CreateSubAccount(ctx, spec)
		if err != nil {
			return err
		}
		if c.JSON {
			return m.writeJSON(a)
		}
		return m.printToken(a.AuthID, a.AuthToken)
	})
}

type subAccountUpdate struct {
	remote
	subAccountArg
	Name *string `help:"A new name."`
	subAccountFields
	Enabled *bool `negatable:"" help:"A disabled one's key and phones are refused; nothing is deleted."`
}

// Run is onhook sub-account update.
func (c *subAccountUpdate) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		patch := c.patch()
		patch.Name, patch.Enabled = c.Name, c.Enabled
		if _, err := api.UpdateSubAccount(ctx, c.SubAccount, patch); err != nil {
			return err
		}
		return m.done(c.JSON, "changed", c.SubAccount)
	})
}

type subAccountDelete struct {
	remote
	subAccountArg
	Cascade bool `help:"Delete its endpoints, too."`
}

// Run is onhook sub-account delete.
func (c *subAccountDelete) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		if err := api.DeleteSubAccount(ctx, c.SubAccount, c.Cascade); err != nil {
			return err
		}
		return m.done(c.JSON, "deleted", c.SubAccount)
	})
}
