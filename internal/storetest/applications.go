package storetest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"onhook/internal/account"
)

func applicationChanges(t *testing.T, s *suite) {
	var told []account.ApplicationChange
	s.SubscribeApplications(func(c account.ApplicationChange) { told = append(told, c) })
	main, other := s.account(t, "MA_AAAAAAAA", ""), s.account(t, "MA_BBBBBBBB", "")
	a := s.application(t, "12345678901234500", main.AuthID)
	b := s.application(t, "12345678901234600", main.AuthID)
	a.Name, a.AnswerURL, a.AnswerMethod = "Renamed", "https://example.org/answer", "GET"
	a.FallbackURL, a.FallbackMethod = "https://example.org/fallback", "GET"
	a.HangupURL, a.HangupMethod = "https://example.org/hangup", "POST"
	a.MessageURL, a.MessageMethod = "https://example.org/message", "GET"
	a.TransferURL, a.TransferMethod = "https://example.org/transfer", "POST"
	a.LogMessages, a.Enabled, a.UpdatedAt = true, true, birth.Add(time.Hour)
	s.do(t, func(ctx context.Context, tx account.Tx) error { return tx.UpdateApplication(ctx, a) })
	for _, want := range []account.Application{a, b} {
		if got, err := s.Application(t.Context(), want.ID); err != nil || got != want {
			t.Errorf("application is\n%+v, %v, want\n%+v", got, err, want)
		}
	}
	taken := b
	taken.Name = a.Name
	s.fails(t, account.ErrNameTaken, func(ctx context.Context, tx account.Tx) error { return tx.UpdateApplication(ctx, taken) })
	taken.ID = "12345678901234700"
	s.fails(t, account.ErrNameTaken, func(ctx context.Context, tx account.Tx) error { return tx.InsertApplication(ctx, taken) })
	taken.Owner = other.AuthID // another owner's names are its own
	s.do(t, func(ctx context.Context, tx account.Tx) error { return tx.InsertApplication(ctx, taken) })
	s.do(t, func(ctx context.Context, tx account.Tx) error {
		all, err := tx.ApplicationsOf(ctx, main.AuthID)
		if !slices.Equal(all, []account.Application{a, b}) {
			t.Errorf("applications are %+v", all)
		}
		return errors.Join(err, tx.DeleteApplication(ctx, a.ID))
	})
	if _, err := s.Application(t.Context(), a.ID); !errors.Is(err, account.ErrNotFound) {
		t.Errorf("a deleted one: %v", err)
	}
	s.fails(t, account.ErrNotFound, func(ctx context.Context, tx account.Tx) error { return tx.DeleteApplication(ctx, a.ID) })
	s.fails(t, account.ErrNotFound, func(ctx context.Context, tx account.Tx) error { return tx.UpdateApplication(ctx, a) })
	if want := []account.ApplicationChange{{ID: a.ID}, {ID: b.ID}, {ID: taken.ID}, {ID: a.ID, Gone: true}}; !slices.Equal(told, want) {
		t.Errorf("%+v was told, want %+v", told, want)
	}
	ids, err := s.ApplicationIDs(t.Context())
	if slices.Sort(ids); err != nil || !slices.Equal(ids, []string{b.ID, taken.ID}) {
		t.Errorf("applications are %v, %v", ids, err)
	}
}

func defaultApplications(t *testing.T, s *suite) {
	main, other := s.account(t, "MA_AAAAAAAA", ""), s.account(t, "MA_BBBBBBBB", "")
	a := s.application(t, "12345678901234500", main.AuthID)
	is := func(owner account.Account, want string) {
		t.Helper()
		got, err := s.DefaultApplication(t.Context(), owner.AuthID)
		if got.ID != want || (want == "") != errors.Is(err, account.ErrNotFound) {
			t.Errorf("the default of %s is %+v, %v, want %s", owner.AuthID, got, err, want)
		}
	}
	is(main, "")
	a.DefaultEndpoint, a.DefaultNumber = true, true
	s.do(t, func(ctx context.Context, tx account.Tx) error { return tx.UpdateApplication(ctx, a) })
	is(main, a.ID)
	is(other, "")
	b := account.Application{ID: "12345678901234600", Owner: main.AuthID, Name: "b", DefaultEndpoint: true, CreatedAt: birth, UpdatedAt: birth}
	s.do(t, func(ctx context.Context, tx account.Tx) error { return tx.InsertApplication(ctx, b) })
	is(main, b.ID)
	a.DefaultEndpoint = false
	if got, err := s.Application(t.Context(), a.ID); err != nil || got != a {
		t.Errorf("the one before is %+v, %v", got, err)
	}
	b.DefaultEndpoint, b.DefaultNumber = false, true
	s.do(t, func(ctx context.Context, tx account.Tx) error { return tx.UpdateApplication(ctx, b) })
	is(main, "")
	if got, err := s.Application(t.Context(), a.ID); err != nil || got.DefaultNumber {
		t.Errorf("the one before is %+v, %v", got, err)
	}
}

