package event

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"onhook/internal/account"
	"onhook/internal/callrecord"
	"onhook/internal/location"
	"onhook/internal/location/journaltest"
	"onhook/internal/sip"
)

// memory is a Log.
type memory struct {
	mu     sync.Mutex
	events []Event
	synced int
	full   bool
}

func (m *memory) Last() (id ID, seq int64) {
	for _, e := range m.events {
		id, seq = e.ID, max(seq, e.Seq)
	}
	return id, seq
}

func (m *memory) Append(events []Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.full {
		return errors.New("disk full")
	}
	for _, e := range events {
		e.Body = bytes.Clone(e.Body)
		m.events = append(m.events, e)
	}
	return nil
}

func (m *memory) Sync() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.synced = len(m.events)
	return nil
}

func (m *memory) names() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for _, e := range m.events {
		names = append(names, fmt.Sprint(strings.TrimPrefix(string(e.Type), "endpoint."), e.Key))
	}
	return strings.Join(names, " ")
}

// outbox is an Outbox.
type outbox struct {
	mu      sync.Mutex
	changes []account.Change
	broken  bool
}

func (o *outbox) PendingChanges(_ context.Context, after int64, limit int) (list []account.Change, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.broken {
		return nil, errors.New("no database")
	}
	for _, c := range o.changes {
		if c.Seq > after && len(list) < limit {
			list = append(list, c)
		}
	}
	return list, nil
}

func (o *outbox) DropChanges(_ context.Context, seq int64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.changes = slices.DeleteFunc(o.changes, func(c account.Change) bool { return c.Seq <= seq })
	return nil
}

func (o *outbox) left() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.changes)
}

// world is a Hub over a real index of bindings.
type world struct {
	*Hub
	log       *memory
	outbox    *outbox
	index     *location.Index
	calls     callrecord.Feeds
	endpoints sync.Map // id → account.Endpoint
	seq       int64
	end       func()
}

func callData(dst []byte, r *callrecord.Record, _ time.Time) []byte {
	return append(r.ID.Append(append(dst, `{"uuid":"`...)), `"}`...)
}

// newWorld makes one whose feed of bindings holds up to buffer events.
func newWorld(t *testing.T, log *memory, box *outbox, buffer int) *world {
	w := &world{log: log, outbox: box, index: location.New(location.Config{Journal: journaltest.NewMemory()})}
	cfg := Config{Log: log, Bindings: w.index.Subscribe(buffer), Calls: w.calls.Subscribe(2), CallData: callData,
		Endpoint: func(id account.EndpointID) (account.Endpoint, bool) {
			e, ok := w.endpoints.Load(id)
			if !ok {
				return account.Endpoint{}, false
			}
			return e.(account.Endpoint), true
		},
		Data: func(_ context.Context, dst []byte, e *account.Endpoint, b *location.Binding, changed []string) []byte {
			data := map[string]any{"endpoint_id": e.ID.String(), "changed": changed}
			if b != nil {
				data["contact"] = b.Contact
			}
			return appendJSON(dst, data)
		}}
	if box != nil {
		cfg.Outbox = box
	}
	w.Hub = NewHub(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := w.index.Run(context.Background()); err != nil {
			t.Error(err)
		}
	})
	running.Go(func() {
		if err := w.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	w.end = sync.OnceFunc(func() {
		w.index.Close()
		cancel()
		running.Wait()
	})
	t.Cleanup(w.end)
	return w
}

func endpoint(id int) account.Endpoint {
	return account.Endpoint{ID: account.EndpointID(id), Owner: "SA_1", Main: "MA_1", Username: fmt.Sprint("user", id)}
}

// commit does what the store and the server do with a change.
func (w *world) commit(c account.Change) {
	w.seq++
	c.Seq, c.Last, c.At = w.seq, true, time.Now()
	if w.outbox != nil {
		w.outbox.mu.Lock()
		w.outbox.changes = append(w.outbox.changes, c)
		w.outbox.mu.Unlock()
	}
	if c.Kind != account.Deleted {
		w.Changed(c)
		w.endpoints.Store(c.After.ID, c.After)
		return
	}
	w.Leaving(c.Before)
	w.endpoints.Delete(c.Before.ID)
	_, _ = w.index.EndAll(context.Background(), location.Key(c.Before.ID), location.CredentialsChanged)
	w.Changed(c)
}

type register struct{ done chan error }

func (r register) Edit(s *location.Set) error {
	s.Add(location.Binding{Contact: "sip:phone", Expires: s.Now.Add(time.Hour), Flow: sip.Flow{Transport: sip.UDP}})
	return nil
}
func (r register) Committed(err error) { r.done <- err }

func (w *world) register(t *testing.T, id int) {
	r := register{make(chan error, 1)}
	if err := errors.Join(w.index.Update(location.Key(id), r), <-r.done); err != nil {
		t.Fatal(err)
	}
}

// What happens to an endpoint is told in order, although changes and bindings
// come on two ways.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &memory{}, nil, 1000)
		want := ""
		for id := 1; id <= 50; id++ {
			e := endpoint(id)
			w.commit(account.Change{Kind: account.Created, After: e})
			w.register(t, id)
			after := e
			after.Alias = "other"
			w.commit(account.Change{Kind: account.Updated, Before: e, After: after})
			w.commit(account.Change{Kind: account.Updated, Before: after, After: after}) // of nothing that shows
			w.commit(account.Change{Kind: account.Deleted, Before: after, SecretChanged: true})
			want += fmt.Sprintf(" created%[1]d registered%[1]d updated%[1]d credentials_changed%[1]d deleted%[1]d", id)
		}
		w.calls.Publish(callrecord.Event{Type: callrecord.Ended, Record: &callrecord.Record{ID: callrecord.ID{15: 7}, Account: "MA_1", Main: "MA_1"}})
		time.Sleep(2 * gather) // a batch may just have been taken
		synctest.Wait()
		if got := w.log.names(); got != strings.TrimSpace(want+" call.ended7") {
			t.Errorf("%s\nwant%s", got, want)
		}
		var env struct {
			ID, Type, Account string
			CreatedAt         string `json:"created_at"`
			Data              struct {
				EndpointID string `json:"endpoint_id"`
				Contact    string
				Changed    []string
			}
		}
		updated := w.log.events[2]
		if err := json.Unmarshal(updated.Body, &env); err != nil {
			t.Fatal(err)
		}
		if env.ID != updated.ID.String() || env.Type != "endpoint.updated" || env.Account != "SA_1" || updated.Main != "MA_1" ||
			env.CreatedAt != time.Now().UTC().Format(time.RFC3339) || env.Data.EndpointID != "1" || !slices.Equal(env.Data.Changed, []string{"alias"}) {
			t.Errorf("%s", updated.Body)
		}
	})
}

