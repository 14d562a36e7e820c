package storepostgres

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"onhook/internal/account"
	"onhook/internal/storesql"
	"onhook/test/postgres"
)

func testKeys(t testing.TB) *account.Keys {
	t.Helper()
	keys, err := account.NewKeys(bytes.Repeat([]byte{7}, account.KeyLen))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// member is one of the stores on a database, and what it told.
type member struct {
	*storesql.Store
	mu   sync.Mutex
	told []string
	more chan struct{}
}

func join(t *testing.T, url string) *member {
	t.Helper()
	s, err := Open(t.Context(), url, testKeys(t), quiet)
	if err != nil {
		t.Fatal(err)
	}
	return joined(t, s)
}

func joined(t *testing.T, s *storesql.Store) *member {
	t.Helper()
	m := &member{Store: s, more: make(chan struct{}, 1)}
	tell := func(what string) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.told = append(m.told, what)
		select {
		case m.more <- struct{}{}:
		default:
		}
	}
	s.Subscribe(func(c account.Change) {
		c.Foreign = false // all else is the same wherever it is told
		tell(fmt.Sprintf("%+v", c))
	})
	s.SubscribeAccounts(func(c account.AccountChange) { tell(fmt.Sprintf("%+v", c)) })
	s.SubscribeApplications(func(c account.ApplicationChange) { tell(fmt.Sprintf("%+v", c)) })
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ran, s.Close()); err != nil {
			t.Error(err)
		}
	})
	return m
}

// wait returns what was told, once it is n things.
func (m *member) wait(t *testing.T, n int) []string {
	t.Helper()
	limit := time.After(30 * time.Second)
	for {
		m.mu.Lock()
		told := slices.Clone(m.told)
		m.mu.Unlock()
		if len(told) >= n {
			return told
		}
		select {
		case <-m.more:
		case <-limit:
			t.Fatalf("%d changes were told, want %d", len(told), n)
		}
	}
}

var owner = account.Account{ID: 1, AuthID: "MA_AAAAAAAA", Name: "owner", Enabled: true, CreatedAt: time.Unix(1e9, 0).UTC(), UpdatedAt: time.Unix(1e9, 0).UTC()}

func endpoint(n int) account.Endpoint {
	name := fmt.Sprintf("user_%07d", n)
	e := account.Endpoint{ID: account.EndpointID(100_000_000_000_000 + n), Owner: owner.AuthID, Main: owner.AuthID, Username: name, Domain: "sip.test",
		Alias: "Phone of " + name, MaxContacts: 10, CreatedAt: owner.CreatedAt, UpdatedAt: owner.UpdatedAt}
	e.Secret.MD5[3], e.Secret.SHA256[4], e.Secret.HasSHA256 = byte(n), byte(n), true
	return e
}

// Three stores change the same things at the same time: each tells every change
// once, and all tell them in the same order, which is that of the commits.
func TestEveryStoreTellsEveryChangeInCommitOrder(t *testing.T) {
	url := postgres.Database(t)
	members := []*member{join(t, url), join(t, url), join(t, url)}
	counter := endpoint(1)
	counter.Alias = "0"
	err := members[0].Update(t.Context(), func(ctx context.Context, tx account.Tx) error {
		return errors.Join(tx.InsertAccount(ctx, owner, "token"), tx.InsertEndpoint(ctx, counter),
			tx.InsertApplication(ctx, account.Application{ID: "12345678901234500", Owner: owner.AuthID, Name: "app", CreatedAt: owner.CreatedAt, UpdatedAt: owner.UpdatedAt}))
	})
	if err != nil {
		t.Fatal(err)
	}
	const sides, each = 4, 25
	var group sync.WaitGroup
	for i, m := range members {
		for side := range sides {
			group.Go(func() {
				for n := range each {
					e := endpoint(1000 + (i*sides+side)*each + n)
					err := m.Update(t.Context(), func(ctx context.Context, tx account.Tx) error {
						before, err := tx.Endpoint(ctx, counter.ID)
						if err != nil {
							return err
						}
						count, err := strconv.Atoi(before.Alias)
						after := before
						after.Alias = strconv.Itoa(count + 1)
						return errors.Join(err, tx.UpdateEndpoint(ctx, before, after), tx.InsertEndpoint(ctx, e))
					})
					if err != nil {
						t.Errorf("update: %v", err)
					}
				}
			})
		}
	}
	group.Wait()
	const total = 3 + 2*3*sides*each
	want := members[0].wait(t, total)
	seen := map[string]bool{}
	for _, what := range want {
		if seen[what] {
			t.Errorf("told twice: %s", what)
		}
		seen[what] = true
	}
	for i, m := range members {
		if got := m.wait(t, total); len(got) != total || !slices.Equal(got, want) {
			t.Errorf("store %d told %d changes, not in the order of store 0", i, len(got))
		}
		if e, err := m.Endpoint(t.Context(), counter.ID); err != nil || e.Alias != strconv.Itoa(3*sides*each) {
			t.Errorf("store %d counts %s, %v", i, e.Alias, err)
		}
	}
}

