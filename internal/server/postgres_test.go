package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"onhook/internal/account"
	"onhook/test/postgres"
)

// ask makes an API request and returns the status, the Retry-After header and
// the body.
func (in *instance) ask(t *testing.T, method, path, body string) (status int, retryAfter, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+in.APIAddr().String()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(in.owner.AuthID, in.token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Retry-After"), string(text)
}

// eventually waits until something holds that another server or a database
// brings about.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	limit := time.Now().Add(30 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Now().After(limit) {
			t.Fatal("never happened: " + what)
		}
		<-tick.C
	}
}

func (in *instance) registers(t *testing.T, cseq int, password, status string) {
	t.Helper()
	if got := in.login(t, cseq, password); !strings.HasPrefix(got, "SIP/2.0 "+status) {
		t.Fatalf("REGISTER %d:\n%s", cseq, got)
	}
}

// Without its database the server goes on for the phones it knows; the API says
// 503 until the database is back.
func TestDatabaseIsLostAndComesBack(t *testing.T) {
	db := postgres.Own(t)
	cfg := testConfig(t)
	cfg.Database = db.URL()
	in := start(t, cfg)
	bob := in.createBob(t)
	in.registers(t, 1, "password-1", "200")
	path := "/v1/Account/" + in.owner.AuthID + "/Endpoint/"

	if err := db.Stop(); err != nil {
		t.Fatal(err)
	}
	in.registers(t, 3, "password-1", "200")
	in.registers(t, 5, "password-2", "401")
	for _, c := range []struct{ method, path, body string }{
		{"POST", path, `{"username":"carol","password":"password-1"}`},
		{"POST", path + bob.ID.String() + "/", `{"alias":"x"}`},
		{"DELETE", path + bob.ID.String() + "/", ""},
		{"GET", path + bob.ID.String() + "/", ""},
		{"GET", path, ""},
	} {
		status, retry, answer := in.ask(t, c.method, c.path, c.body)
		if status != 503 || retry == "" || !strings.Contains(answer, `"error":`) {
			t.Errorf("%s %s: %d, Retry-After %q, %s", c.method, c.path, status, retry, answer)
		}
	}
	if status, _, answer := in.ask(t, "GET", "/healthz", ""); status != 200 {
		t.Errorf("/healthz: %d %s", status, answer)
	}

	if err := db.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if status, _, answer := in.ask(t, "GET", path+bob.ID.String()+"/", ""); status != 200 {
		t.Errorf("the first lookup afterwards: %d %s", status, answer)
	}
	if status, _, answer := in.ask(t, "POST", path, `{"username":"carol","password":"password-1"}`); status != 201 {
		t.Errorf("the first creation afterwards: %d %s", status, answer)
	}
	in.registers(t, 7, "password-1", "200")
}

// The database crashes again and again while clients create endpoints. What was
// acknowledged is there, and the phones' side knows exactly what is there, also
// what was committed without the answer coming through.
func TestNothingAcknowledgedIsLostWithTheDatabase(t *testing.T) {
	db := postgres.Own(t)
	cfg := testConfig(t)
	cfg.Database = db.URL()
	in := start(t, cfg)
	in.createBob(t)
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	acknowledged := map[string]account.EndpointID{}
	refused := 0
	var group sync.WaitGroup
	for client := range 8 {
		group.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				name := fmt.Sprintf("u%d_%d", client, n)
				e, err := in.Accounts().CreateEndpoint(context.WithoutCancel(ctx), in.owner,
					account.EndpointSpec{Username: account.Some(name), Password: account.Some("password-1")})
				mu.Lock()
				if err == nil {
					acknowledged[name] = e.ID
				} else {
					refused++
				}
				mu.Unlock()
				if err != nil && !errors.Is(err, account.ErrUnavailable) {
					t.Errorf("creation: %v", err)
					return
				}
			}
		})
	}
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(acknowledged)
	}
	for range 3 {
		before := count()
		eventually(t, "endpoints are created", func() bool { return count() > before+50 })
		if err := db.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := db.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	before := count()
	eventually(t, "endpoints are created", func() bool { return count() > before+50 })
	cancel()
	group.Wait()
	if refused == 0 {
		t.Error("the crashes were not noticed: this test shows nothing")
	}
	stored := map[string]account.EndpointID{}
	if err := in.store.EachEndpoint(t.Context(), func(e account.Endpoint) error { stored[e.Username] = e.ID; return nil }); err != nil {
		t.Fatal(err)
	}
	for name, id := range acknowledged {
		if stored[name] != id {
			t.Errorf("%s was acknowledged and is lost", name)
		}
	}
	t.Logf("%d acknowledged, %d refused, %d there", len(acknowledged), refused, len(stored))
	eventually(t, "the directory knows what is there", func() bool {
		known := maps.Clone(stored)
		maps.DeleteFunc(known, func(_ string, id account.EndpointID) bool { _, ok := in.path.directory.ByID(id); return !ok })
		return len(known) == len(stored) && in.path.directory.Len() == len(stored)
	})
}

// Two servers on one database: what one's API changes, the other's phones feel.
func TestServersShareADatabase(t *testing.T) {
	servers := several(t, 2)
	a, b := servers[0], servers[1]
	bob := a.createBob(t)
	b.owner, b.token = a.owner, a.token
	path := "/v1/Account/" + a.owner.AuthID + "/Endpoint/" + bob.ID.String() + "/"
	registered := func(want string) func() bool {
		return func() bool { return b.get(t, path)["sip_registered"] == want }
	}
	cseq := 0
	login := func(password, status string) {
		t.Helper()
		b.registers(t, cseq, password, status)
		cseq += 2
	}
	known := func() bool { _, ok := b.path.directory.ByID(bob.ID); return ok }
	eventually(t, "the other server knows a new endpoint", known)
	login("password-1", "200")

	if status, _, answer := a.ask(t, "POST", path, `{"password":"password-2"}`); status != 202 {
		t.Fatalf("new password: %d %s", status, answer)
	}
	eventually(t, "a new password ends the bindings on the other server", registered("false"))
	login("password-1", "401")
	login("password-2", "200")

	sub, _, err := a.Accounts().CreateSubAccount(t.Context(), a.owner, account.SubAccountSpec{Name: account.Some("sub")})
	if err != nil {
		t.Fatal(err)
	}
	carol, err := a.Accounts().CreateEndpoint(t.Context(), sub, account.EndpointSpec{Username: account.Some("carol"), Password: account.Some("password-1")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Accounts().UpdateSubAccount(t.Context(), a.owner, sub.AuthID, account.SubAccountSpec{Enabled: account.Some(false)}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a disabled account is disabled on the other server", func() bool {
		e, ok := b.path.directory.ByID(carol.ID)
		return ok && !e.Enabled
	})

	if status, _, answer := a.ask(t, "DELETE", path, ""); status != 204 {
		t.Fatalf("deletion: %d %s", status, answer)
	}
	eventually(t, "a deletion reaches the other server", func() bool { return !known() })
	login("password-2", "401")
}
