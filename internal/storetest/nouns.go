package storetest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"onhook/internal/account"
)

func accounts(t *testing.T, s *suite) {
	main := s.account(t, "MA_AAAAAAAA", "")
	sub := s.account(t, "SA_BBBBBBBB", main.AuthID)
	for _, want := range []account.Account{main, sub} {
		if got, err := s.Account(t.Context(), want.AuthID); err != nil || got != want {
			t.Errorf("account is %+v, %v, want %+v", got, err, want)
		}
	}
	before := sub
	sub.Name, sub.Enabled, sub.UpdatedAt = "renamed", false, birth.Add(time.Hour)
	sub.Email, sub.Phone, sub.Description, sub.Permissions, sub.RateLimit = "a@example.org", "+4930", "of a branch", `{"calls":true}`, 7
	sub.Limits = account.Limits{ConcurrentCalls: 30, CallsPerSecond: 2, MaxDuration: 7200, NumberPrefixes: "+49,+43"}
	s.do(t, func(ctx context.Context, tx account.Tx) error { return tx.UpdateAccount(ctx, before, sub) })
	if got, err := s.AccountByID(t.Context(), sub.ID); err != nil || got != sub {
		t.Errorf("by number: %+v, %v", got, err)
	}
	if _, err := s.AccountByID(t.Context(), 99); !errors.Is(err, account.ErrNotFound) {
		t.Errorf("by an unknown number: %v", err)
	}
	all, err := s.Accounts(t.Context())
	if err != nil || !slices.Equal(all, []account.Account{main, sub}) {
		t.Errorf("accounts are %+v, %v", all, err)
	}
	s.fails(t, account.ErrDuplicate, func(ctx context.Context, tx account.Tx) error {
		return tx.InsertAccount(ctx, account.Account{ID: 100, AuthID: main.AuthID, Name: "again", CreatedAt: birth, UpdatedAt: birth}, "x")
	})
	s.fails(t, account.ErrDuplicate, func(ctx context.Context, tx account.Tx) error {
		return tx.InsertAccount(ctx, account.Account{ID: main.ID, AuthID: "MA_CCCCCCCC", Name: "again", CreatedAt: birth, UpdatedAt: birth}, "x")
	})
	s.fails(t, account.ErrNotFound, func(ctx context.Context, tx account.Tx) error {
		return tx.InsertAccount(ctx, account.Account{ID: 101, AuthID: "SA_CCCCCCCC", Parent: "MA_NOBODY00", Name: "orphan", CreatedAt: birth, UpdatedAt: birth}, "x")
	})
	s.fails(t, account.ErrNotFound, func(ctx context.Context, tx account.Tx) error {
		return tx.UpdateAccount(ctx, account.Account{}, account.Account{AuthID: "MA_NOBODY00"})
	})
	s.fails(t, account.ErrNotFound, func(ctx context.Context, tx account.Tx) error {
		return tx.DeleteAccount(ctx, account.Account{AuthID: "MA_NOBODY00"})
	})
}

func tokens(t *testing.T, s *suite) {
	a := s.account(t, "MA_AAAAAAAA", "")
	is := func(token string) {
		t.Helper()
		login, err := s.Login(t.Context(), a.AuthID)
		if err != nil || login.Account != a || login.TokenHash != s.keys.HashToken(token) {
			t.Errorf("login is %+v, %v", login, err)
		}
		if got, err := s.Token(t.Context(), a.AuthID); err != nil || got != token {
			t.Errorf("token is %q, %v, want %q", got, err, token)
		}
	}
	is("token of MA_AAAAAAAA")
	s.do(t, func(ctx context.Context, tx account.Tx) error { return tx.SetToken(ctx, a.AuthID, "another") })
	is("another")
	s.fails(t, account.ErrNotFound, func(ctx context.Context, tx account.Tx) error { return tx.SetToken(ctx, "MA_NOBODY00", "x") })
	if _, err := s.Login(t.Context(), "MA_NOBODY00"); !errors.Is(err, account.ErrNotFound) {
		t.Errorf("login of nobody: %v", err)
	}
	if _, err := s.Token(t.Context(), "MA_NOBODY00"); !errors.Is(err, account.ErrNotFound) {
		t.Errorf("token of nobody: %v", err)
	}
}

