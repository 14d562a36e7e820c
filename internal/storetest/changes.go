package storetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"

	"onhook/internal/account"
)

var errOnPurpose = errors.New("on purpose")

func rollback(t *testing.T, s *suite) {
	main := s.account(t, "MA_AAAAAAAA", "")
	alice := endpoint(main, 1, "alice")
	s.insert(t, alice)
	var told []account.Change
	s.Subscribe(func(c account.Change) { told = append(told, c) })
	s.fails(t, errOnPurpose, func(ctx context.Context, tx account.Tx) error {
		changed := alice
		changed.Alias = "changed"
		return errors.Join(tx.InsertEndpoint(ctx, endpoint(main, 2, "bob")), tx.UpdateEndpoint(ctx, alice, changed),
			tx.SetToken(ctx, main.AuthID, "changed"), errOnPurpose)
	})
	s.has(t, alice)
	s.lacks(t, 100_000_000_000_002)
	if token, err := s.Token(t.Context(), main.AuthID); err != nil || token != "token of MA_AAAAAAAA" {
		t.Errorf("token is %q, %v", token, err)
	}
	if _, total := s.names(t, main.AuthID, account.EndpointQuery{}); total != 1 || len(told) != 0 {
		t.Errorf("%d endpoints, told %+v", total, told)
	}
	s.insert(t, endpoint(main, 2, "bob")) // and the next change goes well
}

func panics(t *testing.T, s *suite) {
	main := s.account(t, "MA_AAAAAAAA", "")
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic did not come back to the caller")
			}
		}()
		_ = s.Update(t.Context(), func(ctx context.Context, tx account.Tx) error {
			if err := tx.InsertEndpoint(ctx, endpoint(main, 1, "alice")); err != nil {
				return err
			}
			panic(errOnPurpose)
		})
	}()
	s.lacks(t, 100_000_000_000_001)
	s.insert(t, endpoint(main, 1, "alice"))
}

func cancelled(t *testing.T, s *suite) {
	main := s.account(t, "MA_AAAAAAAA", "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Update(ctx, insertion(endpoint(main, 1, "alice"))); !errors.Is(err, context.Canceled) {
		t.Errorf("update: %v", err)
	}
	s.lacks(t, 100_000_000_000_001)

	// One that waits behind another is withdrawn.
	ctx, cancel = context.WithCancel(t.Context())
	begun, finish, first := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		first <- s.Update(t.Context(), func(context.Context, account.Tx) error {
			close(begun)
			<-finish
			return nil
		})
	}()
	<-begun
	second := make(chan error)
	go func() { second <- s.Update(ctx, insertion(endpoint(main, 2, "bob"))) }()
	cancel()
	if err := <-second; !errors.Is(err, context.Canceled) {
		t.Errorf("the one that waited: %v", err)
	}
	close(finish)
	if err := <-first; err != nil {
		t.Errorf("the one before: %v", err)
	}
	s.insert(t, endpoint(main, 3, "carol"))
	s.lacks(t, 100_000_000_000_002)
}

func feed(t *testing.T, s *suite) {
	main := s.account(t, "MA_AAAAAAAA", "")
	var told []account.Change
	s.Subscribe(func(c account.Change) {
		e := c.After
		if c.Kind == account.Deleted {
			e = c.Before
		}
		_, err := s.Endpoint(t.Context(), e.ID)
		if visible := err == nil; visible != (c.Kind != account.Deleted) {
			t.Errorf("%v is told while the endpoint is visible: %v", c.Kind, visible)
		}
		told = append(told, c)
	})
	alice, bob := endpoint(main, 1, "alice"), endpoint(main, 2, "bob")
	renamed := alice
	renamed.Alias = "renamed"
	rekeyed := renamed
	rekeyed.Secret.MD5[0]++
	expect := func(want ...account.Change) {
		t.Helper()
		if !slices.Equal(told, want) {
			t.Errorf("told\n%+v, want\n%+v", told, want)
		}
		told = nil
	}
	s.insert(t, alice, bob)
	expect(account.Change{Kind: account.Created, After: alice}, account.Change{Kind: account.Created, After: bob})
	s.do(t, func(ctx context.Context, tx account.Tx) error { return tx.UpdateEndpoint(ctx, alice, renamed) })
	expect(account.Change{Kind: account.Updated, Before: alice, After: renamed})
	s.do(t, func(ctx context.Context, tx account.Tx) error { return tx.UpdateEndpoint(ctx, renamed, rekeyed) })
	expect(account.Change{Kind: account.Updated, Before: renamed, After: rekeyed, SecretChanged: true})
	s.do(t, func(ctx context.Context, tx account.Tx) error { return tx.DeleteEndpoint(ctx, rekeyed) })
	expect(account.Change{Kind: account.Deleted, Before: rekeyed, SecretChanged: true})
}

