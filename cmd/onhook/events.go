package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"onhook/client"
)

type eventsCommand struct {
	remote
	Types []string `placeholder:"TYPE" help:"Only these, such as endpoint.registered or call.*."`
	After string   `placeholder:"ID" help:"Begin after this event instead of now."`
}

// Run is onhook events. It goes on until it is interrupted.
func (c *eventsCommand) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		for e, err := range api.Events(ctx, client.EventQuery{Types: c.Types, After: c.After}) {
			if err == nil {
				err = c.print(m, e)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// print writes an event as a line.
func (c *eventsCommand) print(m *Main, e client.Event) error {
	if c.JSON {
		text, err := json.Marshal(e)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(m.Stdout, "%s\n", text)
		return err
	}
	_, err := fmt.Fprintf(m.Stdout, "%s  %s  %-29s %s\n", e.CreatedAt.UTC().Format(time.RFC3339), e.ID, e.Type, e.Data)
	return err
}
