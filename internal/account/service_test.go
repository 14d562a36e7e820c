package account_test

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"onhook/internal/account"
	"onhook/internal/storesqlite"
)

// world is a service on a real store, with a clock of its own.
type world struct {
	*account.Service
	store account.Store
	now   time.Time
	main  account.Account
	sub   account.Account // of main
	other account.Account // a stranger
	token map[string]string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	keys, err := account.NewKeys(slices.Repeat([]byte{1}, account.KeyLen))
	if err != nil {
		t.Fatal(err)
	}
	store, err := storesqlite.Open(t.Context(), filepath.Join(t.TempDir(), "db"), keys)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	w := &world{store: store, now: time.Date(2026, 3, 4, 5, 6, 7, 890, time.UTC), token: map[string]string{}}
	w.Service = account.NewService(store, []string{"SIP.test", "second.test"}, keys, func() time.Time { return w.now })
	keep := func(a account.Account, token string, err error) account.Account {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		w.token[a.AuthID] = token
		return a
	}
	w.main = keep(w.CreateAccount(t.Context(), "main"))
	w.sub = keep(w.CreateSubAccount(t.Context(), w.main, named("sub")))
	w.other = keep(w.CreateAccount(t.Context(), "other"))
	return w
}

func (w *world) application(t *testing.T, id string, owner account.Account) {
	t.Helper()
	err := w.store.Update(t.Context(), func(ctx context.Context, tx account.Tx) error {
		return tx.InsertApplication(ctx, account.Application{ID: id, Owner: owner.AuthID, Name: "app " + id, AnswerURL: "https://example.org/", AnswerMethod: "POST"})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) enable(t *testing.T, a account.Account, enabled bool) {
	t.Helper()
	before := a
	a.Enabled = enabled
	if err := w.store.Update(t.Context(), func(ctx context.Context, tx account.Tx) error { return tx.UpdateAccount(ctx, before, a) }); err != nil {
		t.Fatal(err)
	}
}

func named(name string) account.SubAccountSpec {
	return account.SubAccountSpec{Name: account.Some(name)}
}

// spec asks for an endpoint with nothing but what is required.
func spec(username string) account.EndpointSpec {
	return account.EndpointSpec{Username: account.Some(username), Password: account.Some("correct horse")}
}

func (w *world) create(t *testing.T, owner account.Account, s account.EndpointSpec) account.Endpoint {
	t.Helper()
	e, err := w.CreateEndpoint(t.Context(), owner, s)
	if err != nil {
		t.Fatalf("create %s: %v", s.Username.Value, err)
	}
	return e
}

// complains fails the test unless err names exactly these fields.
func complains(t *testing.T, what string, err error, want ...string) {
	t.Helper()
	var invalid *account.Invalid
	if !errors.As(err, &invalid) {
		t.Errorf("%s: %v, want complaints about %v", what, err, want)
		return
	}
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(invalid.Fields)); !slices.Equal(got, want) {
		t.Errorf("%s: complaints about %v, want %v", what, invalid.Fields, want)
	}
}

func TestAccountsHaveIdentifiersAndTokens(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		a    account.Account
		form string
	}{{w.main, `^MA_[A-Z0-9]{8}$`}, {w.sub, `^SA_[A-Z0-9]{8}$`}} {
		if !regexp.MustCompile(c.form).MatchString(c.a.AuthID) {
			t.Errorf("auth_id is %s", c.a.AuthID)
		}
		if token := w.token[c.a.AuthID]; !regexp.MustCompile(`^[A-Za-z0-9]{40}$`).MatchString(token) {
			t.Errorf("token is %s", token)
		}
		if !c.a.Enabled || !c.a.CreatedAt.Equal(w.now.Truncate(time.Second)) {
			t.Errorf("account is %+v", c.a)
		}
	}
	if w.sub.Main() != w.main.AuthID || w.main.Main() != w.main.AuthID {
		t.Errorf("the main account of %+v is %s", w.sub, w.sub.Main())
	}
	if _, _, err := w.CreateSubAccount(t.Context(), w.sub, named("of a sub-account")); err == nil {
		t.Error("a sub-account has a sub-account")
	}
	for _, name := range []string{"", "a\nb", "\xff", string(make([]rune, 101))} {
		_, _, err := w.CreateAccount(t.Context(), name)
		complains(t, "name", err, "name")
	}
	all, err := w.Accounts(t.Context())
	if want := []account.Account{w.main, w.sub, w.other}; err != nil || !slices.Equal(all, want) {
		t.Errorf("accounts are %+v, %v", all, err)
	}
}

