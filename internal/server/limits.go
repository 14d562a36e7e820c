package server

import (
	"sync/atomic"
	"time"

	"onhook/internal/account"
	"onhook/internal/callguard"
	"onhook/internal/config"
	"onhook/internal/directory"
	"onhook/internal/sipproxy"
)

// limiter holds the calls that endpoints place to their limits and to those of
// their accounts (sipproxy.Limiter).
type limiter struct {
	directory *directory.Directory
	guard     *callguard.Guard
	accounts  account.Limits // what no account exceeds
	refused   atomic.Uint64
}

// accountLimits are those that the configuration sets for every account.
func accountLimits(c config.Config) account.Limits {
	return account.Limits{ConcurrentCalls: c.Limits.AccountCalls, CallsPerSecond: c.Limits.AccountCallsPerSecond, NoExternalCalls: !c.ExternalCalls}
}

// under returns the limits that an endpoint's calls are under, the server's for
// its main account included, and their subjects: the endpoint, its owner, and
// its main account where that is another.
func (l *limiter) under(r *directory.Record) (limits [3]account.Limits, subjects [3]callguard.Subject, n int) {
	e := l.directory.Entry(r)
	own, owner, main := l.directory.Limits(r)
	keys, n := keysOf(e.ID, e.Owner, e.Main)
	limits = [3]account.Limits{own, owner, main}
	limits[n-1] = l.accounts.Bound(limits[n-1])
	for i := range n {
		subjects[i] = callguard.Subject{Key: keys[i], ConcurrentCalls: limits[i].ConcurrentCalls, CallsPerSecond: limits[i].CallsPerSecond}
	}
	return limits, subjects, n
}

// Begin counts a call, or says which limit it is over.
func (l *limiter) Begin(c sipproxy.Caller, now time.Time) (longest time.Duration, no *sipproxy.Refusal) {
	r := l.directory.FindID(c.Endpoint)
	if r == nil {
		return 0, &sipproxy.Refusal{Status: 480, Reason: "endpoint.unknown", Sentence: "This endpoint exists no more"}
	}
	limits, subjects, n := l.under(r)
	if no := over(l.guard.Begin(now, subjects[:n])); no != nil {
		l.refused.Add(1)
		return 0, no
	}
	for _, limit := range limits[:n] {
		if d := time.Duration(limit.MaxDuration) * time.Second; d > 0 && (longest == 0 || d < longest) {
			longest = d
		}
	}
	return longest, nil
}

// Resume counts a call that was begun before the server was started.
func (l *limiter) Resume(endpoint account.EndpointID, owner, main string) {
	keys, n := keysOf(endpoint, owner, main)
	l.guard.Resume(keys[:n]...)
}

// Over takes a call out of the count.
func (l *limiter) Over(endpoint account.EndpointID, owner, main string) {
	keys, n := keysOf(endpoint, owner, main)
	l.guard.End(keys[:n]...)
}

// keysOf are those whose calls an endpoint's call counts among: its own, its
// owner's, and its main account's where that is another.
func keysOf(endpoint account.EndpointID, owner, main string) (keys [3]callguard.Key, n int) {
	keys = [3]callguard.Key{{Endpoint: uint64(endpoint)}, {Account: owner}, {Account: main}}
	if main == owner {
		return keys, 2
	}
	return keys, 3
}

// would is Begin that counts nothing.
func (l *limiter) would(r *directory.Record, now time.Time) *sipproxy.Refusal {
	_, subjects, n := l.under(r)
	return over(l.guard.Would(now, subjects[:n]))
}

// over says which limit a call is over; nil for none.
func over(v callguard.Verdict, which int) *sipproxy.Refusal {
	who := "This endpoint"
	if which > 0 {
		who = "This account"
	}
	switch v {
	case callguard.Concurrent:
		return &sipproxy.Refusal{Status: 403, Reason: "limit.concurrent_calls", Sentence: who + " has as many calls as it may have at once"}
	case callguard.PerSecond:
		return &sipproxy.Refusal{Status: 403, Reason: "limit.calls_per_second", Sentence: who + " begins more calls in a second than it may"}
	}
	return nil
}

// ofNumbers returns the limits that bear upon whom an endpoint may call, nil for
// none.
func (l *limiter) ofNumbers(r *directory.Record) (list []account.Limits) {
	own, owner, main := l.directory.Limits(r)
	for _, limits := range [...]account.Limits{own, owner, main} {
		if limits.NumberPrefixes != "" {
			list = append(list, limits)
		}
	}
	return list
}
