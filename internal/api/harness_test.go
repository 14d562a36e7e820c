package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"onhook/internal/account"
	"onhook/internal/callback"
	"onhook/internal/callrecord"
	"onhook/internal/event"
	"onhook/internal/eventlog"
	"onhook/internal/location"
	"onhook/internal/sip"
	"onhook/internal/storepostgres"
	"onhook/internal/storesql"
	"onhook/internal/storesqlite"
	"onhook/internal/webhook"
	"onhook/test/postgres"
)

// secret is part of every password the tests use; no answer and no log line
// may hold it.
const secret = "S3cret"

// world is an API over the real Service and a real database, with bindings, a clock and
// faults that the test controls.
type world struct {
	t        *testing.T
	handler  http.Handler
	config   Config
	service  *account.Service
	store    *faultyStore
	bindings *bindings
	bans     *banList
	events   *eventlog.Log
	calls    *callList
	records  callrecord.Store
	webhooks *webhooks
	clock    atomic.Int64 // unix seconds
	ready    error
	log      *logBuffer
	keyed    bool              // every POST has a key of its own
	vars     map[string]string // what transcripts put for {name}
	keys     map[string]string // name of an account → its token
}

// onEveryStore runs a test over each database there is.
func onEveryStore(t *testing.T, run func(t *testing.T, newWorld func(*testing.T) *world)) {
	t.Run("SQLite", func(t *testing.T) { run(t, newWorld) })
	t.Run("PostgreSQL", func(t *testing.T) {
		postgres.Database(t) // keeps the server for all of them
		run(t, func(t *testing.T) *world {
			return newWorldOn(t, func(ctx context.Context, keys *account.Keys) (*storesql.Store, error) {
				return storepostgres.Open(ctx, postgres.Database(t), keys, slog.New(slog.DiscardHandler))
			})
		})
	})
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOn(t, func(ctx context.Context, keys *account.Keys) (*storesql.Store, error) {
		return storesqlite.Open(ctx, filepath.Join(t.TempDir(), "onhook.db"), keys)
	})
}

func newWorldOn(t *testing.T, open func(context.Context, *account.Keys) (*storesql.Store, error)) *world {
	t.Helper()
	ctx := context.Background()
	keys, err := account.NewKeys(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	store, err := open(ctx, keys)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{t: t, store: &faultyStore{Store: store}, bindings: &bindings{store: store, of: map[account.EndpointID][]location.Binding{}}, bans: &banList{},
		calls: &callList{}, records: store, log: &logBuffer{}, vars: map[string]string{}, keys: map[string]string{}}
	if err := store.EachEndpoint(ctx, func(account.Endpoint) error { return nil }); err != nil { // as a server does at start
		t.Fatal(err)
	}
	w.clock.Store(time.Date(2025, 10, 26, 14, 20, 0, 0, time.UTC).Unix())
	w.service = account.NewService(w.store, []string{"sip.example.com", "sip.example.org"}, keys, w.now)
	w.events, err = eventlog.Open(eventlog.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.events.Close(); err != nil {
			t.Error(err)
		}
	})
	w.config = Config{Service: w.service, Registrations: w.bindings, DryRun: dryRun{}, Traces: recorded{}, Calls: w.calls, Records: w.records, Events: eventStreams{w.events}, StreamsPerAccount: 3, Bans: w.bans, Trunks: newTrunks(t, store), AdminToken: adminToken, Ready: func() error { return w.ready },
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			fmt.Fprintln(w, "onhook_up 1")
		}),
		Logger: slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	w.webhooks = &webhooks{Service: webhook.NewService(store, callback.New(callback.Config{}).Check, func() event.ID { return event.ID{1} }, w.now)}
	w.config.Webhooks, w.config.Answers, w.config.Now = w.webhooks, store, w.now
	w.config.Stats = &Stats{}
	w.handler = New(w.config)
	t.Cleanup(func() {
		if strings.Contains(w.log.String(), secret) {
			t.Error("a password is in the log")
		}
		if strings.Contains(w.log.String(), `"msg":"panic"`) {
			t.Error("a handler panicked:\n" + w.log.String())
		}
	})
	main := w.account("main", account.Account{})
	w.account("other", account.Account{})
	w.account("sub", main)
	off := w.account("off", main)
	disabled := off
	disabled.Enabled = false
	w.update(func(ctx context.Context, tx account.Tx) error { return tx.UpdateAccount(ctx, off, disabled) })
	return w
}

func (w *world) now() time.Time { return time.Unix(w.clock.Load(), 0).UTC() }

func (w *world) account(name string, parent account.Account) account.Account {
	w.t.Helper()
	create := w.service.CreateAccount
	if parent.AuthID != "" {
		create = func(ctx context.Context, name string) (account.Account, string, error) {
			return w.service.CreateSubAccount(ctx, parent, account.SubAccountSpec{Name: account.Some(name)})
		}
	}
	a, token, err := create(context.Background(), name)
	if err != nil {
		w.t.Fatal(err)
	}
	w.vars[name], w.keys[name] = a.AuthID, token
	w.vars[name+"_token"] = token
	return a
}

func (w *world) update(f func(context.Context, account.Tx) error) {
	w.t.Helper()
	if err := w.store.Update(context.Background(), f); err != nil {
		w.t.Fatal(err)
	}
}

