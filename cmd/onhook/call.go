package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"onhook/client"
)

// callCommand shows and ends calls in progress.
type callCommand struct {
	List callList `cmd:"" help:"List calls in progress."`
	End  callEnd  `cmd:"" help:"End calls: both sides get a BYE."`
}

// recordCommand shows what became of calls.
type recordCommand struct {
	List recordList `cmd:"" help:"List finished calls, newest first, refused ones among them."`
	Get  recordGet  `cmd:"" help:"Show one finished call."`
}

const callHead = "UUID STARTED STATUS SECONDS FROM TO WHY"

func callRow(c client.Call) []string {
	return []string{c.ID, when(&c.StartTime), c.Status, strconv.Itoa(c.BillSec), c.From, c.To, whyEnded(c)}
}

// whyEnded is the code of a refusal, or the hangup cause.
func whyEnded(c client.Call) string {
	if c.Reason != nil {
		return *c.Reason
	}
	return orDash(c.HangupCause)
}

type callList struct{ remote }

// Run is onhook call list.
func (c *callList) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		return list(m, c.JSON, api.Calls(ctx), 0, callHead, callRow)
	})
}

type callEnd struct {
	remote
	Calls []string `arg:"" name:"uuid" help:"UUIDs of calls."`
}

// Run is onhook call end. It stops at the first that cannot be ended.
func (c *callEnd) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		for _, id := range c.Calls {
			if err := api.EndCall(ctx, id); err != nil {
				return fmt.Errorf("%s: %w", id, err)
			}
			if err := m.done(c.JSON, "ended", id); err != nil {
				return err
			}
		}
		return nil
	})
}

type recordList struct {
	remote
	From     string     `placeholder:"PARTY" help:"Calls from this URI, user or number."`
	To       string     `placeholder:"PARTY" help:"Calls to it."`
	Start    *time.Time `placeholder:"TIME" help:"Calls that began then or later, as 2030-01-31T12:00:00Z."`
	End      *time.Time `placeholder:"TIME" help:"Calls that began then or earlier."`
	Endpoint string     `placeholder:"ENDPOINT" help:"Calls of this endpoint_id or username."`
	Cause    string     `placeholder:"CAUSE" help:"Calls that ended so, such as USER_BUSY."`
	Limit    int        `default:"50" help:"How many at most; 0 for all."`
}

// Run is onhook cdr list.
func (c *recordList) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		q := client.RecordQuery{From: c.From, To: c.To, Cause: c.Cause}
		if c.Start != nil {
			q.Start = *c.Start
		}
		if c.End != nil {
			q.End = *c.End
		}
		if c.Endpoint != "" {
			id, err := findEndpoint(ctx, api, c.Endpoint)
			if err != nil {
				return err
			}
			q.Endpoint = id
		}
		return list(m, c.JSON, api.Records(ctx, q), c.Limit, callHead, callRow)
	})
}

type recordGet struct {
	remote
	Call string `arg:"" name:"uuid" help:"The call's UUID."`
}

// Run is onhook cdr get. A record is the same in every form.
func (c *recordGet) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		call, err := api.Record(ctx, c.Call)
		if err != nil {
			return err
		}
		return m.writeJSON(call)
	})
}

type endpointCanCall struct {
	remote
	endpointArg
	To    string   `arg:"" help:"A SIP URI, user@host, a phone number or a username."`
	Media []string `placeholder:"MEDIA" help:"audio, video, or message alone; audio when absent."`
}

// Run is onhook endpoint can-call. A refusal is an answer, and no failure.
func (c *endpointCanCall) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		id, err := c.find(ctx, api)
		if err != nil {
			return err
		}
		d, err := api.CanCall(ctx, id, c.To, c.Media...)
		if err != nil {
			return err
		}
		if c.JSON {
			return m.writeJSON(d)
		}
		return m.showDecision(d)
	})
}

func (m *Main) showDecision(d client.Decision) error {
	if !d.Allowed {
		status := ""
		if d.Status != nil {
			status = strconv.Itoa(*d.Status) + " "
		}
		_, err := fmt.Fprintf(m.Stdout, "no: %s%s\n%s\n", status, orDash(d.Reason), orDash(d.Sentence))
		return err
	}
	text := "yes, by " + strings.ReplaceAll(d.Via, "_", " ")
	if len(d.RefusedMedia) > 0 {
		text += ", without " + strings.Join(d.RefusedMedia, ", ")
	}
	if _, err := fmt.Fprintln(m.Stdout, text); err != nil || len(d.Targets) == 0 {
		return err
	}
	rows := make([][]string, len(d.Targets))
	for i, t := range d.Targets {
		rows[i] = []string{"  " + t.URI, orDash(t.Transport), orDash(t.Received), orDash(t.State)}
	}
	return m.table("  TARGET TRANSPORT RECEIVED STATE", rows)
}
