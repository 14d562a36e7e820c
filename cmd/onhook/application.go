package main

import (
	"context"
	"strconv"

	"onhook/client"
)

// applicationCommand manages applications through the API of a running server.
type applicationCommand struct {
	List   applicationList   `cmd:"" help:"List applications."`
	Get    applicationGet    `cmd:"" help:"Show one application."`
	Create applicationCreate `cmd:"" help:"Create an application."`
	Update applicationUpdate `cmd:"" help:"Change an application."`
	Delete applicationDelete `cmd:"" help:"Delete an application."`
}

type applicationList struct {
	remote
	Contains string `placeholder:"TEXT" help:"Names that contain this."`
}

// Run is onhook application list.
func (c *applicationList) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		return list(m, c.JSON, api.Applications(ctx, client.ApplicationQuery{NameContains: c.Contains}), 0,
			"APP_ID NAME ENABLED DEFAULT METHOD ANSWER_URL", func(a client.Application) []string {
				return []string{a.ID, a.Name, strconv.FormatBool(a.Enabled), strconv.FormatBool(a.DefaultEndpoint), a.AnswerMethod, a.AnswerURL}
			})
	})
}

type applicationGet struct {
	remote
	Application string `arg:"" name:"app-id" help:"An app_id."`
}

// Run is onhook application get. An application is the same in every form.
func (c *applicationGet) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		a, err := api.Application(ctx, c.Application)
		if err != nil {
			return err
		}
		return m.writeJSON(a)
	})
}

// applicationFields are what both create and update take.
type applicationFields struct {
	AnswerMethod    *string `enum:"GET,POST" help:"How answer_url is asked."`
	FallbackURL     *string `placeholder:"URL" help:"Asked when answer_url fails."`
	HangupURL       *string `placeholder:"URL" help:"Told about the end of a call."`
	HangupMethod    *string `enum:"GET,POST" help:"How hangup_url is told."`
	Enabled         *bool   `negatable:"" help:"Whether it takes calls."`
	PublicURI       *bool   `negatable:"" help:"Whether callers from outside may reach it."`
	DefaultEndpoint *bool   `negatable:"" help:"Whether endpoints created without an application get it."`
}

func (f applicationFields) patch() client.ApplicationPatch {
	return client.ApplicationPatch{AnswerMethod: f.AnswerMethod, FallbackURL: f.FallbackURL, HangupURL: f.HangupURL,
		HangupMethod: f.HangupMethod, Enabled: f.Enabled, PublicURI: f.PublicURI, DefaultEndpoint: f.DefaultEndpoint}
}

type applicationCreate struct {
	remote
	Name      string `arg:"" help:"Letters, digits, - _ ( ) and spaces; unique in the account."`
	AnswerURL string `arg:"" help:"What is asked when a call comes."`
	applicationFields
}

// Run is onhook application create.
func (c *applicationCreate) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		spec := c.patch()
		spec.Name, spec.AnswerURL = &c.Name, &c.AnswerURL
		id, err := api.CreateApplication(ctx, spec)
		if err != nil {
			return err
		}
		return m.done(c.JSON, "created", id)
	})
}

type applicationUpdate struct {
	remote
	Application string  `arg:"" name:"app-id" help:"An app_id."`
	Name        *string `help:"A new name."`
	AnswerURL   *string `placeholder:"URL" help:"What is asked when a call comes."`
	applicationFields
}

// Run is onhook application update.
func (c *applicationUpdate) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		patch := c.patch()
		patch.Name, patch.AnswerURL = c.Name, c.AnswerURL
		if err := api.UpdateApplication(ctx, c.Application, patch); err != nil {
			return err
		}
		return m.done(c.JSON, "changed", c.Application)
	})
}

type applicationDelete struct {
	remote
	Application string `arg:"" name:"app-id" help:"An app_id."`
	Cascade     bool   `help:"Delete its endpoints, too." xor:"endpoints"`
	Repoint     string `placeholder:"APP_ID" help:"The application that its endpoints get instead; without one they have none." xor:"endpoints"`
}

// Run is onhook application delete.
func (c *applicationDelete) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		if err := api.DeleteApplication(ctx, c.Application, client.Detach{Cascade: c.Cascade, Repoint: c.Repoint}); err != nil {
			return err
		}
		return m.done(c.JSON, "deleted", c.Application)
	})
}
