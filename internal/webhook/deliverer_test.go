package webhook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"onhook/internal/account"
	"onhook/internal/event"
)

// log is Events in memory.
type log struct {
	mu     sync.Mutex
	events []event.Event
	wakes  []chan struct{}
}

type stream struct {
	log   *log
	owner string
	f     event.Filter
	at    int
	wake  chan struct{}
}

func (l *log) Subscribe(owner string, f event.Filter, after *event.ID) Stream {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &stream{log: l, owner: owner, f: f, wake: make(chan struct{}, 1)}
	for s.at < len(l.events) && l.events[s.at].ID.Compare(*after) <= 0 {
		s.at++
	}
	l.wakes = append(l.wakes, s.wake)
	return s
}

func (s *stream) Take() (event.Event, bool, error) {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	for s.at < len(s.log.events) {
		e := s.log.events[s.at]
		s.at++
		if e.For(s.owner) && s.f.Match(e.Type) {
			return e, true, nil
		}
	}
	return event.Event{}, false, nil
}

func (s *stream) Wake() <-chan struct{} { return s.wake }
func (s *stream) End()                  {}
func (s *stream) Drained() bool {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	return s.at == len(s.log.events)
}

func (l *log) Last() (id event.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.events); n > 0 {
		id = l.events[n-1].ID
	}
	return id
}

func (l *log) Find(owner string, id event.ID) (event.Event, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.events, func(e event.Event) bool { return e.ID == id && e.For(owner) })
	if i < 0 {
		return event.Event{}, false, nil
	}
	return l.events[i], true, nil
}

// add appends events of MA_1 with the keys given.
func (l *log) add(keys ...uint64) (made []event.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range keys {
		n := len(l.events) + 1
		e := event.Event{ID: event.ID{14: byte(n >> 8), 15: byte(n)}, Type: event.EndpointUpdated, Account: "MA_1", Main: "MA_1", Key: key, Body: fmt.Appendf(nil, "%d", n)}
		l.events = append(l.events, e)
		made = append(made, e)
	}
	for _, w := range l.wakes {
		select {
		case w <- struct{}{}:
		default:
		}
	}
	return made
}

// store is a Store in memory.
type store struct {
	mu    sync.Mutex
	hooks map[string]Webhook
	done  map[string]event.ID
	down  bool
	told  []func()
}

func (s *store) SubscribeWebhooks(f func()) { s.told = append(s.told, f) }

func (s *store) tell() {
	for _, f := range s.told {
		f()
	}
}

var errDown = errors.New("no database")

func (s *store) InsertWebhook(_ context.Context, w Webhook, _ int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks[w.ID] = w
	return nil
}

func (s *store) Webhook(_ context.Context, id string) (Webhook, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w, ok := s.hooks[id]
	if !ok {
		return w, account.ErrNotFound
	}
	return w, nil
}

func (s *store) WebhooksOf(ctx context.Context, _ string) ([]Webhook, error) { return s.Webhooks(ctx) }

func (s *store) Webhooks(context.Context) (all []Webhook, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return nil, errDown
	}
	for _, w := range s.hooks {
		all = append(all, w)
	}
	return all, nil
}

func (s *store) UpdateWebhook(_ context.Context, id string, change func(*Webhook) error) (Webhook, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return Webhook{}, errDown
	}
	w, ok := s.hooks[id]
	if !ok {
		return w, account.ErrNotFound
	}
	err := change(&w)
	if err == nil {
		s.hooks[id] = w
		s.tell()
	}
	return w, err
}

func (s *store) DeleteWebhook(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.hooks, id)
	return nil
}

func (s *store) WebhookProgress(context.Context, string) (map[string]event.ID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	done := map[string]event.ID{}
	for id, at := range s.done {
		done[id] = at
	}
	return done, nil
}

func (s *store) SaveWebhookProgress(_ context.Context, _ string, list []Progress) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return errDown
	}
	for _, p := range list {
		w := s.hooks[p.ID]
		w.Result = p.Result
		s.hooks[p.ID] = w
		s.done[p.ID] = p.Done
	}
	return nil
}

// target is the far end.
type target struct {
	mu     sync.Mutex
	status map[string]int // by body; 0: the default
	normal int
	slow   time.Duration
	got    []string // bodies of successful attempts
	tries  int
	atOnce int
	most   int
	tokens []string
}

