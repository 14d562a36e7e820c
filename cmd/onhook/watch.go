package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
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
			return c.follow(ctx, m, api, client.EventQuery{Types: registrationEvents})
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

// redraw is how often the screen changes at most.
const redraw = 250 * time.Millisecond

// screen shows the list anew after every change, and after the connection was
// lost. The server is asked for what holds, not the events added up: the
// picture is right however many were missed.
func (c *endpointWatch) screen(ctx context.Context, m *Main, api *client.Client) error {
	states := make(chan error, 1) // the latest of: something changed (nil), or why nothing is known
	state := func(err error) {
		select {
		case <-states:
		default:
		}
		states <- err // from one goroutine at a time
	}
	defer fmt.Fprintln(m.Stdout) // the prompt gets a line of its own
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		for _, err := range api.Events(ctx, client.EventQuery{Types: registrationEvents, Connected: func() { state(nil) }, Lost: state}) {
			if err != nil {
				cancel(err)
				return
			}
			state(nil)
		}
	}()
	for {
		var lost error
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case lost = <-states:
		}
		if lost == nil {
			lost = c.draw(ctx, m, api)
		}
		var refusal *client.Error
		if errors.As(lost, &refusal) && refusal.Status < 500 {
			return lost
		}
		if lost != nil {
			fmt.Fprintf(m.Stdout, "\r\x1b[K%v", unreachable(lost)) // in place of the last line
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
	fmt.Fprintf(&out, "\n%s   Ctrl-C ends", time.Now().Format(time.TimeOnly))
	_, err = m.Stdout.Write(out.Bytes())
	return err
}
