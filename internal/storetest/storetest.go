// Package storetest says what an account.Store must do: a suite that every
// store's tests run. It tests no rules; those are the account package's.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"onhook/internal/account"
)

// Opener opens a store on the same data each time.
type Opener func(keys *account.Keys) (account.Store, error)

// Run runs the suite. fresh prepares data that is empty and removed after the
// test.
func Run(t *testing.T, fresh func(t *testing.T) Opener) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, *suite)
	}{
		{"accounts", accounts},
		{"tokens", tokens},
		{"applications", applications},
		{"applications change", applicationChanges},
		{"one application is the default", defaultApplications},
		{"lists of applications", applicationPages},
		{"lists of sub-accounts", subAccountPages},
		{"when keys were used", usesOfKeys},
		{"changes of accounts are told", accountFeed},
		{"endpoints of one kind", kinds},
		{"an endpoint comes back as it was put", endpointRoundTrip},
		{"many endpoints at once", manyEndpoints},
		{"an endpoint changes", endpointChanges},
		{"identifiers and usernames are unique", uniqueness},
		{"what is unknown is not found", unknown},
		{"taken usernames", takenUsernames},
		{"filters", filters},
		{"pages", pages},
		{"lists of registered endpoints", registered},
		{"every endpoint", everyEndpoint},
		{"a failed change leaves nothing", rollback},
		{"a panic leaves nothing", panics},
		{"a change given up is not made", cancelled},
		{"changes are told in order", feed},
		{"changes do not mix", readModifyWrite},
		{"each change has its own outcome", crowd},
		{"lookups follow the changes before them", lookups},
		{"changes wait in the outbox", outbox},
		{"webhooks", webhooks},
		{"changes of webhooks are told", webhookChanges},
		{"answers to requests with a key", answers},
		{"an answer is kept with its change", answersAndChanges},
		{"a request at the same time is done once", answersAtOnce},
		{"data outlives the store", reopen},
		{"another key is refused", wrongKey},
		{"a call record comes back as it was put", recordRoundTrip},
		{"a call has a record for each account", recordsOfTwoAccounts},
		{"filters of call records", recordFilters},
		{"old call records are deleted", recordsAreDeleted},
		{"a trunk comes back as it was put", trunkRoundTrip},
		{"trunks and numbers are unique, and told", trunkChanges},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &suite{open: fresh(t), keys: newKeys(t, 1)}
			s.Store = s.mustOpen(t)
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			c.run(t, s)
		})
	}
}

// suite is one test's store.
type suite struct {
	account.Store
	open Opener
	keys *account.Keys

	accounts int64 // how many were made
}

func newKeys(t *testing.T, seed byte) *account.Keys {
	t.Helper()
	keys, err := account.NewKeys(slices.Repeat([]byte{seed}, account.KeyLen))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func (s *suite) mustOpen(t *testing.T) account.Store {
	t.Helper()
	store, err := s.open(s.keys)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return store
}

// do makes changes that must succeed.
func (s *suite) do(t *testing.T, f func(ctx context.Context, tx account.Tx) error) {
	t.Helper()
	if err := s.Update(t.Context(), f); err != nil {
		t.Fatalf("update: %v", err)
	}
}

// fails makes changes that must fail in a certain way.
func (s *suite) fails(t *testing.T, want error, f func(ctx context.Context, tx account.Tx) error) {
	t.Helper()
	if err := s.Update(t.Context(), f); !errors.Is(err, want) {
		t.Fatalf("update: %v, want %v", err, want)
	}
}

var birth = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func (s *suite) account(t *testing.T, authID, parent string) account.Account {
	t.Helper()
	s.accounts++
	a := account.Account{ID: s.accounts, AuthID: authID, Parent: parent, Name: "of " + authID, Enabled: true, CreatedAt: birth, UpdatedAt: birth}
	s.do(t, func(ctx context.Context, tx account.Tx) error { return tx.InsertAccount(ctx, a, "token of "+authID) })
	return a
}

func (s *suite) application(t *testing.T, id, owner string) account.Application {
	t.Helper()
	a := account.Application{ID: id, Owner: owner, Name: "App " + id, AnswerURL: "https://example.org/" + id, AnswerMethod: "POST",
		CreatedAt: birth, UpdatedAt: birth}
	s.do(t, func(ctx context.Context, tx account.Tx) error { return tx.InsertApplication(ctx, a) })
	return a
}

// endpoint is the n-th endpoint of an owner.
func endpoint(owner account.Account, n int, username string) account.Endpoint {
	e := account.Endpoint{
		ID: account.EndpointID(100_000_000_000_000 + n), Owner: owner.AuthID, Main: owner.Main(), Username: username, Domain: "sip.test",
		Alias: username, Allow: account.Permissions{Voice: true, SameDomain: true}, MaxContacts: 10,
		CreatedAt: birth.Add(time.Duration(n) * time.Second), UpdatedAt: birth.Add(time.Duration(n) * time.Second),
	}
	e.Secret.MD5[0], e.Secret.SHA256[0], e.Secret.HasSHA256 = byte(n), byte(n), true
	return e
}

func (s *suite) insert(t *testing.T, all ...account.Endpoint) {
	t.Helper()
	s.do(t, insertion(all...))
}

func insertion(all ...account.Endpoint) func(context.Context, account.Tx) error {
	return func(ctx context.Context, tx account.Tx) error {
		for _, e := range all {
			if err := tx.InsertEndpoint(ctx, e); err != nil {
				return fmt.Errorf("%s: %w", e.Username, err)
			}
		}
		return nil
	}
}

func (s *suite) has(t *testing.T, want account.Endpoint) {
	t.Helper()
	if got, err := s.Endpoint(t.Context(), want.ID); err != nil || got != want {
		t.Fatalf("endpoint is\n%+v, %v, want\n%+v", got, err, want)
	}
}

func (s *suite) lacks(t *testing.T, id account.EndpointID) {
	t.Helper()
	if _, err := s.Endpoint(t.Context(), id); !errors.Is(err, account.ErrNotFound) {
		t.Fatalf("endpoint %v: %v, want not found", id, err)
	}
}

// names lists an owner's usernames as a query selects them.
func (s *suite) names(t *testing.T, owner string, q account.EndpointQuery) (names []string, total int) {
	t.Helper()
	if q.Limit == 0 {
		q.Limit = account.MaxLimit
	}
	page, total, err := s.Endpoints(t.Context(), owner, q)
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	for _, e := range page {
		names = append(names, e.Username)
	}
	return names, total
}