func (t *target) post(ctx context.Context, d Delivery) (int, error) {
	t.mu.Lock()
	t.tries++
	t.atOnce++
	t.most = max(t.most, t.atOnce)
	slow := t.slow
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		t.atOnce--
		t.mu.Unlock()
	}()
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	status := t.status[string(d.Body)]
	if status == 0 {
		status = t.normal
	}
	if status == 0 {
		return 0, errors.New("no answer within 10 seconds")
	}
	if status/100 == 2 {
		t.got = append(t.got, string(d.Body))
		t.tokens = append(t.tokens, d.Token+" "+d.Parent+" "+d.Secret)
	}
	return status, nil
}

func (t *target) set(status int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.normal = status
}

func (t *target) bodies() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.got, " ")
}

// pass lets time pass, and whatever is due then come to rest.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// world is a Deliverer that can be restarted.
type world struct {
	t      *testing.T
	log    *log
	store  *store
	target *target
	*Deliverer
	end func()
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, log: &log{}, store: &store{hooks: map[string]Webhook{}, done: map[string]event.ID{}}, target: &target{normal: 200, status: map[string]int{}}}
	w.store.hooks["WH_1"] = Webhook{ID: "WH_1", Owner: "MA_1", URL: "http://x/", Events: []string{"*"}, Enabled: true, Secret: "s"}
	w.start()
	t.Cleanup(func() { w.end() })
	return w
}

func (w *world) start() {
	w.Deliverer = NewDeliverer(Config{Store: w.store, Events: w.log, Origin: "here", Post: w.target.post,
		Tokens: func(context.Context, string) (string, string, error) { return "own", "parent", nil }})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	w.end = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
}

// Everything arrives, in order for each key, a few at a time.
func TestDelivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.target.slow = time.Millisecond
		for i := range 1000 {
			w.log.add(uint64(i % 10))
		}
		pass(5 * time.Second)
		last := map[int]int{}
		for _, body := range w.target.got {
			n := 0
			fmt.Sscan(body, &n)
			if key := (n - 1) % 10; n <= last[key] {
				t.Fatalf("%d after %d", n, last[key])
			} else {
				last[key] = n
			}
		}
		if len(w.target.got) != 1000 || w.target.most > lanes || w.target.most < 2 || w.target.tokens[0] != "own parent s" {
			t.Errorf("%d arrived, %d at once, signed with %q", len(w.target.got), w.target.most, w.target.tokens[0])
		}
		if hook := w.store.hooks["WH_1"]; w.store.done["WH_1"] != w.log.Last() || hook.LastSuccessAt.IsZero() || hook.LastError != "" {
			t.Errorf("done %v, %+v", w.store.done["WH_1"], hook.Result)
		}
	})
}

// A target that fails for a while loses nothing, and sees the pauses grow; what
// others in its order wait for comes first afterwards.
func TestFailsForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.target.set(500)
		w.log.add(4, 4, 4)
		pass(time.Hour)
		tries := w.target.tries
		if tries < 10 || tries > 20 {
			t.Errorf("%d attempts in an hour", tries)
		}
		if hook := w.store.hooks["WH_1"]; hook.LastError != "answered with status 500" || hook.FailingSince.IsZero() || w.Stats().Failing != 1 {
			t.Errorf("%+v", hook.Result)
		}
		w.end() // a restart loses nothing either
		w.start()
		pass(time.Minute)
		w.target.set(204)
		pass(time.Hour)
		if w.target.bodies() != "1 2 3" {
			t.Errorf("arrived: %s", w.target.bodies())
		}
		if hook := w.store.hooks["WH_1"]; hook.LastError != "" || !hook.FailingSince.IsZero() {
			t.Errorf("%+v", hook.Result)
		}
	})
}

