package main

import (
	"context"
	"strconv"

	"onhook/client"
)

// numberCommand manages the numbers that calls from trunks are for.
type numberCommand struct {
	List   numberList   `cmd:"" help:"List numbers and whom they ring."`
	Create numberCreate `cmd:"" help:"Have a number ring an endpoint or an application."`
	Update numberUpdate `cmd:"" help:"Have a number ring somebody else."`
	Delete numberDelete `cmd:"" help:"Delete a number."`
}

type numberList struct{ admin }

// Run is onhook number list.
func (c *numberList) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		return list(m, c.JSON, api.Numbers(ctx), 0, "NUMBER ENDPOINT APPLICATION READ_ONLY", func(n client.Number) []string {
			return []string{n.Number, orDash(n.Endpoint), orDash(n.Application), strconv.FormatBool(n.ReadOnly)}
		})
	})
}

// numberFields name whom a number rings.
type numberFields struct {
	Number      string `arg:"" help:"In E.164, such as +4930123456."`
	Endpoint    string `required:"" xor:"whom" help:"A username, or username@domain."`
	Application string `required:"" xor:"whom" placeholder:"APP_ID" help:"An app_id instead."`
}

type numberCreate struct {
	admin
	numberFields
}

// Run is onhook number create.
func (c *numberCreate) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		n, err := api.CreateNumber(ctx, client.NumberSpec{Number: c.Number, Endpoint: c.Endpoint, Application: c.Application})
		switch {
		case err != nil:
			return err
		case c.JSON:
			return m.writeJSON(n)
		}
		return m.done(false, "created", n.Number)
	})
}

type numberUpdate struct {
	admin
	numberFields
}

// Run is onhook number update.
func (c *numberUpdate) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		if err := api.UpdateNumber(ctx, c.Number, client.NumberSpec{Endpoint: c.Endpoint, Application: c.Application}); err != nil {
			return err
		}
		return m.done(c.JSON, "changed", c.Number)
	})
}

type numberDelete struct {
	admin
	Number string `arg:"" help:"In E.164."`
}

// Run is onhook number delete.
func (c *numberDelete) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		if err := api.DeleteNumber(ctx, c.Number); err != nil {
			return err
		}
		return m.done(c.JSON, "deleted", c.Number)
	})
}
