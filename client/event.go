package client

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Event is one change: of an endpoint, a registration or a call.
type Event struct {
	ID        string          `json:"id"`   // ULID; later events have greater ones
	Type      string          `json:"type"` // endpoint.registered, call.ended, …
	CreatedAt time.Time       `json:"created_at"`
	Account   string          `json:"account"` // auth_id
	Data      json.RawMessage `json:"data"`
}

// Gap is the type of the event that stands for those that the server does not
// keep any more.
const Gap = "stream.gap"

// EndpointEvent is the data of endpoint events.
type EndpointEvent struct {
	ID         string   `json:"endpoint_id"`
	Username   string   `json:"username"`
	Alias      string   `json:"alias"`
	SIPURI     string   `json:"sip_uri"`
	Registered Flag     `json:"sip_registered"`
	SubAccount *string  `json:"sub_account"`
	Binding    *Binding `json:"binding"` // of changes of a registration
	Changed    []string `json:"changed"` // names of fields, of endpoint.updated
}

// EventQuery selects events.
type EventQuery struct {
	Types []string // such as endpoint.registered or endpoint.*; none: all
	After string   // id of the last event seen; "": only what happens from now on
	// Connected is called whenever the stream stands, the first time and after
	// each cut; nil for nobody. What changes after it comes as an event.
	Connected func()
	// Lost is called whenever the stream does not stand and is tried again; nil
	// for nobody. A stream that the server ended is lost for io.EOF.
	Lost func(error)
}

// Pauses between attempts to connect again.
const (
	firstPause = 200 * time.Millisecond
	lastPause  = 10 * time.Second
)

// Events follows the account's events, in order, until ctx ends; that is its
// only ordinary end, and no error. A stream that is cut is taken up where it
// stopped. What the server refuses for good is yielded as the last error.
func (c *Client) Events(ctx context.Context, q EventQuery) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		pause := firstPause
		for {
			got, err := c.follow(ctx, &q, yield)
			if ctx.Err() != nil || errors.Is(err, errDone) {
				return
			}
			var refusal *Error
			if errors.As(err, &refusal) && refusal.Status < 500 && refusal.Status != http.StatusTooManyRequests {
				yield(Event{}, err)
				return
			}
			if got {
				pause = firstPause
			}
			if refusal != nil {
				pause = max(pause, refusal.RetryAfter)
			}
			if q.Lost != nil {
				q.Lost(cmp.Or(err, io.EOF))
			}
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return
			}
			pause = min(2*pause, lastPause)
		}
	}
}

// errDone: the caller wants no more.
var errDone = errors.New("done")

// follow reads one connection's events; got says whether there were any.
func (c *Client) follow(ctx context.Context, q *EventQuery, yield func(Event, error) bool) (got bool, err error) {
	query := url.Values{}
	if len(q.Types) > 0 {
		query.Set("types", strings.Join(q.Types, ","))
	}
	req, err := c.request(ctx, "GET", c.bare("events"), query, nil)
	if err != nil {
		return false, err
	}
	req.Header.Set("Accept", "text/event-stream")
	if q.After != "" {
		req.Header.Set("Last-Event-ID", q.After)
	}
	resp, err := c.http().Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // the status alone says enough
		return false, refused(resp, text)
	}
	if q.Connected != nil {
		q.Connected()
	}
	for data, err := range messages(resp.Body) {
		if err != nil {
			return got, err
		}
		var e Event
		if err := json.Unmarshal(data, &e); err != nil {
			return got, fmt.Errorf("onhook: an event that cannot be read: %w", err)
		}
		got = true
		if e.ID != "" {
			q.After = e.ID
		}
		if !yield(e, nil) {
			return got, errDone
		}
	}
	return got, nil
}

// messages reads the data of server-sent events. Comments and fields other
// than data are passed over: the data repeats them.
func messages(r io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, 4<<20)
		var data []byte
		for lines.Scan() {
			line := lines.Text()
			if rest, ok := strings.CutPrefix(line, "data:"); ok {
				if data != nil {
					data = append(data, '\n')
				}
				data = append(data, strings.TrimPrefix(rest, " ")...)
			} else if line == "" && data != nil {
				if !yield(data, nil) {
					return
				}
				data = nil
			}
		}
		if err := lines.Err(); err != nil {
			yield(nil, err)
		}
	}
}
