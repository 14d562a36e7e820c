package server

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"onhook/internal/callrecord"
	"onhook/internal/event"
)

// Calls become events of the account they concern, in order; those that end
// with the server, too.
func TestCallEvents(t *testing.T) {
	in := start(t, testConfig(t))
	stream := in.events.Subscribe("SA_AAAAAAAA", event.Filter{}, nil)
	parent := in.events.Subscribe("MA_BBBBBBBB", event.Filter{}, nil)
	now := time.Now()
	r := &callrecord.Record{ID: callrecord.NewID(now), Account: "SA_AAAAAAAA", Main: "MA_BBBBBBBB", From: "sip:a@example.com", Start: now}
	other := *r
	other.Account, other.Main = "MA_CCCCCCCC", "MA_CCCCCCCC"
	ended := *r
	ended.End, ended.Status = now.Add(time.Second), callrecord.Failed
	in.calls.Publish(callrecord.Event{Type: callrecord.Started, Record: r, At: now})
	in.calls.Publish(callrecord.Event{Type: callrecord.Started, Record: &other, At: now})
	in.calls.Publish(callrecord.Event{Type: callrecord.Ended, Record: &ended, At: now})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for _, s := range []interface {
		Next(context.Context) (event.Event, error)
	}{stream, parent} {
		for _, want := range []event.Type{event.CallStarted, event.CallEnded} {
			e, err := s.Next(ctx)
			if err != nil || e.Type != want || e.Account != r.Account {
				t.Fatalf("%+v %v, want %s", e, err, want)
			}
			var body struct {
				Data struct{ UUID, From string }
			}
			if err := json.Unmarshal(e.Body, &body); err != nil || body.Data.UUID != r.ID.String() || body.Data.From != r.From {
				t.Errorf("%s %v", e.Body, err)
			}
		}
	}
	last, _ := in.events.Last()
	in.calls.Publish(callrecord.Event{Type: callrecord.Ended, Record: &ended, At: now})
	if err := in.stop(); err != nil {
		t.Fatal(err)
	}
	if after, _ := in.events.Last(); after.Compare(last) <= 0 {
		t.Error("a call that ended with the server is no event")
	}
}