// readModifyWrite counts up from many sides: a lost update shows in the sum,
// and the feed shows every step in order.
func readModifyWrite(t *testing.T, s *suite) {
	main := s.account(t, "MA_AAAAAAAA", "")
	e := endpoint(main, 1, "counter")
	e.Alias = "0"
	s.insert(t, e)
	last := 0
	s.Subscribe(func(c account.Change) {
		if n, _ := strconv.Atoi(c.After.Alias); n != last+1 || c.Before.Alias != strconv.Itoa(last) {
			t.Errorf("after %d is told %s to %s", last, c.Before.Alias, c.After.Alias)
		}
		last++
	})
	const sides, each = 8, 20
	var group sync.WaitGroup
	for range sides {
		group.Go(func() {
			for range each {
				err := s.Update(t.Context(), func(ctx context.Context, tx account.Tx) error {
					before, err := tx.Endpoint(ctx, e.ID)
					if err != nil {
						return err
					}
					n, err := strconv.Atoi(before.Alias)
					after := before
					after.Alias = strconv.Itoa(n + 1)
					return errors.Join(err, tx.UpdateEndpoint(ctx, before, after))
				})
				if err != nil {
					t.Errorf("update: %v", err)
				}
			}
		})
	}
	group.Wait()
	if e, err := s.Endpoint(t.Context(), e.ID); err != nil || e.Alias != strconv.Itoa(sides*each) || last != sides*each {
		t.Errorf("counted to %s and told %d, want %d (%v)", e.Alias, last, sides*each, err)
	}
}

// crowd makes changes at the same time that fail for themselves alone.
func crowd(t *testing.T, s *suite) {
	main := s.account(t, "MA_AAAAAAAA", "")
	var mu sync.Mutex
	told := map[account.EndpointID]int{}
	s.Subscribe(func(c account.Change) {
		mu.Lock()
		defer mu.Unlock()
		told[c.After.ID]++
	})
	const sides, each = 8, 12
	outcome := make([]error, sides*each)
	var group sync.WaitGroup
	for side := range sides {
		group.Go(func() {
			for i := range each {
				n := side*each + i
				e := endpoint(main, n, fmt.Sprintf("name%d", n))
				if n%3 == 1 {
					e.Username = fmt.Sprintf("shared%d", i) // one of several wins
				}
				outcome[n] = s.Update(t.Context(), func(ctx context.Context, tx account.Tx) error {
					if err := tx.InsertEndpoint(ctx, e); err != nil {
						return err
					}
					if n%3 == 2 {
						return errOnPurpose
					}
					return nil
				})
			}
		})
	}
	group.Wait()
	made := 0
	for n, err := range outcome {
		id := account.EndpointID(100_000_000_000_000 + n)
		_, lookup := s.Endpoint(t.Context(), id)
		var conflict *account.Conflict
		switch {
		case err == nil:
			made++
			if lookup != nil || told[id] != 1 {
				t.Errorf("%d succeeded: lookup %v, told %d times", n, lookup, told[id])
			}
		case n%3 == 1 && errors.As(err, &conflict), n%3 == 2 && errors.Is(err, errOnPurpose):
			if !errors.Is(lookup, account.ErrNotFound) || told[id] != 0 {
				t.Errorf("%d failed: lookup %v, told %d times", n, lookup, told[id])
			}
		default:
			t.Errorf("%d: %v", n, err)
		}
	}
	if _, total := s.names(t, main.AuthID, account.EndpointQuery{}); total != made {
		t.Errorf("%d endpoints, %d were made", total, made)
	}
}

