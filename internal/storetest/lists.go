package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"onhook/internal/account"
)

func filters(t *testing.T, s *suite) {
	main, stranger := s.account(t, "MA_AAAAAAAA", ""), s.account(t, "MA_BBBBBBBB", "")
	app := s.application(t, "12345678901234500", main.AuthID)
	for i, one := range []struct{ username, alias, app string }{
		{"anna", "Desk", ""},
		{"Annabel", "desk", app.ID},
		{"hanna", "Jane's Mobile", app.ID},
		{"an_a", "10-percent", ""},
		{"anxa", "100_percent", ""},
	} {
		e := endpoint(main, i+1, one.username)
		e.Alias, e.Application = one.alias, one.app
		s.insert(t, e)
	}
	s.insert(t, endpoint(stranger, 9, "anna_of_another"))

	type match = account.Match
	some := account.Some[string]
	for _, c := range []struct {
		what string
		q    account.EndpointQuery
		want []string // newest first
	}{
		{"no filter", account.EndpointQuery{}, []string{"anxa", "an_a", "hanna", "Annabel", "anna"}},
		{"username exact", account.EndpointQuery{Username: match{Exact: some("anna")}}, []string{"anna"}},
		{"username exact, other case", account.EndpointQuery{Username: match{Exact: some("ANNABEL")}}, []string{"Annabel"}},
		{"username exact, empty", account.EndpointQuery{Username: match{Exact: some("")}}, nil},
		{"username contains", account.EndpointQuery{Username: match{Contains: some("NN")}}, []string{"hanna", "Annabel", "anna"}},
		{"underscore is itself", account.EndpointQuery{Username: match{Contains: some("n_a")}}, []string{"an_a"}},
		{"underscore is itself in a prefix", account.EndpointQuery{Username: match{StartsWith: some("an_")}}, []string{"an_a"}},
		{"percent is itself", account.EndpointQuery{Username: match{Contains: some("%")}}, nil},
		{"backslash is itself", account.EndpointQuery{Username: match{Contains: some(`\`)}}, nil},
		{"star is itself", account.EndpointQuery{Username: match{StartsWith: some(`*`)}}, nil},
		{"a quote is harmless", account.EndpointQuery{Username: match{Contains: some(`' OR 1=1 --`)}}, nil},
		{"username startswith", account.EndpointQuery{Username: match{StartsWith: some("ann")}}, []string{"Annabel", "anna"}},
		{"username startswith, empty", account.EndpointQuery{Username: match{StartsWith: some("")}}, []string{"anxa", "an_a", "hanna", "Annabel", "anna"}},
		{"alias exact keeps case", account.EndpointQuery{Alias: match{Exact: some("desk")}}, []string{"Annabel"}},
		{"alias contains keeps case", account.EndpointQuery{Alias: match{Contains: some("e's M")}}, []string{"hanna"}},
		{"alias contains, other case", account.EndpointQuery{Alias: match{Contains: some("mobile")}}, nil},
		{"alias startswith", account.EndpointQuery{Alias: match{StartsWith: some("10")}}, []string{"anxa", "an_a"}},
		{"alias startswith keeps case", account.EndpointQuery{Alias: match{StartsWith: some("D")}}, []string{"anna"}},
		{"application", account.EndpointQuery{Application: some(app.ID)}, []string{"hanna", "Annabel"}},
		{"another application", account.EndpointQuery{Application: some("1")}, nil},
		{"no application", account.EndpointQuery{ApplicationIsNull: account.Some(true)}, []string{"anxa", "an_a", "anna"}},
		{"any application", account.EndpointQuery{ApplicationIsNull: account.Some(false)}, []string{"hanna", "Annabel"}},
		{"all together", account.EndpointQuery{Username: match{Contains: some("nna"), StartsWith: some("a")}, Alias: match{StartsWith: some("d")},
			Application: some(app.ID), ApplicationIsNull: account.Some(false)}, []string{"Annabel"}},
	} {
		names, total := s.names(t, main.AuthID, c.q)
		if !slices.Equal(names, c.want) || total != len(c.want) {
			t.Errorf("%s: %v, total %d, want %v", c.what, names, total, c.want)
		}
	}
	if names, total := s.names(t, "MA_NOBODY00", account.EndpointQuery{}); len(names) != 0 || total != 0 {
		t.Errorf("nobody has %v, total %d", names, total)
	}
}

func pages(t *testing.T, s *suite) {
	main := s.account(t, "MA_AAAAAAAA", "")
	var all []account.Endpoint
	for i := range 25 {
		e := endpoint(main, i+1, fmt.Sprintf("user%02d", i))
		e.CreatedAt, e.UpdatedAt = birth, birth // newest is by order, not by the second
		all = append(all, e)
	}
	s.insert(t, all...)
	slices.Reverse(all)
	for _, filter := range []account.Match{{}, {StartsWith: account.Some("user")}, {Contains: account.Some("ser")}} {
		for offset := 0; offset <= 30; offset += 10 {
			page, total, err := s.Endpoints(t.Context(), main.AuthID, account.EndpointQuery{Limit: 10, Offset: offset, Username: filter})
			want := all[min(offset, 25):min(offset+10, 25)]
			if err != nil || total != 25 || !slices.Equal(page, want) {
				t.Fatalf("page at %d of %+v: %d endpoints, total %d, %v", offset, filter, len(page), total, err)
			}
		}
	}
	s.do(t, func(ctx context.Context, tx account.Tx) error { return tx.DeleteEndpoint(ctx, all[0]) })
	if names, total := s.names(t, main.AuthID, account.EndpointQuery{Limit: 1}); total != 24 || names[0] != "user23" {
		t.Errorf("after a deletion the first is %v of %d", names, total)
	}
}

func registered(t *testing.T, s *suite) {
	main := s.account(t, "MA_AAAAAAAA", "")
	s.insert(t, endpoint(main, 1, "a"), endpoint(main, 2, "b"), endpoint(main, 3, "c"))
	yes, no := account.Some(true), account.Some(false)
	expect := func(what string, q account.EndpointQuery, want ...string) {
		t.Helper()
		if names, total := s.names(t, main.AuthID, q); !slices.Equal(names, want) || total != len(want) {
			t.Errorf("%s: %v, total %d, want %v", what, names, total, want)
		}
	}
	expect("none is registered", account.EndpointQuery{Registered: yes})
	expect("none is registered: all are not", account.EndpointQuery{Registered: no}, "c", "b", "a")
	for _, n := range []account.EndpointID{1, 3, 99} { // 99 is nobody
		s.SetRegistered(100_000_000_000_000+n, true)
	}
	s.insert(t, endpoint(main, 4, "d"))
	expect("registered", account.EndpointQuery{Registered: yes}, "c", "a")
	expect("not registered", account.EndpointQuery{Registered: no}, "d", "b")
	expect("with another filter", account.EndpointQuery{Registered: yes, Username: account.Match{Exact: account.Some("a")}}, "a")
	s.SetRegistered(100_000_000_000_003, false)
	s.SetRegistered(100_000_000_000_004, true)
	expect("later", account.EndpointQuery{Registered: yes}, "d", "a")
	s.do(t, func(ctx context.Context, tx account.Tx) error { return tx.DeleteEndpoint(ctx, endpoint(main, 1, "a")) })
	s.insert(t, endpoint(main, 1, "a"))
	expect("another of the same id is not registered", account.EndpointQuery{Registered: yes}, "d")
}

func everyEndpoint(t *testing.T, s *suite) {
	a, b := s.account(t, "MA_AAAAAAAA", ""), s.account(t, "MA_BBBBBBBB", "")
	want := []account.Endpoint{endpoint(a, 3, "first"), endpoint(b, 1, "second"), endpoint(a, 2, "third")}
	s.insert(t, want...)
	var got []account.Endpoint
	err := s.EachEndpoint(t.Context(), func(e account.Endpoint) error { got = append(got, e); return nil })
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("every endpoint: %+v, %v", got, err)
	}
	stop, n := errors.New("enough"), 0
	if err := s.EachEndpoint(t.Context(), func(account.Endpoint) error { n++; return stop }); !errors.Is(err, stop) || n != 1 {
		t.Errorf("stopped after %d with %v", n, err)
	}
}
