package server

import (
	"testing"
	"time"

	"onhook/internal/account"
	"onhook/internal/sipproxy"
)

// The limits of an account hold for all its endpoints together, those of a main
// account for its sub-accounts' too, and the configuration's for every main
// account; the longest duration is the shortest of them.
func TestLimitsOfAccounts(t *testing.T) {
	cfg := testConfig(t)
	cfg.Limits.AccountCalls = 3
	in := start(t, cfg)
	bob := in.createBob(t)
	ctx := t.Context()
	create := func(owner account.Account, username string) sipproxy.Caller {
		t.Helper()
		e, err := in.Accounts().CreateEndpoint(ctx, owner, account.EndpointSpec{Username: account.Some(username), Password: account.Some("password-1")})
		if err != nil {
			t.Fatal(err)
		}
		return sipproxy.Caller{Endpoint: e.ID, Owner: owner.AuthID, Main: owner.Main()}
	}
	sub, _, err := in.Accounts().CreateSubAccount(ctx, in.owner, account.SubAccountSpec{Name: account.Some("branch")})
	if err != nil {
		t.Fatal(err)
	}
	caller := sipproxy.Caller{Endpoint: bob.ID, Owner: in.owner.AuthID, Main: in.owner.AuthID}
	carol, dave := create(in.owner, "carol"), create(sub, "dave")
	limit := func(authID string, patch account.LimitsPatch) {
		t.Helper()
		if err := in.Accounts().SetAccountLimits(ctx, in.owner, authID, patch); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	begin := func(c sipproxy.Caller, want string) (longest time.Duration) {
		t.Helper()
		longest, no := in.path.limiter.Begin(c, now)
		if got := reasonOf(no); got != want {
			t.Errorf("a call of %s: %q, want %q", c.Endpoint, got, want)
		}
		return longest
	}

	// Three at once of the whole main account, by the configuration.
	begin(caller, "")
	begin(carol, "")
	begin(dave, "")
	begin(dave, "limit.concurrent_calls")
	in.path.limiter.Over(carol.Endpoint, carol.Owner, carol.Main)
	begin(dave, "")

	// One at once of the sub-account, whatever the main account may have.
	limit(sub.AuthID, account.LimitsPatch{ConcurrentCalls: account.Some(1)})
	in.path.limiter.Over(caller.Endpoint, caller.Owner, caller.Main)
	in.path.limiter.Over(dave.Endpoint, dave.Owner, dave.Main)
	begin(dave, "limit.concurrent_calls")
	begin(carol, "")
	in.path.limiter.Over(dave.Endpoint, dave.Owner, dave.Main)

	// A call a second, and the shortest duration.
	limit(sub.AuthID, account.LimitsPatch{ConcurrentCalls: account.Null[int](), CallsPerSecond: account.Some(1), MaxDuration: account.Some(600)})
	limit(in.owner.AuthID, account.LimitsPatch{MaxDuration: account.Some(60)})
	now = now.Add(time.Minute)
	if longest := begin(dave, ""); longest != time.Minute {
		t.Errorf("a call of the sub-account may last %v, want a minute", longest)
	}
	begin(dave, "limit.calls_per_second")

	// Calls from outside, and numbers.
	limit(sub.AuthID, account.LimitsPatch{NumberPrefixes: account.Some([]string{"+49"})})
	limit(in.owner.AuthID, account.LimitsPatch{ExternalCalls: account.Some(false)})
	for _, id := range []account.EndpointID{bob.ID, dave.Endpoint} {
		if e, ok := in.path.names.ByID(id); !ok || !e.NoExternalCalls {
			t.Errorf("%s takes calls from outside", id)
		}
	}
	if r := in.path.directory.FindID(dave.Endpoint); len(in.path.limiter.ofNumbers(r)) != 1 {
		t.Error("the sub-account's number prefixes do not hold for its endpoint")
	}
}

func reasonOf(no *sipproxy.Refusal) string {
	if no == nil {
		return ""
	}
	return no.Reason
}
