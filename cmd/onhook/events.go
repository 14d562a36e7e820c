package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
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
		return c.follow(ctx, m, api, client.EventQuery{Types: c.Types, After: c.After})
	})
}

// follow prints events as they come, a line each, and says when they do not.
func (r *remote) follow(ctx context.Context, m *Main, api *client.Client, q client.EventQuery) error {
	lost := false
	q.Connected = func() {
		if lost {
			fmt.Fprintln(m.Stderr, "onhook: the events go on")
		}
		lost = false
	}
	q.Lost = func(err error) {
		if !lost {
			fmt.Fprintf(m.Stderr, "onhook: the events are cut, trying again: %v\n", unreachable(err))
		}
		lost = true
	}
	for e, err := range api.Events(ctx, q) {
		if err != nil {
			return err
		}
		line, err := eventLine(e, r.JSON)
		if err == nil {
			_, err = fmt.Fprintln(m.Stdout, line)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// eventLine is an event in one line: all of it as JSON, or what it is about.
func eventLine(e client.Event, asJSON bool) (string, error) {
	if asJSON {
		text, err := json.Marshal(e)
		return string(text), err
	}
	about := ""
	var err error
	switch kind, _, _ := strings.Cut(e.Type, "."); kind {
	case "endpoint":
		var of client.EndpointEvent
		err = json.Unmarshal(e.Data, &of)
		about = strings.TrimSpace(of.Username + "  " + strings.Join(of.Changed, ","))
		if b := of.Binding; b != nil {
			about = fmt.Sprintf("%s  %s %s %s", of.Username, b.Transport, b.Received, orDash(b.UserAgent))
		}
	case "call":
		var of client.Call
		err = json.Unmarshal(e.Data, &of)
		about = fmt.Sprintf("%s -> %s  %s", of.From, of.To, of.Status)
		if of.EndTime != nil {
			about += "  " + whyEnded(of)
		}
	}
	if err != nil {
		return "", fmt.Errorf("event %s: %w", e.ID, err)
	}
	return strings.TrimSpace(fmt.Sprintf("%s  %s  %-29s %s", e.CreatedAt.UTC().Format(time.RFC3339), e.ID, e.Type, about)), nil
}
