package account_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"onhook/internal/account"
)

func TestSubAccountChanges(t *testing.T) {
	w := newWorld(t)
	text := account.Some[string]
	var told []account.AccountChange
	w.SubscribeAccounts(func(c account.AccountChange) { told = append(told, c) })
	w.now = w.now.Add(time.Minute)
	after, err := w.UpdateSubAccount(t.Context(), w.main, w.sub.AuthID, account.SubAccountSpec{Name: text("new"), Email: text("a@b"), Phone: text("1"),
		Description: text("d"), Permissions: text(`{"a":1}`), RateLimit: account.Some(3), Enabled: account.Some(false)})
	want := w.sub
	want.Name, want.Email, want.Phone, want.Description, want.Permissions, want.RateLimit, want.Enabled = "new", "a@b", "1", "d", `{"a":1}`, 3, false
	want.UpdatedAt = w.sub.UpdatedAt.Add(time.Minute)
	if err != nil || after != want {
		t.Errorf("sub-account is\n%+v, %v, want\n%+v", after, err, want)
	}
	for _, id := range []string{w.sub.AuthID, fmt.Sprint(w.sub.ID)} {
		if got, err := w.SubAccount(t.Context(), w.main, id); err != nil || got != after {
			t.Errorf("%s: %+v, %v", id, got, err)
		}
	}
	if _, err := w.Authenticate(t.Context(), w.sub.AuthID, w.token[w.sub.AuthID]); !errors.Is(err, account.ErrUnauthorized) {
		t.Errorf("a disabled one's key: %v", err)
	}
	if _, err := w.UpdateSubAccount(t.Context(), w.main, w.sub.AuthID, account.SubAccountSpec{}); err != nil {
		t.Errorf("an empty update: %v", err)
	}
	if wanted := []account.AccountChange{{Before: w.sub, After: after}}; !slices.Equal(told, wanted) {
		t.Errorf("told\n%+v, want\n%+v", told, wanted)
	}
	_, err = w.UpdateSubAccount(t.Context(), w.main, w.sub.AuthID, account.SubAccountSpec{Name: account.Null[string](), Email: text("a\nb@c"), Phone: text(strings.Repeat("1", 33)),
		Description: text(strings.Repeat("ä", 1001)), Permissions: text(strings.Repeat(" ", 4097)), RateLimit: account.Some(-1), Enabled: account.Null[bool]()})
	complains(t, "every bad field", err, "name", "email", "phone", "description", "permissions", "rate_limit", "enabled")
}

func TestSubAccountsAreTheirParents(t *testing.T) {
	w := newWorld(t)
	number := fmt.Sprint(w.sub.ID)
	for what, c := range map[string]struct {
		scope account.Account
		id    string
		want  error
	}{
		"a stranger":           {w.other, w.sub.AuthID, account.ErrNotFound},
		"a stranger by number": {w.other, number, account.ErrNotFound},
		"unknown":              {w.main, "SA_00000000", account.ErrNotFound},
		"unknown number":       {w.main, "1", account.ErrNotFound},
		"a main account":       {w.main, w.other.AuthID, account.ErrNotFound},
		"itself":               {w.main, w.main.AuthID, account.ErrNotFound},
		"a sub-account":        {w.sub, w.sub.AuthID, account.ErrMainOnly},
	} {
		_, get := w.SubAccount(t.Context(), c.scope, c.id)
		_, set := w.UpdateSubAccount(t.Context(), c.scope, c.id, named("x"))
		for _, err := range []error{get, set, w.DeleteSubAccount(t.Context(), c.scope, c.id, true)} {
			if !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", what, err, c.want)
			}
		}
	}
	if _, _, err := w.SubAccounts(t.Context(), w.sub, account.SubAccountQuery{Limit: 1}); !errors.Is(err, account.ErrMainOnly) {
		t.Errorf("a sub-account lists: %v", err)
	}
	if page, total, err := w.SubAccounts(t.Context(), w.main, account.SubAccountQuery{Limit: 9}); err != nil || total != 1 || !slices.Equal(page, []account.Account{w.sub}) {
		t.Errorf("%+v, %d, %v", page, total, err)
	}
}

func TestDeleteSubAccount(t *testing.T) {
	w := newWorld(t)
	mains, subs := w.create(t, w.main, spec("mains")), w.create(t, w.sub, spec("subs"))
	app := w.app(t, w.sub, appSpec("subs"))
	if err := w.DeleteSubAccount(t.Context(), w.main, w.sub.AuthID, false); !errors.Is(err, account.ErrNotEmpty) {
		t.Errorf("with endpoints: %v", err)
	}
	if _, err := w.Application(t.Context(), w.main, app.ID); err != nil {
		t.Errorf("a refused deletion took the application: %v", err)
	}
	var deleted []account.EndpointID
	w.Subscribe(func(c account.Change) { deleted = append(deleted, c.Before.ID) })
	if err := w.DeleteSubAccount(t.Context(), w.main, w.sub.AuthID, true); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(deleted, []account.EndpointID{subs.ID}) {
		t.Errorf("told of %v", deleted)
	}
	_, e := w.Endpoint(t.Context(), w.main, subs.ID)
	_, a := w.Application(t.Context(), w.main, app.ID)
	_, s := w.SubAccount(t.Context(), w.main, w.sub.AuthID)
	for _, err := range []error{e, a, s} {
		if !errors.Is(err, account.ErrNotFound) {
			t.Errorf("after the deletion: %v", err)
		}
	}
	if _, err := w.Endpoint(t.Context(), w.main, mains.ID); err != nil {
		t.Errorf("the main account's endpoint: %v", err)
	}
}

// A key's use is seen at once, stored once in a minute, and not lost when the
// store has no room for it.
func TestLastUsed(t *testing.T) {
	w := newWorld(t)
	w.now = w.now.Truncate(time.Second) // as times are kept
	use := func() {
		t.Helper()
		if _, err := w.Authenticate(t.Context(), w.sub.AuthID, w.token[w.sub.AuthID]); err != nil {
			t.Fatal(err)
		}
	}
	seen := func(want time.Time) {
		t.Helper()
		one, err := w.SubAccount(t.Context(), w.main, w.sub.AuthID)
		list, _, errList := w.SubAccounts(t.Context(), w.main, account.SubAccountQuery{Limit: 1})
		if err := errors.Join(err, errList); err != nil || !one.LastUsed.Equal(want) || !list[0].LastUsed.Equal(want) {
			t.Errorf("used %v, in the list %v, %v, want %v", one.LastUsed, list[0].LastUsed, err, want)
		}
	}
	stored := func(want time.Time) {
		t.Helper()
		if a, err := w.store.Account(t.Context(), w.sub.AuthID); err != nil || !a.LastUsed.Equal(want) {
			t.Errorf("stored is %v, %v, want %v", a.LastUsed, err, want)
		}
	}
	seen(time.Time{})
	first := w.now
	use()
	seen(first)
	stored(time.Time{})
	w.now = w.now.Add(59 * time.Second)
	use()
	seen(first)
	if err := w.SaveUses(t.Context()); err != nil {
		t.Fatal(err)
	}
	stored(first)
	use()
	seen(first)
	w.now = first.Add(time.Minute)
	use()
	seen(w.now)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.SaveUses(ended); err == nil {
		t.Error("saved nowhere")
	}
	stored(first)
	if err := w.SaveUses(t.Context()); err != nil {
		t.Fatal(err)
	}
	stored(w.now)
	if _, err := w.Authenticate(t.Context(), w.sub.AuthID, "wrong"); err == nil {
		t.Error("a wrong token works")
	}
	seen(w.now)
}