func TestAuthenticate(t *testing.T) {
	w := newWorld(t)
	try := func(authID, token string, want bool) {
		t.Helper()
		a, err := w.Authenticate(t.Context(), authID, token)
		if want && (err != nil || a.AuthID != authID) || !want && (!errors.Is(err, account.ErrUnauthorized) || a != account.Account{}) {
			t.Errorf("%s: %+v, %v, want %v", authID, a, err, want)
		}
	}
	main, sub := w.token[w.main.AuthID], w.token[w.sub.AuthID]
	try(w.main.AuthID, main, true)
	try(w.sub.AuthID, sub, true)
	try(w.main.AuthID, sub, false)
	try(w.main.AuthID, main[:39], false)
	try(w.main.AuthID, "", false)
	try("MA_00000000", main, false)
	try("", "", false)

	rotated, err := w.RotateToken(t.Context(), w.main.AuthID)
	if err != nil || rotated == main {
		t.Fatal(rotated, err)
	}
	try(w.main.AuthID, main, false)
	try(w.main.AuthID, rotated, true)
	if _, err := w.RotateToken(t.Context(), "MA_00000000"); !errors.Is(err, account.ErrNotFound) {
		t.Errorf("rotate nobody's: %v", err)
	}

	w.enable(t, w.sub, false)
	try(w.sub.AuthID, sub, false)
	w.enable(t, w.sub, true)
	try(w.sub.AuthID, sub, true)
	w.enable(t, w.main, false) // takes its sub-accounts along
	try(w.main.AuthID, rotated, false)
	try(w.sub.AuthID, sub, false)
}

func TestScope(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		caller account.Account
		path   string
		ok     bool
	}{
		{w.main, w.main.AuthID, true},
		{w.main, w.sub.AuthID, true},
		{w.main, w.other.AuthID, false},
		{w.main, "MA_00000000", false},
		{w.sub, w.sub.AuthID, true},
		{w.sub, w.main.AuthID, false},
		{w.other, w.sub.AuthID, false},
	} {
		a, err := w.Scope(t.Context(), c.caller, c.path)
		if c.ok && (err != nil || a.AuthID != c.path) || !c.ok && !errors.Is(err, account.ErrNotFound) {
			t.Errorf("%s on the path of %s: %+v, %v", c.caller.AuthID, c.path, a, err)
		}
	}
}

