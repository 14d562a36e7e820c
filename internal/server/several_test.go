package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"onhook/internal/config"
	"onhook/internal/event"
	"onhook/test/postgres"
)

// several starts servers on one database.
func several(t *testing.T, n int) (all []*instance) {
	t.Helper()
	url := postgres.Database(t)
	for range n {
		cfg := testConfig(t)
		cfg.Database, cfg.Key = url, bytes.Repeat([]byte{9}, config.KeySize)
		cfg.Callbacks.AllowNetworks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		all = append(all, start(t, cfg))
	}
	return all
}

// deliveries counts what a webhook's target is sent, as "type username".
type deliveries struct {
	mu   sync.Mutex
	seen map[string]int
}

func (d *deliveries) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var e struct {
		Type string
		Data struct{ Username string }
	}
	text, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(text, &e)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen[fmt.Sprint(e.Type, " ", e.Data.Username)]++
	if err != nil {
		d.seen[err.Error()]++
	}
}

func (d *deliveries) got() map[string]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.seen)
}

// What happens on whichever of several servers is delivered once, by that
// server, to a webhook that was made on another; changes of endpoints are in the
// streams of all of them.
func TestEventsOfSeveralServers(t *testing.T) {
	servers := several(t, 2)
	a, b := servers[0], servers[1]
	target := &deliveries{seen: map[string]int{}}
	web := httptest.NewServer(target)
	t.Cleanup(web.Close)
	bob := a.createBob(t)
	b.owner, b.token = a.owner, a.token
	eventually(t, "the other server knows bob", func() bool { _, ok := b.path.directory.ByID(bob.ID); return ok })
	last, _ := a.events.Last()
	stream := a.events.Subscribe(a.owner.AuthID, event.Filter{}, &last)
	account := "/v1/Account/" + a.owner.AuthID

	if status, _, answer := a.ask(t, "POST", account+"/Webhook/", `{"url":"`+web.URL+`"}`); status != 201 {
		t.Fatalf("webhook: %d %s", status, answer)
	}
	want := map[string]int{"endpoint.registered bob": 1}
	create := func(in *instance, name string) {
		t.Helper()
		if status, _, answer := in.ask(t, "POST", account+"/Endpoint/", `{"username":"`+name+`","password":"password-1"}`); status != 201 {
			t.Fatalf("%s: %d %s", name, status, answer)
		}
		want["endpoint.created "+name] = 1
	}
	for i, in := range servers {
		for n := range 5 {
			create(in, fmt.Sprintf("of_%d_%d", i, n))
		}
	}
	b.registers(t, 1, "password-1", "200")

	eventually(t, "everything is delivered once, and nothing waits", func() bool {
		return maps.Equal(target.got(), want) && a.delivery.Stats().Waiting+b.delivery.Stats().Waiting == 0
	})
	create(a, "last") // each has passed over what the other tells when this has come
	create(b, "last_too")
	eventually(t, "the last is delivered", func() bool {
		got := target.got()
		return got["endpoint.created last"] > 0 && got["endpoint.created last_too"] > 0 && a.delivery.Stats().Waiting+b.delivery.Stats().Waiting == 0
	})
	if got := target.got(); !maps.Equal(got, want) {
		t.Errorf("delivered %v, want %v", got, want)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	seen := map[string]bool{}
	for range len(want) - 1 { // bob's registration is the other server's
		e, err := stream.Next(ctx)
		if err != nil || e.Type != event.EndpointCreated {
			t.Fatalf("%+v, %v", e, err)
		}
		for what := range want {
			if _, name, _ := strings.Cut(what, " "); strings.Contains(string(e.Body), `"username":"`+name+`"`) {
				seen[name] = true
			}
		}
	}
	if len(seen) != len(want)-1 {
		t.Errorf("the stream has %v", seen)
	}
}

// A request with an Idempotency-Key that is sent again to another server is done
// once, also when both have it at the same time.
func TestKeysOfSeveralServers(t *testing.T) {
	servers := several(t, 2)
	a := servers[0]
	a.createBob(t)
	var all sync.WaitGroup
	var mu sync.Mutex
	answers := map[string]int{}
	for i := range 20 {
		all.Go(func() {
			req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+servers[i%2].APIAddr().String()+"/v1/Account/"+a.owner.AuthID+"/Endpoint/",
				strings.NewReader(`{"username":"carol","password":"password-1"}`))
			if err != nil {
				t.Error(err)
				return
			}
			req.SetBasicAuth(a.owner.AuthID, a.token)
			req.Header.Set("Idempotency-Key", "carol")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			answers[fmt.Sprint(resp.StatusCode, " ", string(text))]++
		})
	}
	all.Wait()
	if len(answers) != 1 {
		t.Errorf("answers %v", answers)
	}
	for what := range answers {
		if !strings.HasPrefix(what, "201 ") {
			t.Error(what)
		}
	}
	replayed := 0
	for _, in := range servers {
		for line := range strings.SplitSeq(in.metrics(t), "\n") {
			var n int
			if _, err := fmt.Sscanf(line, "onhook_api_replayed_total %d", &n); err == nil {
				replayed += n
			}
		}
	}
	if replayed != 19 {
		t.Errorf("%d answers are counted as given again", replayed)
	}
	if text := a.metrics(t); !strings.Contains(text, `onhook_api_requests_total{status="2xx"} 1`) || !strings.Contains(text, "onhook_api_rate_limited_total 0\n") ||
		!strings.Contains(text, "onhook_api_key_conflicts_total 0\n") {
		t.Error(text)
	}
}