func applications(t *testing.T, s *suite) {
	main := s.account(t, "MA_AAAAAAAA", "")
	a := s.application(t, "12345678901234500", main.AuthID)
	b := s.application(t, "12345678901234600", main.AuthID)
	if got, err := s.Application(t.Context(), a.ID); err != nil || got != a {
		t.Errorf("application is %+v, %v", got, err)
	}
	got, err := s.Applications(t.Context(), []string{b.ID, "11111111111111100", a.ID, a.ID})
	if want := map[string]account.Application{a.ID: a, b.ID: b}; err != nil || !maps.Equal(got, want) {
		t.Errorf("applications are %+v, %v", got, err)
	}
	if got, err := s.Applications(t.Context(), nil); err != nil || len(got) != 0 {
		t.Errorf("no applications are %+v, %v", got, err)
	}
	again := a
	again.Name = "another name"
	s.fails(t, account.ErrDuplicate, func(ctx context.Context, tx account.Tx) error { return tx.InsertApplication(ctx, again) })
	s.fails(t, account.ErrNotFound, func(ctx context.Context, tx account.Tx) error {
		return tx.InsertApplication(ctx, account.Application{ID: "22222222222222200", Owner: "MA_NOBODY00"})
	})
}

func endpointRoundTrip(t *testing.T, s *suite) {
	main := s.account(t, "MA_AAAAAAAA", "")
	sub := s.account(t, "SA_BBBBBBBB", main.AuthID)
	app := s.application(t, "12345678901234500", main.AuthID)
	full := endpoint(sub, 1, "Full_Of_It")
	full.Alias, full.Application, full.MaxContacts, full.ExpiresAt = "Jane's Mobile", app.ID, 20, birth.AddDate(0, 1, 0)
	full.Allow = account.Permissions{Voice: true, Message: true, Video: true, SameDomain: true, OtherDomains: true, Phones: true, Apps: true}
	for i := range full.Secret.SHA256 {
		full.Secret.SHA256[i] = byte(i)
	}
	bare := endpoint(main, 2, "bare")
	full.Limits = account.Limits{ConcurrentCalls: 1, NumberPrefixes: "+4930"}
	bare.Allow, bare.MaxContacts = account.Permissions{}, 1
	bare.Secret = account.Secret{MD5: full.Secret.MD5}
	s.insert(t, full, bare)
	s.has(t, full)
	s.has(t, bare)
	// Each permission is kept for itself.
	for i, p := range []account.Permissions{{Voice: true}, {Message: true}, {Video: true}, {SameDomain: true}, {OtherDomains: true}, {Phones: true}, {Apps: true}} {
		e := endpoint(main, 10+i, "p"+string(rune('a'+i)))
		e.Allow = p
		s.insert(t, e)
		s.has(t, e)
	}
}

func manyEndpoints(t *testing.T, s *suite) {
	main := s.account(t, "MA_AAAAAAAA", "")
	app := s.application(t, "12345678901234500", main.AuthID)
	var want []account.Endpoint
	for n := range account.MaxBulk + 1 {
		e := endpoint(main, n, "User"+strconv.Itoa(n))
		if n%2 == 0 {
			e.Application, e.ExpiresAt = app.ID, birth.AddDate(1, 0, n)
		}
		want = append(want, e)
	}
	var told []account.Endpoint
	s.Subscribe(func(c account.Change) { told = append(told, c.After) })
	s.do(t, func(ctx context.Context, tx account.Tx) error { return tx.InsertEndpoints(ctx, want) })
	var got []account.Endpoint
	err := s.EachEndpoint(t.Context(), func(e account.Endpoint) error { got = append(got, e); return nil })
	if err != nil || !slices.Equal(got, want) || !slices.Equal(told, want) {
		t.Errorf("%d are there, %d were told, want %d; %v", len(got), len(told), len(want), err)
	}
}