// request makes a request with the key of the named account; "" for none.
func (w *world) request(as, method, path, body string) *http.Request {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if as != "" {
		r.Header.Set("X-Auth-ID", w.vars[as])
		r.Header.Set("X-Auth-Token", w.keys[as])
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

// do serves the request and checks what holds for every answer.
func (w *world) do(r *http.Request) *httptest.ResponseRecorder {
	w.t.Helper()
	sent, err := io.ReadAll(r.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Body = io.NopCloser(bytes.NewReader(sent))
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	id := rec.Header().Get("X-Request-Id")
	if !uuidPattern.MatchString(id) {
		w.t.Errorf("X-Request-Id is %q", id)
	}
	if !strings.Contains(w.log.String(), `"api_id":"`+id+`"`) {
		w.t.Errorf("api_id %s is not in the log", id)
	}
	if strings.Contains(rec.Body.String()+fmt.Sprint(rec.Header()), secret) {
		w.t.Errorf("a password is in the answer: %s", rec.Body)
	}
	var object map[string]any
	if json.Unmarshal(rec.Body.Bytes(), &object) == nil && object["api_id"] != nil && object["api_id"] != id {
		w.t.Errorf("api_id %v is not X-Request-Id %s", object["api_id"], id)
	}
	if err := conforms(r, string(sent), rec); err != nil {
		w.t.Errorf("%s %s → %d %s\nis not what openapi.yaml says: %v", r.Method, r.URL, rec.Code, rec.Body, err)
	}
	return rec
}

// create makes an endpoint through the API and returns its id.
func (w *world) create(as, username string) string {
	w.t.Helper()
	rec := w.do(w.request(as, "POST", "/v1/Account/"+w.vars[as]+"/Endpoint/",
		`{"username":"`+username+`","password":"`+secret+`-horse"}`))
	var made struct {
		ID string `json:"endpoint_id"`
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &made); err != nil || rec.Code != 201 {
		w.t.Fatalf("create: %d %s", rec.Code, rec.Body)
	}
	return made.ID
}

// logBuffer is a log that may be read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// faultyStore is a store whose disk fills up, that fails altogether, or that
// has lost its accounts.
type faultyStore struct {
	account.Store
	full, broken, revoked atomic.Bool
}

var errDiskFull = fmt.Errorf("%w: disk full", account.ErrUnavailable)

func (s *faultyStore) Update(ctx context.Context, f func(context.Context, account.Tx) error) error {
	if s.full.Load() {
		return errDiskFull
	}
	return s.Store.Update(ctx, f)
}

func (s *faultyStore) Login(ctx context.Context, authID string) (account.Login, error) {
	if s.broken.Load() {
		return account.Login{}, errors.New("database disk image is malformed")
	}
	if s.revoked.Load() {
		return account.Login{}, account.ErrNotFound
	}
	return s.Store.Login(ctx, authID)
}

// eventStreams gives a log the shape that the API asks for.
type eventStreams struct{ log *eventlog.Log }

func (e eventStreams) Subscribe(authID string, filter event.Filter, after *event.ID) EventStream {
	return e.log.Subscribe(authID, filter, after)
}

// webhooks are real but for the deliveries, which are written down.
type webhooks struct {
	*webhook.Service
	again []string
	err   error
}

func (w *webhooks) Redeliver(hook webhook.Webhook, id event.ID) error {
	w.again = append(w.again, hook.ID+" "+id.String())
	return w.err
}

func (w *webhooks) RedeliverAfter(_ context.Context, hook webhook.Webhook, id event.ID) error {
	w.again = append(w.again, hook.ID+" after "+id.String())
	return w.err
}

// bindings stands in for the registrar.
type bindings struct {
	store account.Store
	mu    sync.Mutex
	of    map[account.EndpointID][]location.Binding
	full  bool
}

func (b *bindings) Bindings(id account.EndpointID) []location.Binding {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.of[id])
}

func (b *bindings) End(_ context.Context, id account.EndpointID, bindingID string) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.full {
		return false, errDiskFull
	}
	before := len(b.of[id])
	b.of[id] = slices.DeleteFunc(b.of[id], func(x location.Binding) bool { return x.ID == bindingID })
	b.store.SetRegistered(id, len(b.of[id]) > 0)
	return len(b.of[id]) < before, nil
}

func (b *bindings) EndAll(_ context.Context, id account.EndpointID) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.full {
		return errDiskFull
	}
	delete(b.of, id)
	b.store.SetRegistered(id, false)
	return nil
}

// register adds a binding, newest first.
func (b *bindings) register(id string, x location.Binding) {
	b.mu.Lock()
	defer b.mu.Unlock()
	key, _ := account.ParseEndpointID(id)
	b.of[key] = append([]location.Binding{x}, b.of[key]...)
	b.store.SetRegistered(key, true)
}

// bindingFrom makes a binding out of name=value pairs.
func bindingFrom(pairs map[string]string, now time.Time) (location.Binding, error) {
	transport, _ := sip.ParseTransport(pairs["via"])
	remote, err := netip.ParseAddrPort(pairs["from"])
	x := location.Binding{ID: pairs["id"], Contact: pairs["contact"], Path: pairs["path"], UserAgent: pairs["agent"],
		InstanceID: pairs["instance"], Flow: sip.Flow{Transport: transport, Conn: 1, Remote: remote},
		RegisteredAt: now, LastSeen: now, Expires: now.Add(10 * time.Minute)}
	if pairs["reg-id"] != "" {
		x.RegID = 1
	}
	if pairs["state"] == "suspect" {
		x.State = location.Suspect
	}
	return x, err
}