func TestOwnership(t *testing.T) {
	w := newWorld(t)
	mains := w.create(t, w.main, spec("mains"))
	toSub := spec("subs")
	toSub.SubAccount = account.Some(w.sub.AuthID)
	subs := w.create(t, w.main, toSub)
	if subs.Owner != w.sub.AuthID || subs.Main != w.main.AuthID || mains.Owner != w.main.AuthID {
		t.Errorf("owners are %+v and %+v", mains, subs)
	}
	own := w.create(t, w.sub, spec("own"))
	if own.Owner != w.sub.AuthID || own.Main != w.main.AuthID {
		t.Errorf("owner is %+v", own)
	}
	self := spec("self")
	self.SubAccount = account.Some(w.sub.AuthID) // on its own path
	w.create(t, w.sub, self)
	for _, c := range []struct {
		scope account.Account
		e     account.Endpoint
		ok    bool
	}{
		{w.main, mains, true}, {w.main, subs, true}, {w.main, own, true},
		{w.sub, subs, true}, {w.sub, own, true}, {w.sub, mains, false},
		{w.other, mains, false}, {w.other, subs, false},
	} {
		want := error(nil)
		if !c.ok {
			want = account.ErrNotFound
		}
		if _, err := w.Endpoint(t.Context(), c.scope, c.e.ID); !errors.Is(err, want) {
			t.Errorf("%s reads %s: %v", c.scope.Name, c.e.Username, err)
		}
		patch := account.EndpointPatch{Alias: account.Some("by " + c.scope.Name)}
		if _, err := w.UpdateEndpoint(t.Context(), c.scope, c.e.ID, patch); !errors.Is(err, want) {
			t.Errorf("%s changes %s: %v", c.scope.Name, c.e.Username, err)
		}
		if !c.ok {
			if err := w.DeleteEndpoint(t.Context(), c.scope, c.e.ID); !errors.Is(err, want) {
				t.Errorf("%s deletes %s: %v", c.scope.Name, c.e.Username, err)
			}
		}
	}
	for _, c := range []struct {
		scope      account.Account
		subAccount account.Optional[string]
		want       []string
	}{
		{w.main, account.Optional[string]{}, []string{"mains"}},
		{w.main, account.Some(w.sub.AuthID), []string{"self", "own", "subs"}},
		{w.main, account.Some(w.other.AuthID), nil},
		{w.main, account.Some(w.main.AuthID), nil},
		{w.main, account.Some("SA_00000000"), nil},
		{w.sub, account.Optional[string]{}, []string{"self", "own", "subs"}},
		{w.sub, account.Some(w.sub.AuthID), []string{"self", "own", "subs"}},
		{w.sub, account.Some(w.main.AuthID), nil},
		{w.other, account.Some(w.sub.AuthID), nil},
	} {
		page, total, err := w.Endpoints(t.Context(), c.scope, account.EndpointQuery{Limit: 20, SubAccount: c.subAccount})
		var names []string
		for _, e := range page {
			names = append(names, e.Username)
		}
		if err != nil || !slices.Equal(names, c.want) || total != len(c.want) {
			t.Errorf("%s with sub_account %q lists %v, total %d, %v", c.scope.Name, c.subAccount.Value, names, total, err)
		}
	}
	if err := w.DeleteEndpoint(t.Context(), w.main, subs.ID); err != nil {
		t.Errorf("the main account deletes a sub-account's: %v", err)
	}
}

func TestListRules(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		q    account.EndpointQuery
		want []string
	}{
		{account.EndpointQuery{Limit: 0}, []string{"limit"}},
		{account.EndpointQuery{Limit: 101}, []string{"limit"}},
		{account.EndpointQuery{Limit: -1, Offset: -1}, []string{"limit", "offset"}},
		{account.EndpointQuery{Limit: 0, Malformed: map[string]string{"nonsense": "unknown"}}, []string{"limit", "nonsense"}},
	} {
		_, _, err := w.Endpoints(t.Context(), w.main, c.q)
		complains(t, "list", err, c.want...)
	}
	if _, _, err := w.Endpoints(t.Context(), w.main, account.EndpointQuery{Limit: 100, Offset: 1 << 40}); err != nil {
		t.Errorf("far beyond the end: %v", err)
	}
	w.application(t, "12345678901234500", w.main)
	s := spec("alice")
	s.Application = account.Some("12345678901234500")
	w.create(t, w.main, s)
	for app, want := range map[string]int{"12345678901234500": 1, "/v1/Account/X/Application/12345678901234500/": 1, "1": 0, "x": 0, "": 0} {
		_, total, err := w.Endpoints(t.Context(), w.main, account.EndpointQuery{Limit: 1, Application: account.Some(app)})
		if err != nil || total != want {
			t.Errorf("with application %q: %d, %v", app, total, err)
		}
	}
}
