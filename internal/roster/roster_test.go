package roster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"onhook/internal/account"
)

func endpoint(n int, owner, username string) account.Endpoint {
	return account.Endpoint{ID: account.EndpointID(100_000_000_000_000 + n), Owner: owner, Username: username, Alias: username, Domain: "sip.test"}
}

func created(e account.Endpoint) account.Change {
	return account.Change{Kind: account.Created, After: e}
}

// model answers as the roster must, the slow way.
type model struct {
	all        []account.Endpoint // oldest first
	registered map[account.EndpointID]bool
}

func (m *model) find(owner string, q account.EndpointQuery) (page []account.EndpointID, total int) {
	match := func(s string, m account.Match, fold func(string) string) bool {
		return (!m.Exact.Set || s == fold(m.Exact.Value)) && (!m.StartsWith.Set || strings.HasPrefix(s, fold(m.StartsWith.Value))) &&
			(!m.Contains.Set || strings.Contains(s, fold(m.Contains.Value)))
	}
	for _, e := range slices.Backward(m.all) {
		if e.Owner != owner || !match(strings.ToLower(e.Username), q.Username, strings.ToLower) ||
			!match(e.Alias, q.Alias, func(s string) string { return s }) ||
			q.Application.Set && e.Application != q.Application.Value ||
			q.ApplicationIsNull.Set && (e.Application == "") != q.ApplicationIsNull.Value ||
			q.Registered.Set && m.registered[e.ID] != q.Registered.Value {
			continue
		}
		if total++; total > q.Offset && len(page) < q.Limit {
			page = append(page, e.ID)
		}
	}
	return page, total
}

func (m *model) change(rng *rand.Rand, n int) account.Change {
	pick := func(from ...string) string { return from[rng.IntN(len(from))] }
	alias := func() string { return pick("", "desk", "Desk", "de", "phone", "x") + pick("", "1", "é") }
	app := func() string { return pick("", "", "app1", "app2") }
	if kind := rng.IntN(10); len(m.all) > 0 && kind < 6 {
		i := rng.IntN(len(m.all))
		before := m.all[i]
		if kind < 3 {
			m.all = slices.Delete(m.all, i, i+1)
			delete(m.registered, before.ID)
			return account.Change{Kind: account.Deleted, Before: before}
		}
		m.all[i].Alias, m.all[i].Application = alias(), app()
		return account.Change{Kind: account.Updated, Before: before, After: m.all[i]}
	}
	e := endpoint(n, pick("A", "B"), fmt.Sprintf("%s%d", pick("user", "User", "us", "x"), n%300))
	e.Domain = fmt.Sprintf("%d.test", n/300) // where the name is free
	e.Alias, e.Application = alias(), app()
	m.all = append(m.all, e)
	return created(e)
}

func (m *model) query(rng *rand.Rand) (q account.EndpointQuery) {
	sometimes := func(s string) (o account.Optional[string]) {
		if rng.IntN(6) == 0 {
			return account.Some(s)
		}
		return o
	}
	flag := func() (o account.Optional[bool]) {
		if rng.IntN(6) == 0 {
			return account.Some(rng.IntN(2) == 0)
		}
		return o
	}
	texts := []string{"", "u", "us", "USER", "user1", "r1", "x", "de", "desk", "Desk1", "é", "1", "no such"}
	match := func() account.Match {
		pick := func() account.Optional[string] { return sometimes(texts[rng.IntN(len(texts))]) }
		return account.Match{Exact: pick(), StartsWith: pick(), Contains: pick()}
	}
	return account.EndpointQuery{Limit: 1 + rng.IntN(20), Offset: rng.IntN(3) * rng.IntN(60), Username: match(), Alias: match(),
		Application: sometimes([]string{"app1", "app2", "app3"}[rng.IntN(3)]), ApplicationIsNull: flag(), Registered: flag()}
}

