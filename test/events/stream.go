// Package events tests event streams and webhooks from outside: real phones
// register, the program is killed, and nothing is lost or told twice. It
// imports nothing of the program.
package events

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"onhook/test/devserver"
)

// Event is one event as it is sent.
type Event struct {
	ID        string `json:"id"`
	Type      string `json:"type"`
	CreatedAt string `json:"created_at"`
	Account   string `json:"account"`
	Data      struct {
		EndpointID string             `json:"endpoint_id"`
		Username   string             `json:"username"`
		Registered string             `json:"sip_registered"`
		Changed    []string           `json:"changed"`
		Binding    *devserver.Binding `json:"binding"`
	} `json:"data"`
}

// what names an event of an endpoint.
func (e Event) what() string { return strings.TrimPrefix(e.Type, "endpoint.") + " " + e.Data.Username }

// Stream reads one event stream.
type Stream struct {
	cancel context.CancelFunc
	lines  *bufio.Scanner
}

// eventLimit is how long a test waits for one event.
const eventLimit = 30 * time.Second

// Open opens a stream after the event with an id, "" for what comes.
func Open(t testing.TB, s *devserver.Server, after string) *Stream {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", s.APIURL+"/v1/Account/"+s.AuthID+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(s.AuthID, s.AuthToken)
	if after != "" {
		req.Header.Set("Last-Event-ID", after)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("event stream: %s %v", resp.Status, resp.Header)
	}
	return &Stream{cancel, bufio.NewScanner(resp.Body)}
}

// Close cuts the stream.
func (s *Stream) Close() { s.cancel() }

// Next waits for the next event.
func (s *Stream) Next(t testing.TB) Event {
	t.Helper()
	cut := time.AfterFunc(eventLimit, s.cancel)
	defer cut.Stop()
	var id, typ string
	for s.lines.Scan() {
		name, value, _ := strings.Cut(s.lines.Text(), ": ")
		switch name {
		case "id":
			id = value
		case "event":
			typ = value
		case "data":
			var e Event
			if err := json.Unmarshal([]byte(value), &e); err != nil || e.ID != id || e.Type != typ {
				t.Fatalf("event %s %s: %s %v", id, typ, value, err)
			}
			return e
		}
	}
	t.Fatalf("no event within %v: %v", eventLimit, s.lines.Err())
	return Event{}
}

// Expect reads events and compares what they are.
func (s *Stream) Expect(t testing.TB, want ...string) (last Event) {
	t.Helper()
	for _, w := range want {
		last = s.Next(t)
		if last.what() != w {
			t.Fatalf("event %q, want %q", last.what(), w)
		}
	}
	return last
}

// unique fails on an event that was seen before, or out of order.
type unique struct{ last string }

func (u *unique) see(e Event) error {
	if e.ID <= u.last {
		return fmt.Errorf("%s after %s", e.ID, u.last)
	}
	u.last = e.ID
	return nil
}
