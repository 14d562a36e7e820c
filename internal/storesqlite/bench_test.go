package storesqlite

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"onhook/internal/account"
)

func service(b *testing.B) (*account.Service, database) {
	s := openOwned(b, filepath.Join(b.TempDir(), "db"), settings{busy: time.Second})
	return account.NewService(s, []string{"sip.test"}, testKeys(b), nil), s
}

func spec(n int) account.EndpointSpec {
	return account.EndpointSpec{Username: account.Some(fmt.Sprintf("user_%07d", n)), Password: account.Some("correct horse")}
}

// BenchmarkCreate makes endpoints one by one from 16 clients, and from one:
// every one is on disk before the next of the same client.
func BenchmarkCreate(b *testing.B) {
	for _, clients := range []int{1, 16} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			svc, _ := service(b)
			var next atomic.Int64
			next.Store(-1)
			done := make(chan error, clients)
			b.ResetTimer()
			for range clients {
				go func() {
					for {
						n := int(next.Add(1))
						if n >= b.N {
							done <- nil
							return
						}
						if _, err := svc.CreateEndpoint(context.Background(), owner, spec(n)); err != nil {
							done <- err
							return
						}
					}
				}()
			}
			for range clients {
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "creates/s")
		})
	}
}

// BenchmarkCreateBulk makes endpoints 1,000 at a time.
func BenchmarkCreateBulk(b *testing.B) {
	svc, _ := service(b)
	n := 0
	for b.Loop() {
		fill(b, svc, n, account.MaxBulk)
		n += account.MaxBulk
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "creates/s")
}

func fill(b *testing.B, svc *account.Service, first, n int) {
	b.Helper()
	for ; n > 0; n -= account.MaxBulk {
		specs := make([]account.EndpointSpec, min(n, account.MaxBulk))
		for i := range specs {
			specs[i] = spec(first)
			first++
		}
		if _, err := svc.CreateEndpoints(context.Background(), owner, specs, false); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRead measures lookups and lists over 100,000 endpoints of one owner.
func BenchmarkRead(b *testing.B) {
	const endpoints = 100_000
	svc, store := service(b)
	fill(b, svc, 0, endpoints)
	var ids []account.EndpointID
	if err := store.EachEndpoint(b.Context(), func(e account.Endpoint) error { ids = append(ids, e.ID); return nil }); err != nil {
		b.Fatal(err)
	}
	for _, id := range ids[:20_000] {
		store.SetRegistered(id, true)
	}
	some := account.Some[string]
	list := func(q func(n int) account.EndpointQuery) func(int) error {
		return func(n int) error {
			query := q(n)
			query.Limit = account.DefaultLimit
			_, _, err := svc.Endpoints(context.Background(), owner, query)
			return err
		}
	}
	query := func(q account.EndpointQuery) func(int) error {
		return list(func(int) account.EndpointQuery { return q })
	}
	for _, c := range []struct {
		name string
		do   func(n int) error
	}{
		{"retrieve", func(n int) error {
			_, err := svc.Endpoint(context.Background(), owner, ids[n*7919%len(ids)])
			return err
		}},
		{"login", func(int) error { _, err := svc.Authenticate(context.Background(), owner.AuthID, "token"); return err }},
		{"list", query(account.EndpointQuery{})},
		{"list-offset-90000", query(account.EndpointQuery{Offset: 90_000})},
		{"username-exact", list(func(n int) account.EndpointQuery {
			return account.EndpointQuery{Username: account.Match{Exact: spec(n * 7919 % endpoints).Username}}
		})},
		{"username-prefix-of-100", list(func(n int) account.EndpointQuery {
			return account.EndpointQuery{Username: account.Match{StartsWith: some(spec(n * 7919 % endpoints).Username.Value[:10])}}
		})},
		{"username-prefix-of-all", query(account.EndpointQuery{Username: account.Match{StartsWith: some("user")}})},
		{"username-contains", query(account.EndpointQuery{Username: account.Match{Contains: some("0123")}})},
		{"application-none", query(account.EndpointQuery{ApplicationIsNull: account.Some(true)})},
		{"registered-20000", query(account.EndpointQuery{Registered: account.Some(true)})},
		{"not-registered-20000", query(account.EndpointQuery{Registered: account.Some(false)})},
	} {
		b.Run(c.name, func(b *testing.B) {
			var took []time.Duration
			for n := 0; b.Loop(); n++ {
				start := time.Now()
				if err := c.do(n); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		})
	}
}

// BenchmarkLoad reads every endpoint, as at start.
func BenchmarkLoad(b *testing.B) {
	svc, store := service(b)
	fill(b, svc, 0, 50_000)
	n := 0
	for b.Loop() {
		if err := store.EachEndpoint(b.Context(), func(account.Endpoint) error { n++; return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "endpoints/s")
}