// Thousands of random changes and queries, answered as the model answers.
func TestAgainstAModel(t *testing.T) {
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 1))
		m := &model{registered: map[account.EndpointID]bool{}}
		r := New()
		for n := range 400 { // made one after the other, but for the first few
			m.all = append(m.all, endpoint(10_000+n, []string{"A", "B"}[min(n/int(7+seed), 1)], fmt.Sprintf("row%d", n)))
		}
		for n := range 200 { // before it is loaded
			m.change(rng, n)
		}
		err := r.Load(t.Context(), func(_ context.Context, put func(account.Endpoint)) error {
			for _, e := range m.all {
				put(e)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for n := range 6000 {
			c := m.change(rng, 200+n)
			r.Apply(c)
			if rng.IntN(4) == 0 {
				r.Apply(c) // again: nothing changes
			}
			if len(m.all) > 0 {
				id := m.all[rng.IntN(len(m.all))].ID
				m.registered[id] = rng.IntN(2) == 0
				r.SetRegistered(id, m.registered[id])
			}
			if n%3 != 0 {
				continue
			}
			q, owner := m.query(rng), []string{"A", "B", "C"}[rng.IntN(3)]
			page, total := r.Find(owner, q)
			if want, all := m.find(owner, q); !slices.Equal(page, want) || total != all {
				t.Fatalf("seed %d, after %d changes, %+v of %s:\n%v of %d, want\n%v of %d", seed, n, q, owner, page, total, want, all)
			}
		}
	}
}

// Chunks split and vanish: as many names as fill several, in any order.
func TestManyNames(t *testing.T) {
	for name, order := range map[string]func(n int) int{
		"in order": func(n int) int { return n }, "backwards": func(n int) int { return 1<<14 - 1 - n },
		"shuffled": func(n int) int { return n * 7919 % (1 << 14) },
	} {
		r := New()
		if err := r.Load(t.Context(), func(context.Context, func(account.Endpoint)) error { return nil }); err != nil {
			t.Fatal(err)
		}
		name_ := func(n int) string { return fmt.Sprintf("u%05d", n) }
		for n := range 1 << 14 {
			r.Apply(created(endpoint(order(n), "A", name_(order(n)))))
		}
		for n := range 1 << 14 {
			if n%4 != 0 {
				e := endpoint(order(n), "A", name_(order(n)))
				r.Apply(account.Change{Kind: account.Deleted, Before: e})
			}
		}
		want := 0
		for n := range 1 << 14 {
			if n%4 == 0 && order(n) >= 1000 && order(n) < 2000 {
				want++
			}
		}
		if _, total := r.Find("A", account.EndpointQuery{Limit: 1, Username: account.Match{StartsWith: account.Some("u01")}}); total != want {
			t.Errorf("%s: %d begin with u01, want %d", name, total, want)
		}
		if _, total := r.Find("A", account.EndpointQuery{Limit: 1}); total != 1<<12 {
			t.Errorf("%s: %d are left", name, total)
		}
	}
}

// What changes while the roster loads is not lost, and a load that fails leaves
// it empty.
func TestLoad(t *testing.T) {
	r := New()
	a, b, c := endpoint(1, "A", "a"), endpoint(2, "A", "b"), endpoint(3, "A", "c")
	r.Apply(created(c)) // nothing yet
	fail := errors.New("on purpose")
	err := r.Load(t.Context(), func(_ context.Context, put func(account.Endpoint)) error { put(a); return fail })
	if _, total := r.Find("A", account.EndpointQuery{Limit: 9}); !errors.Is(err, fail) || total != 0 || r.Loaded() {
		t.Fatalf("%v, %d endpoints", err, total)
	}
	err = r.Load(t.Context(), func(_ context.Context, put func(account.Endpoint)) error {
		put(a)
		r.Apply(created(b)) // told before it is read
		put(b)
		r.Apply(account.Change{Kind: account.Deleted, Before: a}) // told after
		r.Apply(created(c))
		return nil
	})
	page, total := r.Find("A", account.EndpointQuery{Limit: 9})
	if err != nil || total != 2 || !slices.Equal(page, []account.EndpointID{c.ID, b.ID}) {
		t.Errorf("%v of %d, %v", page, total, err)
	}
}

// The SIP side sets bits while lists are read and endpoints come and go.
func TestConcurrentUse(t *testing.T) {
	r := New()
	if err := r.Load(t.Context(), func(context.Context, func(account.Endpoint)) error { return nil }); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for side := range 4 {
		group.Go(func() {
			for n := range 500 {
				e := endpoint(side*1000+n%50, "A", fmt.Sprintf("u%d", side*1000+n%50))
				r.Apply(created(e))
				r.SetRegistered(e.ID, n%3 != 0)
				r.Find("A", account.EndpointQuery{Limit: 5, Registered: account.Some(true)})
				r.Apply(account.Change{Kind: account.Deleted, Before: e})
				r.SetRegistered(e.ID, true) // too late
			}
		})
	}
	group.Wait()
	if _, total := r.Find("A", account.EndpointQuery{Limit: 1}); total != 0 {
		t.Errorf("%d are left", total)
	}
}

// A million endpoints cost at most 150 bytes each.
func TestBytesPerEndpoint(t *testing.T) {
	const n, limit = 200_000, 150
	r := New()
	before := heap()
	fill(t, r, n)
	per := (heap() - before) / n
	t.Logf("%d bytes per endpoint at %d", per, n)
	if per > limit {
		t.Errorf("%d bytes per endpoint, the limit is %d", per, limit)
	}
	runtime.KeepAlive(r)
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func fill(tb testing.TB, r *Roster, n int) {
	tb.Helper()
	err := r.Load(tb.Context(), func(_ context.Context, put func(account.Endpoint)) error {
		for i := range n {
			e := endpoint(i, "A", fmt.Sprintf("user_%07d", i*7919%n))
			e.Alias = "Phone of " + e.Username
			put(e)
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
}

func BenchmarkFind(b *testing.B) {
	const n = 1_000_000
	r := New()
	fill(b, r, n)
	for i := range n / 2 {
		r.SetRegistered(account.EndpointID(100_000_000_000_000+2*i), true)
	}
	some := account.Some[string]
	for _, c := range []struct {
		name string
		q    account.EndpointQuery
	}{
		{"all", account.EndpointQuery{}},
		{"all-offset-900000", account.EndpointQuery{Offset: 900_000}},
		{"username-exact", account.EndpointQuery{Username: account.Match{Exact: some("user_0123456")}}},
		{"username-prefix-of-1000", account.EndpointQuery{Username: account.Match{StartsWith: some("user_0123")}}},
		{"username-prefix-of-all", account.EndpointQuery{Username: account.Match{StartsWith: some("user")}}},
		{"username-contains", account.EndpointQuery{Username: account.Match{Contains: some("0123")}}},
		{"alias-contains", account.EndpointQuery{Alias: account.Match{Contains: some("of user_0123")}}},
		{"application-none", account.EndpointQuery{ApplicationIsNull: account.Some(true)}},
		{"registered-half", account.EndpointQuery{Registered: account.Some(true)}},
		{"not-registered-half", account.EndpointQuery{Registered: account.Some(false)}},
	} {
		b.Run(c.name, func(b *testing.B) {
			c.q.Limit = account.DefaultLimit
			for b.Loop() {
				r.Find("A", c.q)
			}
		})
	}
}