// overlaps: a secret before the present one is kept until its time is over, and
// what happens to it is told.
func overlaps(t *testing.T, s *suite, before account.Endpoint) {
	var told []account.Change
	s.Subscribe(func(c account.Change) { told = append(told, c) })
	rotated := before
	rotated.Previous, rotated.PreviousUntil, rotated.Secret.MD5 = before.Secret, birth.Add(time.Hour), [16]byte{7}
	next := func(want time.Time) {
		t.Helper()
		if got, err := s.NextOverlapEnd(t.Context()); err != nil || !got.Equal(want) {
			t.Errorf("next is %v, %v", got, err)
		}
	}
	next(time.Time{})
	s.do(t, func(ctx context.Context, tx account.Tx) error { return tx.UpdateEndpoint(ctx, before, rotated) })
	s.has(t, rotated)
	next(rotated.PreviousUntil)
	s.do(t, func(ctx context.Context, tx account.Tx) error {
		for after, want := range map[time.Duration]int{time.Hour - time.Second: 0, time.Hour: 1} {
			if all, err := tx.OverlapsEnded(ctx, birth.Add(after), 10); err != nil || len(all) != want {
				t.Errorf("after %v: %v, %v", after, all, err)
			}
		}
		ended := rotated
		ended.Previous, ended.PreviousUntil = account.Secret{}, time.Time{}
		return errors.Join(tx.UpdateEndpoint(ctx, rotated, ended), tx.UpdateEndpoint(ctx, ended, before))
	})
	next(time.Time{})
	s.has(t, before)
	if len(told) != 3 || !told[0].Rotated || told[0].SecretChanged || told[0].OverlapEnded || !told[1].OverlapEnded || told[1].Rotated || told[1].SecretChanged ||
		!told[2].SecretChanged || told[2].Rotated || told[2].OverlapEnded {
		t.Errorf("told %+v", told)
	}
}

func endpointChanges(t *testing.T, s *suite) {
	main := s.account(t, "MA_AAAAAAAA", "")
	app := s.application(t, "12345678901234500", main.AuthID)
	before, other := endpoint(main, 1, "alice"), endpoint(main, 2, "bob")
	s.insert(t, before, other)
	after := before
	after.Alias, after.Application, after.MaxContacts, after.ExpiresAt = "new", app.ID, 3, birth.AddDate(1, 0, 0)
	after.Limits = account.Limits{CallsPerSecond: 5, MaxDuration: 60}
	after.Allow.Voice, after.Allow.Message, after.Allow.Video = false, true, true
	after.Secret, after.UpdatedAt = account.Secret{MD5: [16]byte{9}}, birth.Add(time.Hour)
	s.do(t, func(ctx context.Context, tx account.Tx) error {
		if err := tx.UpdateEndpoint(ctx, before, after); err != nil {
			return err
		}
		if got, err := tx.Endpoint(ctx, before.ID); err != nil || got != after {
			t.Errorf("the transaction sees %+v, %v", got, err)
		}
		return nil
	})
	s.has(t, after)
	s.has(t, other)
	s.do(t, func(ctx context.Context, tx account.Tx) error { return tx.UpdateEndpoint(ctx, after, before) })
	s.has(t, before) // application and expiry are taken off again
	overlaps(t, s, before)
	s.do(t, func(ctx context.Context, tx account.Tx) error { return tx.DeleteEndpoint(ctx, before) })
	s.lacks(t, before.ID)
	s.has(t, other)
	again := endpoint(main, 3, "Alice")
	s.insert(t, again) // the name is free
	s.has(t, again)
}

func uniqueness(t *testing.T, s *suite) {
	a, b := s.account(t, "MA_AAAAAAAA", ""), s.account(t, "MA_BBBBBBBB", "")
	alice := endpoint(a, 1, "Alice")
	s.insert(t, alice)
	elsewhere := endpoint(b, 2, "alice")
	elsewhere.Domain = "other.test"
	s.insert(t, elsewhere) // another domain is another name
	err := s.Update(t.Context(), insertion(endpoint(b, 3, "aLICE")))
	var conflict *account.Conflict
	if !errors.As(err, &conflict) || conflict.Username != "aLICE" {
		t.Errorf("a name taken by another account, in another case: %v", err)
	}
	s.fails(t, account.ErrDuplicate, insertion(endpoint(b, 1, "carol")))
	err = s.Update(t.Context(), func(ctx context.Context, tx account.Tx) error {
		return tx.InsertEndpoints(ctx, []account.Endpoint{endpoint(b, 3, "dave"), endpoint(b, 4, "ALICE")})
	})
	if conflict = nil; !errors.As(err, &conflict) {
		t.Errorf("one of many is taken: %v", err)
	}
	s.has(t, alice)
	s.lacks(t, 100_000_000_000_003)
}