// A change is in the outbox until its event is synced; after a crash it becomes
// an event then, and those that are events already do not become so again.
func TestOutbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, box := &memory{}, &outbox{}
		w := newWorld(t, log, box, 64)
		synctest.Wait()
		w.commit(account.Change{Kind: account.Created, After: endpoint(1)})
		w.commit(account.Change{Kind: account.Created, After: endpoint(2)})
		synctest.Wait()
		if box.left() != 2 || log.names() != "created1 created2" {
			t.Errorf("%d in the outbox, events %s", box.left(), log.names())
		}
		time.Sleep(2 * dropEvery)
		if box.left() != 0 || log.synced != 2 {
			t.Errorf("%d in the outbox, %d synced", box.left(), log.synced)
		}
		w.end()
		// The process dies between commit and event, and also before the outbox
		// is told what is safe.
		two := account.Change{Kind: account.Created, After: endpoint(2), Seq: 2, Last: true}
		three := account.Change{Kind: account.Created, After: endpoint(3), Seq: 3, Last: true}
		box.changes = []account.Change{two, three}
		w = newWorld(t, log, box, 64)
		w.seq = 3
		synctest.Wait()
		w.commit(account.Change{Kind: account.Created, After: endpoint(4)})
		time.Sleep(2 * dropEvery)
		if box.left() != 0 || log.names() != "created1 created2 created3 created4" {
			t.Errorf("%d in the outbox, events %s", box.left(), log.names())
		}
		if !slices.IsSortedFunc(log.events, func(a, b Event) int { return a.ID.Compare(b.ID) }) {
			t.Error("the ids do not increase")
		}
	})
}

// A disk that is full for a while loses no change; bindings' events that do not
// fit are counted and stand as a gap.
func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, box := &memory{full: true}, &outbox{broken: true}
		w := newWorld(t, log, box, 64)
		w.endpoints.Store(account.EndpointID(1), endpoint(1))
		var want []string
		for id := 2; id < maxQueue+100; id++ {
			w.commit(account.Change{Kind: account.Created, After: endpoint(id)})
			want = append(want, fmt.Sprint("created", id))
		}
		for range 1000 {
			w.register(t, 1)
		}
		synctest.Wait()
		log.mu.Lock()
		log.full = false
		log.mu.Unlock()
		box.mu.Lock()
		box.broken = false
		box.mu.Unlock()
		time.Sleep(time.Minute)
		var created, registered []string
		gaps := 0
		for name := range strings.FieldsSeq(log.names()) {
			switch {
			case strings.HasPrefix(name, "created"):
				created = append(created, name)
			case name == "registered1":
				registered = append(registered, name)
			case strings.HasPrefix(name, "stream.gap"):
				gaps++
			}
		}
		if !slices.Equal(created, want) {
			t.Errorf("%d changes became events, want %d", len(created), len(want))
		}
		if lost := int(w.Stats().Lost); gaps < 1 || gaps > 2 || len(registered)+lost != 1000 {
			t.Errorf("%d registered, %d lost, %d gaps", len(registered), lost, gaps)
		}
		if box.left() != 0 {
			t.Errorf("%d left in the outbox", box.left())
		}
	})
}
