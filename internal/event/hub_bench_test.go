package event

import (
	"context"
	"fmt"
	"testing"
	"time"

	"onhook/internal/account"
	"onhook/internal/callrecord"
	"onhook/internal/location"
	"onhook/internal/location/journaltest"
	"onhook/internal/sip"
)

// nothing is a Log that keeps nothing.
type nothing struct{ bytes int }

func (n *nothing) Last() (ID, int64) { return ID{}, 0 }
func (n *nothing) Sync() error       { return nil }
func (n *nothing) Append(events []Event) error {
	for i := range events {
		n.bytes += len(events[i].Body)
	}
	return nil
}

// registrations returns a Hub and a batch of bindings' events to feed it.
func registrations() (*Hub, *nothing, []location.Event) {
	log := &nothing{}
	e := account.Endpoint{ID: 1, Owner: "SA_1", Main: "MA_1", Username: "user1", Domain: "sip.example.com"}
	h := NewHub(Config{Log: log, Bindings: location.New(location.Config{Journal: journaltest.NewMemory()}).Subscribe(2), Calls: new(callrecord.Feeds).Subscribe(2),
		Endpoint: func(account.EndpointID) (account.Endpoint, bool) { return e, true },
		Data: func(_ context.Context, dst []byte, e *account.Endpoint, b *location.Binding, _ []string) []byte {
			dst = AppendString(append(dst, `{"username":`...), e.Username)
			dst = AppendString(append(dst, `,"contact":`...), b.Contact)
			return append(AppendTime(append(dst, `,"expires":`...), b.Expires), '}')
		}})
	events := make([]location.Event, 100)
	for i := range events {
		events[i] = location.Event{Type: location.Registered, Key: 1, At: time.Now(), Binding: location.Binding{ID: fmt.Sprint(i),
			Contact: "sip:user1@192.0.2.1:5060", UserAgent: "phone", Flow: sip.Flow{Transport: sip.UDP}}}
	}
	return h, log, events
}

// BenchmarkRegistered is what one binding's event costs the Hub.
func BenchmarkRegistered(b *testing.B) {
	h, log, events := registrations()
	ctx := context.Background()
	b.ReportAllocs()
	for n := 0; n < b.N; n += len(events) {
		h.merge(ctx, nil, events)
		h.flush(ctx)
	}
	b.ReportMetric(float64(log.bytes)/float64(max(h.made.Load(), 1)), "bytes/event")
}

// A batch of bindings' events is written without an allocation for each.
func TestRegisteredAllocs(t *testing.T) {
	h, _, events := registrations()
	ctx := context.Background()
	run := func() {
		h.merge(ctx, nil, events)
		h.flush(ctx)
	}
	run() // the buffers grow
	if n := testing.AllocsPerRun(20, run); n > float64(len(events))/10 {
		t.Errorf("%v allocations for %d events", n, len(events))
	}
}
