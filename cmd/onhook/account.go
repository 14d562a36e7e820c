package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"onhook/internal/account"
	"onhook/internal/config"
	"onhook/internal/server"
)

// accountCommand works on the database itself, so that it needs no token. A
// running server sees the changes at once: it keeps no copy of accounts.
type accountCommand struct {
	Create      accountCreate      `cmd:"" help:"Create a main account and print its token."`
	List        accountList        `cmd:"" help:"List accounts and sub-accounts."`
	RotateToken accountRotateToken `cmd:"" name:"rotate-token" help:"Give an account a new token; the old one stops at once."`
}

type database struct {
	Config string `required:"" placeholder:"FILE" help:"The server's configuration file."`
}

// open calls f with the accounts of the configured database.
func (d database) open(f func(context.Context, *account.Service) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cfg, err := config.Load(d.Config)
	if err != nil {
		return err
	}
	return server.WithAccounts(ctx, cfg, func(accounts *account.Service) error { return f(ctx, accounts) })
}

type accountCreate struct {
	database
	Name string `default:"main" help:"A name for people."`
}

// Run is onhook account create.
func (c *accountCreate) Run(m *Main) error {
	return c.open(func(ctx context.Context, accounts *account.Service) error {
		a, token, err := accounts.CreateAccount(ctx, c.Name)
		if err != nil {
			return err
		}
		return m.printToken(a.AuthID, token)
	})
}

type accountList struct{ database }

// Run is onhook account list.
func (c *accountList) Run(m *Main) error {
	return c.open(func(ctx context.Context, accounts *account.Service) error {
		all, err := accounts.Accounts(ctx)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(m.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "AUTH_ID\tPARENT\tENABLED\tCREATED\tNAME")
		for _, a := range all {
			parent := a.Parent
			if parent == "" {
				parent = "-"
			}
			fmt.Fprintf(w, "%s\t%s\t%t\t%s\t%s\n", a.AuthID, parent, a.Enabled, a.CreatedAt.UTC().Format(time.RFC3339), a.Name)
		}
		return w.Flush()
	})
}

type accountRotateToken struct {
	database
	AuthID string `arg:"" name:"auth-id" help:"Such as MA_7K2XQ9PD."`
}

// Run is onhook account rotate-token.
func (c *accountRotateToken) Run(m *Main) error {
	return c.open(func(ctx context.Context, accounts *account.Service) error {
		token, err := accounts.RotateToken(ctx, c.AuthID)
		if errors.Is(err, account.ErrNotFound) {
			return fmt.Errorf("there is no account %s; onhook account list shows them", c.AuthID)
		}
		if err != nil {
			return err
		}
		return m.printToken(c.AuthID, token)
	})
}

// printToken shows a token the only time it is shown.
func (m *Main) printToken(authID, token string) error {
	_, err := fmt.Fprintf(m.Stdout, "auth_id     %s\nauth_token  %s\nThis token is shown once: keep it.\n", authID, token)
	return err
}