// lookups reads, from changes that are committed together, accounts and
// applications that the ones before have changed, or have changed in vain.
func lookups(t *testing.T, s *suite) {
	main := s.account(t, "MA_AAAAAAAA", "")
	app := account.Application{ID: "12345678901234500", Owner: main.AuthID, Name: "app", DefaultEndpoint: true, CreatedAt: birth, UpdatedAt: birth}
	renamed := func(name string) account.Account {
		after := main
		after.Name = name
		return after
	}
	var seen []string
	look := func(ctx context.Context, tx account.Tx) error {
		a, err := tx.Account(ctx, main.AuthID)
		of, none := tx.DefaultApplication(ctx, main.AuthID)
		_, unknown := tx.Application(ctx, app.ID)
		if !errors.Is(unknown, none) {
			t.Errorf("the default is %v, the application %v", none, unknown)
		}
		seen = append(seen, a.Name+" "+of.Name)
		return err
	}
	changes := []func(ctx context.Context, tx account.Tx) error{
		func(ctx context.Context, tx account.Tx) error {
			seen = nil // f may run again, and then all of them do
			return errors.Join(look(ctx, tx), tx.UpdateAccount(ctx, main, renamed("one")), look(ctx, tx))
		},
		func(ctx context.Context, tx account.Tx) error {
			return errors.Join(tx.UpdateAccount(ctx, main, renamed("two")), tx.InsertApplication(ctx, app), look(ctx, tx), errOnPurpose)
		},
		func(ctx context.Context, tx account.Tx) error {
			return errors.Join(look(ctx, tx), tx.InsertApplication(ctx, app), look(ctx, tx))
		},
		func(ctx context.Context, tx account.Tx) error {
			return errors.Join(look(ctx, tx), tx.DeleteApplication(ctx, app.ID), look(ctx, tx))
		},
	}
	begun, finish := make(chan struct{}), make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() { // while it runs, the others wait
		if err := s.Update(t.Context(), func(context.Context, account.Tx) error { close(begun); <-finish; return nil }); err != nil {
			t.Error(err)
		}
	})
	<-begun
	for i, change := range changes {
		group.Go(func() {
			if err := s.Update(t.Context(), change); (i == 1) != errors.Is(err, errOnPurpose) {
				t.Errorf("change %d: %v", i, err)
			}
		})
		for s.Store.(interface{ Waiting() int }).Waiting() <= i {
			runtime.Gosched()
		}
	}
	close(finish)
	group.Wait()
	if want := []string{main.Name + " ", "one ", "two app", "one ", "one app", "one app", "one "}; !slices.Equal(seen, want) {
		t.Errorf("seen: %q, want %q", seen, want)
	}
}

func reopen(t *testing.T, s *suite) {
	main := s.account(t, "MA_AAAAAAAA", "")
	e := endpoint(main, 1, "alice")
	s.insert(t, e)
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	if err := s.Update(t.Context(), insertion(endpoint(main, 2, "bob"))); err == nil {
		t.Error("a closed store takes changes")
	}
	s.Store = s.mustOpen(t)
	s.has(t, e)
	if a, err := s.Account(t.Context(), main.AuthID); err != nil || a != main {
		t.Errorf("account is %+v, %v", a, err)
	}
	s.insert(t, endpoint(main, 2, "bob"))
	if names, _ := s.names(t, main.AuthID, account.EndpointQuery{}); !slices.Equal(names, []string{"bob", "alice"}) {
		t.Errorf("endpoints are %v", names)
	}
}

func wrongKey(t *testing.T, s *suite) {
	s.insert(t, endpoint(s.account(t, "MA_AAAAAAAA", ""), 1, "alice"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if other, err := s.open(newKeys(t, 2)); !errors.Is(err, account.ErrWrongKey) {
		t.Errorf("opened with another key: %v, %v", other, err)
	}
	s.Store = s.mustOpen(t)
	s.has(t, endpoint(account.Account{AuthID: "MA_AAAAAAAA"}, 1, "alice"))
}
