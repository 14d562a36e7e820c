package api

import (
	"fmt"
	"testing"
	"time"

	"onhook/internal/account"
)

func TestRateLimits(t *testing.T) {
	now := time.Unix(1e9, 0)
	l := rateLimits{now: func() time.Time { return now }}
	a, b := account.Account{AuthID: "SA_A", RateLimit: 10}, account.Account{AuthID: "MA_B"}
	burst := func(a account.Account) (n int) {
		for l.allow(a) {
			n++
		}
		return n
	}
	for _, step := range []struct {
		pause time.Duration
		who   account.Account
		want  int
	}{
		{0, a, 10}, {0, a, 0}, {99 * time.Millisecond, a, 0}, {time.Millisecond, a, 1}, {500 * time.Millisecond, a, 5},
		{time.Hour, a, 10}, {0, b, account.DefaultRateLimit}, {-time.Hour, a, 0}, {0, account.Account{AuthID: "SA_A", RateLimit: 1000}, 0},
		{time.Second, account.Account{AuthID: "SA_A", RateLimit: 1000}, 1000},
	} {
		now = now.Add(step.pause)
		if got := burst(step.who); got != step.want {
			t.Errorf("after %v %s gets %d requests, want %d", step.pause, step.who.AuthID, got, step.want)
		}
	}
	for i := range 3 * maxBuckets {
		l.allow(account.Account{AuthID: fmt.Sprint(i)})
	}
	if len(l.of) > maxBuckets {
		t.Errorf("%d buckets", len(l.of))
	}
}

// Over its limit an account gets 429 and the time to wait; others, and what
// needs no account, go on.
func TestRateLimitOfAnAccount(t *testing.T) {
	w := newWorld(t)
	if rec := w.do(w.request("main", "PUT", "/v1/accounts/"+w.vars["main"]+"/sub-accounts/"+w.vars["sub"], `{"rate_limit":3}`)); rec.Code != 200 {
		t.Fatal(rec.Body)
	}
	path := "/v1/Account/" + w.vars["sub"] + "/"
	for i := range 5 {
		rec := w.do(w.request("sub", "GET", path, ""))
		if want := 200; i < 3 && rec.Code != want {
			t.Errorf("request %d: %d", i, rec.Code)
		}
		if i >= 3 && (rec.Code != 429 || rec.Header().Get("Retry-After") != "1") {
			t.Errorf("request %d: %d %v %s", i, rec.Code, rec.Header(), rec.Body)
		}
	}
	for _, r := range []struct {
		as, path string
		want     int
	}{{"main", path, 200}, {"", "/healthz", 200}, {"", path, 401}} {
		if rec := w.do(w.request(r.as, "GET", r.path, "")); rec.Code != r.want {
			t.Errorf("%s %s: %d", r.as, r.path, rec.Code)
		}
	}
	w.clock.Add(1)
	if rec := w.do(w.request("sub", "GET", path, "")); rec.Code != 200 {
		t.Errorf("a second later: %d", rec.Code)
	}
}
