package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"onhook/client"
)

type endpointWatch struct{ endpointList }

// registrationEvents are the events that change what watch shows.
var registrationEvents = []string{"endpoint.*"}

// Run is onhook endpoint watch. On a terminal it keeps the list up to date;
// elsewhere it prints a line for each change.
func (c *endpointWatch) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		if c.JSON || !isTerminal(m) {
			return c.lines(ctx, m, api)
		}
		return c.screen(ctx, m, api)
	})
}

func isTerminal(m *Main) bool {
	f, ok := m.Stdout.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (c *endpointWatch) lines(ctx context.Context, m *Main, api *client.Client) error {
	for e, err := range api.Events(ctx, client.EventQuery{Types: registrationEvents}) {
		if err != nil {
			return err
		}
		text, err := c.line(e)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(m.Stdout, "%s\n", text); err != nil {
			return err
		}
	}
	return nil
}

func (c *endpointWatch) line(e client.Event) ([]byte, error) {
	if c.JSON {
		return json.Marshal(e)
	}
	var of client.EndpointEvent
	if err := json.Unmarshal(e.Data, &of); err != nil {
		return nil, fmt.Errorf("event %s: %w", e.ID, err)
	}
	line := fmt.Appendf(nil, "%s  %-15s %-30s", e.CreatedAt.UTC().Format(time.RFC3339), strings.TrimPrefix(e.Type, "endpoint."), of.Username)
	if b := of.Binding; b != nil {
		line = fmt.Appendf(line, " %s %s %s", b.Transport, b.Received, orDash(b.UserAgent))
	}
	return fmt.Appendf(line, " %s", strings.Join(of.Changed, ",")), nil
}

// redraw is how often the screen changes at most.
const redraw = 250 * time.Millisecond

// screen shows the list anew after every change, and after the connection was
// lost. The server is asked for what holds, not the events added up: the
// picture is right however many were missed.
func (c *endpointWatch) screen(ctx context.Context, m *Main, api *client.Client) error {
	changed := make(chan struct{}, 1)
	mark := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		for _, err := range api.Events(ctx, client.EventQuery{Types: registrationEvents, Connected: mark}) {
			if err != nil {
				cancel(err)
				return
			}
			mark()
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		}
		if err := c.draw(ctx, m, api); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(redraw):
		}
	}
}

// screenful is how many endpoints one screen shows.
const screenful = 50

func (c *endpointWatch) draw(ctx context.Context, m *Main, api *client.Client) error {
	page, err := api.EndpointPage(ctx, c.query(), screenful, 0)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	out.WriteString("\x1b[H\x1b[2J") // home, and everything cleared
	rows := make([][]string, len(page.Objects))
	for i, e := range page.Objects {
		rows[i] = endpointRow(e)
	}
	if err := (&Main{Stdout: &out}).table(endpointHead, rows); err != nil {
		return err
	}
	if more := page.Meta.Total - len(page.Objects); more > 0 {
		fmt.Fprintf(&out, "and %d more\n", more)
	}
	fmt.Fprintf(&out, "\n%s   Ctrl-C ends\n", time.Now().Format(time.TimeOnly))
	_, err = m.Stdout.Write(out.Bytes())
	return err
}