func applicationPages(t *testing.T, s *suite) {
	main, other := s.account(t, "MA_AAAAAAAA", ""), s.account(t, "MA_BBBBBBBB", "")
	a := s.application(t, "12345678901234500", main.AuthID)
	b := s.application(t, "12345678901234600", main.AuthID)
	s.application(t, "12345678901234700", other.AuthID)
	for what, c := range map[string]struct {
		q     account.ApplicationQuery
		want  []account.Application
		total int
	}{
		"all":        {account.ApplicationQuery{Limit: 10}, []account.Application{b, a}, 2},
		"a page":     {account.ApplicationQuery{Limit: 1, Offset: 1}, []account.Application{a}, 2},
		"beyond":     {account.ApplicationQuery{Limit: 1, Offset: 2}, nil, 2},
		"exact":      {account.ApplicationQuery{Limit: 9, Name: account.Match{Exact: account.Some(a.Name)}}, []account.Application{a}, 1},
		"other case": {account.ApplicationQuery{Limit: 9, Name: account.Match{Exact: account.Some("app 12345678901234500")}}, nil, 0},
		"contains":   {account.ApplicationQuery{Limit: 9, Name: account.Match{Contains: account.Some("346")}}, []account.Application{b}, 1},
		"is itself":  {account.ApplicationQuery{Limit: 9, Name: account.Match{Contains: account.Some("%")}}, nil, 0},
	} {
		page, total, err := s.ApplicationPage(t.Context(), main.AuthID, c.q)
		if err != nil || total != c.total || !slices.Equal(page, c.want) {
			t.Errorf("%s: %+v, total %d, %v", what, page, total, err)
		}
	}
}

func subAccountPages(t *testing.T, s *suite) {
	main, other := s.account(t, "MA_AAAAAAAA", ""), s.account(t, "MA_BBBBBBBB", "")
	a, b := s.account(t, "SA_AAAAAAAA", main.AuthID), s.account(t, "SA_BBBBBBBB", main.AuthID)
	s.account(t, "SA_CCCCCCCC", other.AuthID)
	off := b
	off.Enabled = false
	s.do(t, func(ctx context.Context, tx account.Tx) error { return tx.UpdateAccount(ctx, b, off) })
	for what, c := range map[string]struct {
		q     account.SubAccountQuery
		want  []account.Account
		total int
	}{
		"all":    {account.SubAccountQuery{Limit: 10}, []account.Account{off, a}, 2},
		"a page": {account.SubAccountQuery{Limit: 1, Offset: 1}, []account.Account{a}, 2},
		"active": {account.SubAccountQuery{Limit: 10, ActiveOnly: true}, []account.Account{a}, 1},
	} {
		page, total, err := s.SubAccounts(t.Context(), main.AuthID, c.q)
		if err != nil || total != c.total || !slices.Equal(page, c.want) {
			t.Errorf("%s: %+v, total %d, %v", what, page, total, err)
		}
	}
}

func accountFeed(t *testing.T, s *suite) {
	var told []account.AccountChange
	s.SubscribeAccounts(func(c account.AccountChange) { told = append(told, c) })
	main := s.account(t, "MA_AAAAAAAA", "")
	sub := s.account(t, "SA_BBBBBBBB", main.AuthID)
	off := sub
	off.Enabled = false
	s.fails(t, errOnPurpose, func(ctx context.Context, tx account.Tx) error {
		return errors.Join(tx.UpdateAccount(ctx, sub, off), errOnPurpose)
	})
	s.do(t, func(ctx context.Context, tx account.Tx) error { return tx.UpdateAccount(ctx, sub, off) })
	s.do(t, func(ctx context.Context, tx account.Tx) error { return tx.DeleteAccount(ctx, off) })
	if want := []account.AccountChange{{After: main}, {After: sub}, {Before: sub, After: off}, {Before: off}}; !slices.Equal(told, want) {
		t.Errorf("told\n%+v, want\n%+v", told, want)
	}
	if _, err := s.Login(t.Context(), sub.AuthID); !errors.Is(err, account.ErrNotFound) {
		t.Errorf("a deleted account: %v", err)
	}
}

func kinds(t *testing.T, s *suite) {
	main, other := s.account(t, "MA_AAAAAAAA", ""), s.account(t, "MA_BBBBBBBB", "")
	app := s.application(t, "12345678901234500", main.AuthID)
	plain, attached, soon, later := endpoint(main, 1, "plain"), endpoint(main, 2, "attached"), endpoint(other, 3, "soon"), endpoint(main, 4, "later")
	attached.Application = app.ID
	if next, err := s.NextExpiry(t.Context()); err != nil || !next.IsZero() {
		t.Errorf("nothing expires: %v, %v", next, err)
	}
	soon.ExpiresAt, later.ExpiresAt = birth.Add(time.Minute), birth.Add(time.Hour)
	s.insert(t, plain, attached, later, soon)
	if next, err := s.NextExpiry(t.Context()); err != nil || !next.Equal(soon.ExpiresAt) {
		t.Errorf("next expires %v, %v", next, err)
	}
	s.do(t, func(ctx context.Context, tx account.Tx) error {
		is := func(what string, want ...account.Endpoint) func([]account.Endpoint, error) {
			return func(got []account.Endpoint, err error) {
				t.Helper()
				if err != nil || !slices.Equal(got, want) {
					t.Errorf("%s: %+v, %v", what, got, err)
				}
			}
		}
		is("of main", plain, attached, later)(tx.EndpointsOf(ctx, main.AuthID, 9))
		is("of main, some", plain)(tx.EndpointsOf(ctx, main.AuthID, 1))
		is("with the application", attached)(tx.EndpointsWith(ctx, app.ID, 9))
		is("before any expires")(tx.ExpiredEndpoints(ctx, birth.Add(59*time.Second), 9))
		is("expired", soon)(tx.ExpiredEndpoints(ctx, birth.Add(time.Minute), 9))
		is("all expired", soon, later)(tx.ExpiredEndpoints(ctx, birth.Add(time.Hour), 9))
		is("the first expired", soon)(tx.ExpiredEndpoints(ctx, birth.Add(time.Hour), 1))
		return nil
	})
}