// deaf hears no notification.
type deaf struct{ shared }

func (deaf) Listen(ctx context.Context, _ func(string)) error {
	<-ctx.Done()
	return ctx.Err()
}

// Changes are heard of by notification alone, and found without any.
func TestNotificationsAndPolling(t *testing.T) {
	if poll >= time.Second {
		t.Errorf("without notifications changes are seen after %v", poll)
	}
	for name, c := range map[string]struct {
		shared func(shared) storesql.Shared
		poll   time.Duration
	}{
		"notifications alone": {func(s shared) storesql.Shared { return s }, time.Hour},
		"polling alone":       {func(s shared) storesql.Shared { return deaf{s} }, poll},
	} {
		t.Run(name, func(t *testing.T) {
			url := postgres.Database(t)
			config, err := pgx.ParseConfig(url)
			if err != nil {
				t.Fatal(err)
			}
			a := join(t, url)
			s, err := open(t.Context(), config, testKeys(t), storesql.Options{Logger: quiet, Shared: c.shared(shared{config}), Poll: c.poll, Silence: silence})
			if err != nil {
				t.Fatal(err)
			}
			b := joined(t, s)
			add := func(f func(context.Context, account.Tx) error) {
				t.Helper()
				if err := a.Update(t.Context(), f); err != nil {
					t.Fatal(err)
				}
			}
			add(func(ctx context.Context, tx account.Tx) error { return tx.InsertAccount(ctx, owner, "token") })
			for db := direct(t, url); c.poll > time.Second && listeners(t, db) < 2; { // what is told before it listens is missed
				runtime.Gosched()
			}
			for n := range 3 {
				add(func(ctx context.Context, tx account.Tx) error { return tx.InsertEndpoint(ctx, endpoint(n)) })
				b.wait(t, n+2)
			}
		})
	}
}

