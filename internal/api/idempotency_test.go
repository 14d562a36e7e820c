package api

import (
	"net/http"
	"sync"
	"testing"
)

// Of the same request many times at once, one is done and all are answered so.
func TestIdempotencyAtOnce(t *testing.T) {
	onEveryStore(t, func(t *testing.T, newWorld func(*testing.T) *world) {
		w := newWorld(t)
		var mu sync.Mutex
		codes, bodies := map[int]int{}, map[string]int{}
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				r := w.request("main", "POST", "/v1/Account/"+w.vars["main"]+"/Endpoint/", `{"username":"atonce","password":"`+secret+`-horse"}`)
				r.Header.Set("Idempotency-Key", "once")
				rec := w.do(r)
				mu.Lock()
				defer mu.Unlock()
				codes[rec.Code]++
				bodies[rec.Body.String()]++
			})
		}
		all.Wait()
		if codes[http.StatusCreated] != 20 || len(bodies) != 1 || w.config.Stats.Replayed.Load() != 19 {
			t.Errorf("answers %v, bodies %v, replayed %d", codes, bodies, w.config.Stats.Replayed.Load())
		}
	})
}

// With a key each change is part of a larger transaction. Nothing else about it
// is another: the transcripts are played once more with keys.
func TestTranscriptsWithKeys(t *testing.T) {
	onEveryStore(t, func(t *testing.T, newWorld func(*testing.T) *world) {
		testTranscripts(t, func(t *testing.T) *world {
			w := newWorld(t)
			w.keyed = true
			return w
		})
	})
}
