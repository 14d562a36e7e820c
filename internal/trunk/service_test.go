package trunk_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"onhook/internal/account"
	"onhook/internal/storesqlite"
	"onhook/internal/trunk"
)

// fixture is a Service on a real store, with one trunk and one number in its
// configuration.
type fixture struct {
	*trunk.Service
	table *trunk.Table
	store trunk.Store
	told  atomic.Int64
	log   bytes.Buffer
}

func open(t *testing.T) trunk.Store {
	t.Helper()
	keys, err := account.NewKeys(make([]byte, account.KeyLen))
	if err != nil {
		t.Fatal(err)
	}
	store, err := storesqlite.Open(t.Context(), filepath.Join(t.TempDir(), "onhook.db"), keys)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

func service(t *testing.T, store trunk.Store) *fixture {
	t.Helper()
	table, err := trunk.NewTable("DE", "example.com")
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{table: table, store: store}
	f.Service = trunk.NewService(trunk.ServiceConfig{Table: table, Store: store, Changed: func() { f.told.Add(1) },
		Logger: slog.New(slog.NewTextHandler(&f.log, nil)),
		Trunks: []trunk.Trunk{{Name: "fixed", URI: "sip:fixed.example", Priority: 1}}, Numbers: []trunk.Number{{Number: "+4930100", Endpoint: "desk"}}})
	if err := f.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return f
}

func spec(name, uri string) trunk.Spec {
	return trunk.Spec{Name: account.Some(name), URI: account.Some(uri)}
}

// ways are the trunks that take a number, in their order.
func (f *fixture) ways(number string) string {
	var names []string
	for _, c := range f.table.Candidates(number) {
		names = append(names, c.Line.Name)
	}
	return strings.Join(names, " ")
}

// A change acts when its call returns, and those of the configuration stay.
func TestServiceChanges(t *testing.T) {
	f := service(t, open(t))
	ctx := t.Context()
	check := func(err, want error, ways, rings string) {
		t.Helper()
		c, _ := f.table.Callee("+4930101")
		if got := c.User + c.Application; !errors.Is(err, want) || f.ways("+4312345") != ways || got != rings {
			t.Errorf("%v, trunks %s, number %s; want %v, %s, %s", err, f.ways("+4312345"), got, want, ways, rings)
		}
	}
	check(nil, nil, "fixed", "")
	check(f.Create(ctx, spec("new", "sip:new.example")), nil, "new fixed", "")
	check(f.Create(ctx, spec("new", "sip:new.example")), trunk.ErrTaken, "new fixed", "")
	check(f.Create(ctx, spec("fixed", "sip:new.example")), trunk.ErrTaken, "new fixed", "")
	line := f.Line("new")
	line.Take(false)
	check(f.Update(ctx, "new", trunk.Spec{Priority: account.Some(2), MaxCalls: account.Some(1)}), nil, "fixed new", "")
	if now := f.Line("new"); now.Calls() != 1 || now.Take(false) || now.URI != "sip:new.example" {
		t.Errorf("after the change: %d calls, %s", now.Calls(), now.URI)
	}
	check(f.Update(ctx, "fixed", trunk.Spec{Priority: account.Some(5)}), trunk.ErrFixed, "fixed new", "")
	check(f.Update(ctx, "other", trunk.Spec{}), trunk.ErrNotFound, "fixed new", "")
	check(f.CreateNumber(ctx, trunk.NumberSpec{Number: account.Some("+4930101"), Application: account.Some("app")}), nil, "fixed new", "app")
	check(f.CreateNumber(ctx, trunk.NumberSpec{Number: account.Some("+4930100"), Endpoint: account.Some("x")}), trunk.ErrTaken, "fixed new", "app")
	check(f.UpdateNumber(ctx, "+4930101", trunk.NumberSpec{Endpoint: account.Some("bob")}), nil, "fixed new", "bob")
	check(f.UpdateNumber(ctx, "+4930100", trunk.NumberSpec{Endpoint: account.Some("bob")}), trunk.ErrFixed, "fixed new", "bob")
	check(f.DeleteNumber(ctx, "+4930100"), trunk.ErrFixed, "fixed new", "bob")
	check(f.DeleteNumber(ctx, "+4930101"), nil, "fixed new", "")
	check(f.Delete(ctx, "fixed"), trunk.ErrFixed, "fixed new", "")
	check(f.Delete(ctx, "new"), nil, "fixed", "")
	check(f.Delete(ctx, "new"), trunk.ErrNotFound, "fixed", "")
	if n := f.told.Load(); n != 7 {
		t.Errorf("told %d times, want 7: at the start and of every change", n)
	}
	var bad *account.Invalid
	if err := f.Create(ctx, trunk.Spec{Malformed: map[string]string{"strip": "Must be a whole number"}}); !errors.As(err, &bad) ||
		bad.Fields["strip"] != "Must be a whole number" || bad.Fields["name"] == "" || bad.Fields["uri"] == "" || len(bad.Fields) != 3 {
		t.Errorf("%v", err)
	}
}

// What stands in the configuration hides what is stored under its name, and what
// is stored is there after a restart.
func TestServiceHidesStored(t *testing.T) {
	store := open(t)
	for _, one := range []trunk.Trunk{{Name: "fixed", URI: "sip:stored.example"}, {Name: "kept", URI: "sip:kept.example"}} {
		if err := store.InsertTrunk(t.Context(), one); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []trunk.Number{{Number: "+4930100", Endpoint: "other"}, {Number: "+4930101", Endpoint: "kept"}} {
		if err := store.InsertNumber(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	f := service(t, store)
	if l := f.Line("fixed"); l.URI != "sip:fixed.example" || !l.Fixed || f.Line("kept").Fixed || f.ways("+43") != "kept fixed" {
		t.Errorf("%+v, %s", l.Trunk, f.ways("+43"))
	}
	if n, _ := f.Number("+4930100"); n.Endpoint != "desk@example.com" || !n.Fixed || len(f.Numbers()) != 2 {
		t.Errorf("%+v", f.Numbers())
	}
	if text := f.log.String(); !strings.Contains(text, "count=2") || !strings.Contains(text, "fixed +4930100") {
		t.Errorf("the log says %q", text)
	}
}

// breaking is a store that cannot be read for a while.
type breaking struct {
	trunk.Store
	broken atomic.Bool
	asked  chan struct{}
}

func (b *breaking) Trunks(ctx context.Context) ([]trunk.Trunk, []trunk.Number, error) {
	if b.broken.Load() {
		select {
		case b.asked <- struct{}{}:
		default:
		}
		return nil, nil, io.ErrUnexpectedEOF
	}
	return b.Store.Trunks(ctx)
}

// What somebody else has stored acts as soon as the store tells, and, where it
// cannot be read then, when it can.
func TestServiceFollows(t *testing.T) {
	store := &breaking{Store: open(t), asked: make(chan struct{}, 1)}
	f := service(t, store)
	changed := make(chan string, 16)
	table, err := trunk.NewTable("", "example.com")
	if err != nil {
		t.Fatal(err)
	}
	follower := trunk.NewService(trunk.ServiceConfig{Table: table, Store: store, Logger: slog.New(slog.DiscardHandler), Changed: func() {
		if lines := table.Lines(); len(lines) > 0 {
			changed <- lines[len(lines)-1].Name
		}
	}})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := follower.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	defer wg.Wait()
	defer cancel()
	if err := f.Create(ctx, spec("one", "sip:one.example")); err != nil {
		t.Fatal(err)
	}
	if got := <-changed; got != "one" {
		t.Errorf("the last is %s", got)
	}
	store.broken.Store(true)
	if err := f.Create(ctx, spec("two", "sip:two.example")); err != nil {
		t.Errorf("stored, and %v", err)
	}
	<-store.asked
	store.broken.Store(false)
	for got := ""; got != "two"; {
		got = <-changed
	}
}