func unknown(t *testing.T, s *suite) {
	main := s.account(t, "MA_AAAAAAAA", "")
	ghost := endpoint(main, 1, "ghost")
	s.lacks(t, ghost.ID)
	s.fails(t, account.ErrNotFound, func(ctx context.Context, tx account.Tx) error { return tx.UpdateEndpoint(ctx, ghost, ghost) })
	s.fails(t, account.ErrNotFound, func(ctx context.Context, tx account.Tx) error { return tx.DeleteEndpoint(ctx, ghost) })
	s.fails(t, account.ErrNotFound, func(ctx context.Context, tx account.Tx) error { _, err := tx.Endpoint(ctx, ghost.ID); return err })
	s.fails(t, account.ErrNotFound, insertion(endpoint(account.Account{AuthID: "MA_NOBODY00"}, 2, "orphan")))
	if _, err := s.Account(t.Context(), "MA_NOBODY00"); !errors.Is(err, account.ErrNotFound) {
		t.Errorf("account: %v", err)
	}
	if _, err := s.Application(t.Context(), "1"); !errors.Is(err, account.ErrNotFound) {
		t.Errorf("application: %v", err)
	}
	// What no text column can hold is not found like anything else.
	for _, name := range []string{"\x00", "\xff", "MA_AAAAAAAA\x00"} {
		if _, err := s.Account(t.Context(), name); !errors.Is(err, account.ErrNotFound) {
			t.Errorf("account %q: %v", name, err)
		}
		if _, err := s.EndpointNamed(t.Context(), name, name); !errors.Is(err, account.ErrNotFound) {
			t.Errorf("endpoint %q: %v", name, err)
		}
		if _, err := s.Login(t.Context(), name); !errors.Is(err, account.ErrNotFound) {
			t.Errorf("login of %q: %v", name, err)
		}
		if got, err := s.Applications(t.Context(), []string{name}); err != nil || len(got) != 0 {
			t.Errorf("applications %q: %v, %v", name, got, err)
		}
		for _, m := range []account.Match{{Exact: account.Some(name)}, {Contains: account.Some(name)}, {StartsWith: account.Some(name)}} {
			if _, total, err := s.ApplicationPage(t.Context(), main.AuthID, account.ApplicationQuery{Limit: 1, Name: m}); total != 0 || err != nil {
				t.Errorf("list of applications with %+v: %d, %v", m, total, err)
			}
			if _, total := s.names(t, main.AuthID, account.EndpointQuery{Limit: 1, Username: m}); total != 0 {
				t.Errorf("list of endpoints with %+v: %d", m, total)
			}
		}
	}
}

func takenUsernames(t *testing.T, s *suite) {
	main := s.account(t, "MA_AAAAAAAA", "")
	s.insert(t, endpoint(main, 1, "Alice"), endpoint(main, 2, "bob"))
	if e, err := s.EndpointNamed(t.Context(), "sip.test", "Alice"); err != nil || e != endpoint(main, 1, "Alice") {
		t.Errorf("Alice is %+v, %v", e, err)
	}
	for domain, name := range map[string]string{"sip.test": "alice", "other.test": "Alice"} {
		if _, err := s.EndpointNamed(t.Context(), domain, name); !errors.Is(err, account.ErrNotFound) {
			t.Errorf("%s in %s: %v", name, domain, err)
		}
	}
	got, err := s.TakenUsernames(t.Context(), "sip.test", []string{"alice", "bob", "carol", "it's \"odd\""})
	if want := map[string]bool{"alice": true, "bob": true}; err != nil || !maps.Equal(got, want) {
		t.Errorf("taken are %v, %v", got, err)
	}
	for domain, names := range map[string][]string{"other.test": {"alice"}, "sip.test": nil} {
		if got, err := s.TakenUsernames(t.Context(), domain, names); err != nil || len(got) != 0 {
			t.Errorf("of %v in %s are taken %v, %v", names, domain, got, err)
		}
	}
}

// usesOfKeys: the latest counts, whoever stores it, and it is no change.
func usesOfKeys(t *testing.T, s *suite) {
	main, sub := s.account(t, "MA_AAAAAAAA", ""), s.account(t, "SA_BBBBBBBB", "MA_AAAAAAAA")
	s.SubscribeAccounts(func(c account.AccountChange) { t.Errorf("told: %+v", c) })
	for _, minutes := range []time.Duration{5, 7, 6} {
		at := map[string]time.Time{sub.AuthID: birth.Add(minutes * time.Minute), "SA_NOBODY00": birth}
		if err := s.SaveUses(t.Context(), at); err != nil {
			t.Fatal(err)
		}
	}
	sub.LastUsed = birth.Add(7 * time.Minute)
	for _, want := range []account.Account{main, sub} {
		if got, err := s.Account(t.Context(), want.AuthID); err != nil || got != want {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	}
}