// One event that a target never takes holds up its own endpoint alone, until
// the webhook is given up after a day; enabled again it goes on there.
func TestGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.target.status["1"] = 404
		w.log.add(4, 5, 4, 5)
		pass(time.Minute)
		if w.target.bodies() != "2 4" {
			t.Errorf("arrived: %s", w.target.bodies())
		}
		pass(12 * time.Hour)
		w.end() // does not begin the day anew
		w.start()
		w.store.mu.Lock()
		w.store.down = true // cannot be disabled yet
		w.store.mu.Unlock()
		pass(13 * time.Hour)
		w.store.mu.Lock()
		w.store.down = false
		w.store.mu.Unlock()
		pass(time.Hour)
		hook := w.store.hooks["WH_1"]
		if hook.Enabled || hook.DisabledReason != "an event could not be delivered for 24h0m0s: answered with status 404" || w.Stats().Webhooks != 0 {
			t.Errorf("%+v", hook)
		}
		tries := w.target.tries
		w.log.add(6)
		pass(time.Hour)
		if w.target.tries != tries {
			t.Error("a disabled webhook is called")
		}
		s := NewService(w.store, func(string) string { return "" }, w.log.Last, nil)
		w.target.status["1"] = 200
		w.target.got = nil
		if _, err := s.Update(t.Context(), account.Account{AuthID: "MA_1"}, "WH_1", Spec{Enabled: account.Some(true)}); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		// 2 and 4 come again: at least once is the promise.
		if got := w.target.bodies(); !strings.Contains(got, "1") || !strings.Contains(got, "3") || !strings.Contains(got, "5") {
			t.Errorf("arrived: %s", got)
		}
	})
}

// A slow target holds up nobody else, and does not make us hold more and more.
func TestSlowTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		fast := &target{normal: 200}
		slow := w.target
		w.end()
		w.store.hooks["WH_2"] = Webhook{ID: "WH_2", Owner: "MA_1", URL: "http://fast/", Events: []string{"endpoint.*"}, Enabled: true}
		w.start()
		w.cfg.Post = func(ctx context.Context, d Delivery) (int, error) {
			if d.URL == "http://fast/" {
				return fast.post(ctx, d)
			}
			return slow.post(ctx, d)
		}
		slow.slow = 9 * time.Second
		for i := range 1000 {
			w.log.add(uint64(i))
		}
		pass(time.Second)
		if len(fast.got) != 1000 {
			t.Errorf("%d arrived at the fast target", len(fast.got))
		}
		if n := w.Stats().Waiting; n != maxWindow {
			t.Errorf("%d under way to the slow one", n)
		}
		pass(time.Hour)
		if len(slow.got) != 1000 {
			t.Errorf("%d arrived at the slow target", len(slow.got))
		}
	})
}

func TestRedeliver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		made := w.log.add(1, 2, 3)
		pass(2 * time.Second)
		hook := w.store.hooks["WH_1"]
		w.target.got = nil
		if err := w.Redeliver(hook, made[1].ID); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		if w.target.bodies() != "2" {
			t.Errorf("arrived: %s", w.target.bodies())
		}
		if err := w.Redeliver(hook, event.ID{9}); !errors.Is(err, account.ErrNotFound) {
			t.Error(err)
		}
		w.target.got = nil
		if err := w.RedeliverAfter(t.Context(), hook, made[0].ID); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		if got := w.target.bodies(); len(got) != 3 || !strings.Contains(got, "2") || !strings.Contains(got, "3") {
			t.Errorf("arrived: %s", got)
		}
		// Too many at once, and a disabled one.
		w.target.set(500)
		var err error
		for range maxExtra + 1 {
			err = w.Redeliver(hook, made[0].ID)
		}
		if !errors.Is(err, ErrBusy) {
			t.Error(err)
		}
		if err := w.store.DeleteWebhook(t.Context(), "WH_1"); err != nil {
			t.Fatal(err)
		}
		w.store.tell()
		synctest.Wait()
		if err := w.Redeliver(hook, made[0].ID); !errors.Is(err, ErrDisabled) {
			t.Error(err)
		}
	})
}

// An idle webhook's place moves on with the log, so that a restart does not
// search all of it; foreign events are somebody else's to deliver.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.log.mu.Lock()
		w.log.events = append(w.log.events, event.Event{ID: event.ID{1}, Type: event.CallEnded, Account: "MA_2"},
			event.Event{ID: event.ID{2}, Type: event.EndpointCreated, Account: "MA_1", Foreign: true})
		w.log.mu.Unlock()
		w.log.add()
		pass(time.Minute)
		if done, err := w.store.WebhookProgress(t.Context(), ""); err != nil || len(done) != 0 {
			t.Errorf("done: %v, %v", done, err)
		}
		pass(idleEvery)
		if w.store.done["WH_1"] != (event.ID{2}) || w.target.tries != 0 {
			t.Errorf("done: %v, %d attempts", w.store.done, w.target.tries)
		}
	})
}