// listeners counts the sessions that wait for notifications.
func listeners(t testing.TB, db *sql.DB) (n int) {
	t.Helper()
	err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_stat_activity
		WHERE datname = current_database() AND application_name = 'onhook listener' AND query LIKE 'LISTEN%' AND state = 'idle'`).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A database that is not there yet is waited for.
func TestDatabaseStartsLater(t *testing.T) {
	db := postgres.Own(t)
	if err := db.Stop(); err != nil {
		t.Fatal(err)
	}
	said := make(chan string, 1)
	logger := slog.New(slog.NewTextHandler(lines(said), nil))
	type opened struct {
		store *storesql.Store
		err   error
	}
	done := make(chan opened, 1)
	go func() {
		s, err := Open(t.Context(), db.URL(), testKeys(t), logger)
		done <- opened{s, err}
	}()
	if line := <-said; !strings.Contains(line, "waiting for the database") || !strings.Contains(line, "30s") {
		t.Error(line)
	}
	if err := db.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := <-done
	if got.err != nil {
		t.Fatal(got.err)
	}
	if err := got.store.Close(); err != nil {
		t.Error(err)
	}
	if len(said) > 0 {
		t.Errorf("and again: %s", <-said)
	}

	// Whoever is told to end does not wait.
	if err := db.Stop(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-said; cancel() }()
	if _, err := Open(ctx, db.URL(), testKeys(t), logger); !errors.Is(err, context.Canceled) {
		t.Errorf("told to end: %v", err)
	}
}

// lines is a writer of lines to a channel.
type lines chan<- string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

// A deletion and a change of an account arrive too, with secrets whole.
func TestChangesArriveWhole(t *testing.T) {
	url := postgres.Database(t)
	a, b := join(t, url), join(t, url)
	e := endpoint(7)
	e.ExpiresAt = time.Unix(2e9, 0).UTC()
	disabled := owner
	disabled.Enabled = false
	for _, f := range []func(context.Context, account.Tx) error{
		func(ctx context.Context, tx account.Tx) error { return tx.InsertAccount(ctx, owner, "token") },
		func(ctx context.Context, tx account.Tx) error { return tx.InsertEndpoint(ctx, e) },
		func(ctx context.Context, tx account.Tx) error { return tx.UpdateAccount(ctx, owner, disabled) },
		func(ctx context.Context, tx account.Tx) error { return tx.DeleteEndpoint(ctx, e) },
		func(ctx context.Context, tx account.Tx) error { return tx.DeleteAccount(ctx, disabled) },
	} {
		if err := a.Update(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	want := a.wait(t, 5)
	if got := b.wait(t, 5); !slices.Equal(got, want) {
		t.Errorf("told\n%q\nwant\n%q", got, want)
	}
}

// A store whose place in the order is no longer known says so.
func TestFallenBehind(t *testing.T) {
	for name, query := range map[string]string{
		"changes are gone":         "DELETE FROM changes WHERE number <= 2",
		"the database is set back": "DELETE FROM changes WHERE number > 1",
	} {
		t.Run(name, func(t *testing.T) {
			url := postgres.Database(t)
			a, err := Open(t.Context(), url, testKeys(t), quiet)
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			for n := range 3 {
				err := a.Update(t.Context(), func(ctx context.Context, tx account.Tx) error {
					if n == 0 {
						return tx.InsertAccount(ctx, owner, "token")
					}
					return tx.InsertEndpoint(ctx, endpoint(n))
				})
				if err != nil {
					t.Fatal(err)
				}
				if n == 1 && name == "changes are gone" { // one that knows two of three
					b, err := Open(t.Context(), url, testKeys(t), quiet)
					if err != nil {
						t.Fatal(err)
					}
					defer b.Close()
					defer func() {
						if err := b.Run(t.Context()); !errors.Is(err, storesql.ErrFellBehind) {
							t.Errorf("run: %v", err)
						}
					}()
				}
			}
			db := direct(t, url)
			if _, err := db.ExecContext(t.Context(), query); err != nil {
				t.Fatal(err)
			}
			if name == "the database is set back" {
				if err := a.Run(t.Context()); !errors.Is(err, storesql.ErrFellBehind) {
					t.Errorf("run: %v", err)
				}
			}
		})
	}
}

// How long after a change is committed on one server it is told on another.
func BenchmarkOtherServersChange(b *testing.B) {
	url := postgres.Database(b)
	var stores []*storesql.Store
	for range 2 {
		s, err := Open(b.Context(), url, testKeys(b), quiet)
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		stores = append(stores, s)
	}
	told := make(chan time.Time, 1)
	stores[1].Subscribe(func(account.Change) { told <- time.Now() })
	ctx, cancel := context.WithCancel(b.Context())
	ran := make(chan error, 1)
	go func() { ran <- stores[1].Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ran; err != nil {
			b.Error(err)
		}
	}()
	insert := func(f func(context.Context, account.Tx) error) {
		if err := stores[0].Update(ctx, f); err != nil {
			b.Fatal(err)
		}
	}
	insert(func(ctx context.Context, tx account.Tx) error { return tx.InsertAccount(ctx, owner, "token") })
	for db := direct(b, url); listeners(b, db) < 1; {
		runtime.Gosched()
	}
	var all []time.Duration
	n := 0
	for b.Loop() {
		n++
		e := endpoint(n)
		insert(func(ctx context.Context, tx account.Tx) error { return tx.InsertEndpoint(ctx, e) })
		committed := time.Now()
		all = append(all, (<-told).Sub(committed))
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
}
