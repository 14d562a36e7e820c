package api

import (
	"net/http"
	"strings"
	"sync"
	"testing"
)

// Of the same request many times at once, one is done; the others hear of it,
// or that it is under way.
func TestIdempotencyAtOnce(t *testing.T) {
	onEveryStore(t, func(t *testing.T, newWorld func(*testing.T) *world) {
		w := newWorld(t)
		var mu sync.Mutex
		codes, ids := map[int]int{}, map[string]bool{}
		send := func() {
			r := w.request("main", "POST", "/v1/Account/"+w.vars["main"]+"/Endpoint/", `{"username":"atonce","password":"`+secret+`-horse"}`)
			r.Header.Set("Idempotency-Key", "once")
			rec := w.do(r)
			mu.Lock()
			defer mu.Unlock()
			codes[rec.Code]++
			if rec.Code == http.StatusCreated {
				_, after, _ := strings.Cut(rec.Body.String(), `"endpoint_id":"`)
				ids[after[:15]] = true
			} else if !strings.Contains(rec.Body.String(), "under way") {
				t.Errorf("%d %s", rec.Code, rec.Body)
			}
		}
		var all sync.WaitGroup
		for range 20 {
			all.Go(send)
		}
		all.Wait()
		send()
		if codes[201] < 2 || codes[201]+codes[409] != 21 || len(ids) != 1 {
			t.Errorf("answers %v, endpoints %v", codes, ids)
		}
	})
}
