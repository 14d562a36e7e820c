package sipresolve

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"onhook/internal/sip"
)

// Config is what a Resolver is made of. Zero values mean the defaults named.
type Config struct {
	Servers    []netip.AddrPort // asked in this order; see SystemServers
	Transports []sip.Transport  // that we can dial, the preferred one first
	IPv4, IPv6 bool             // which addresses we can reach

	Timeout    time.Duration // for one server to answer: 1.5 s
	Deadline   time.Duration // for everything about one destination: 8 s
	Avoid      time.Duration // how long a failed address is put last: 30 s
	MaxLookups int           // destinations being looked up: 256
	MaxWaiting int           // requests waiting for one of these: 1024
	MaxAnswers int           // kept: 16,384

	rand func(n int) int // in [0, n)
}

// Resolver resolves destinations.
type Resolver struct {
	config   Config
	cache    cache
	avoided  avoided
	exchange func(context.Context, question) (*dns.Msg, error)
	ctx      context.Context
	cancel   context.CancelFunc
	wg       sync.WaitGroup
	stats    counters

	mu      sync.Mutex
	closed  bool
	lookups map[Destination]*lookup
}

type counters struct{ queries, failures, cached, busy atomic.Uint64 }

// lookup is a destination being looked up, and who waits for it.
type lookup struct{ waiting []func([]Hop, error) }

// Stats are counts since the start and present numbers.
type Stats struct {
	Queries  uint64 // sent to DNS, repetitions not counted
	Failures uint64 // queries without a usable answer
	Cached   uint64 // destinations answered from what was known
	Busy     uint64 // refused with ErrBusy
	Answers  int    // kept
	Lookups  int    // under way
	Avoided  int    // addresses put last
}

// New makes a Resolver.
func New(c Config) *Resolver {
	orDuration := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	orInt := func(n *int, value int) {
		if *n == 0 {
			*n = value
		}
	}
	orDuration(&c.Timeout, 1500*time.Millisecond)
	orDuration(&c.Deadline, 8*time.Second)
	orDuration(&c.Avoid, 30*time.Second)
	orInt(&c.MaxLookups, 256)
	orInt(&c.MaxWaiting, 1024)
	orInt(&c.MaxAnswers, 16_384)
	if c.rand == nil {
		c.rand = rand.IntN
	}
	r := &Resolver{
		config:  c,
		cache:   cache{max: c.MaxAnswers, entries: map[question]entry{}, flights: map[question]*flight{}},
		avoided: avoided{max: c.MaxAnswers, set: map[Hop]time.Time{}},
		lookups: map[Destination]*lookup{},
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.exchange = r.exchangeWire
	return r
}

// Close ends the lookups under way, whose callers are told, and waits for them.
func (r *Resolver) Close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	r.wg.Wait()
	return nil
}

// Stats returns the counts.
func (r *Resolver) Stats() Stats {
	r.mu.Lock()
	lookups := len(r.lookups)
	r.mu.Unlock()
	return Stats{
		Queries: r.stats.queries.Load(), Failures: r.stats.failures.Load(), Cached: r.stats.cached.Load(), Busy: r.stats.busy.Load(),
		Answers: r.cache.size(), Lookups: lookups, Avoided: r.avoided.count(time.Now()),
	}
}

// Resolve calls done exactly once with the addresses of a destination in the
// order to try, at most 8 of them, or with an error: ErrNotFound, ErrDNS, ErrBusy
// or ErrTransport. done is called before Resolve returns when nothing has to be
// asked, and on another goroutine otherwise.
func (r *Resolver) Resolve(d Destination, done func([]Hop, error)) {
	if hops, err := r.known(d); err != errMiss {
		r.stats.cached.Add(1)
		done(hops, err)
		return
	}
	r.mu.Lock()
	l := r.lookups[d]
	full := l == nil && len(r.lookups) >= r.config.MaxLookups || l != nil && len(l.waiting) >= r.config.MaxWaiting
	if full || r.closed {
		r.mu.Unlock()
		r.stats.busy.Add(1)
		done(nil, ErrBusy)
		return
	}
	if l != nil {
		l.waiting = append(l.waiting, done)
		r.mu.Unlock()
		return
	}
	r.lookups[d] = &lookup{waiting: []func([]Hop, error){done}}
	r.wg.Go(func() { r.look(d) })
	r.mu.Unlock()
}

// known resolves a destination from kept answers alone, or returns errMiss.
func (r *Resolver) known(d Destination) ([]Hop, error) {
	now := time.Now()
	s := selection{
		config: &r.config,
		ask: func(q question) (answer, error) {
			e, ok := r.cache.get(q, now)
			if !ok {
				return answer{}, errMiss
			}
			return e.answer, e.err
		},
		ahead: func(...question) {},
	}
	hops, err := s.hops(d)
	return r.finish(hops, now), err
}

// Known returns the addresses of a destination as far as they are known; nil when
// something would have to be asked.
func (r *Resolver) Known(d Destination) []Hop {
	hops, err := r.known(d)
	if err != nil {
		return nil
	}
	return hops
}

// look resolves a destination by asking, and tells everybody who waits for it.
func (r *Resolver) look(d Destination) {
	ctx, cancel := context.WithTimeout(r.ctx, r.config.Deadline)
	defer cancel()
	asked := map[question]*promise{}
	ahead := func(questions ...question) {
		for _, q := range questions {
			if asked[q] == nil {
				p := &promise{}
				asked[q] = p
				p.Go(func() { p.answer, p.err = r.query(ctx, q) })
			}
		}
	}
	s := selection{
		config: &r.config,
		ahead:  ahead,
		ask: func(q question) (answer, error) {
			ahead(q)
			p := asked[q]
			p.Wait()
			return p.answer, p.err
		},
	}
	hops, err := s.hops(d)
	for _, p := range asked {
		p.Wait()
	}
	r.mu.Lock()
	waiting := r.lookups[d].waiting
	delete(r.lookups, d)
	r.mu.Unlock()
	hops = r.finish(hops, time.Now())
	for _, done := range waiting {
		done(slices.Clone(hops), err)
	}
}

// promise is the answer to a question within one lookup: asked once, also where
// its TTL of 0 keeps it out of the cache.
type promise struct {
	sync.WaitGroup
	answer answer
	err    error
}

func (r *Resolver) finish(hops []Hop, now time.Time) []Hop {
	hops = r.avoided.last(hops, now)
	return hops[:min(len(hops), maxHops)]
}

// query answers a question from what is known, from the same question under way,
// or by asking.
func (r *Resolver) query(ctx context.Context, q question) (answer, error) {
	if e, ok := r.cache.get(q, time.Now()); ok {
		return e.answer, e.err
	}
	f, owner := r.cache.join(q)
	if !owner {
		select {
		case <-f.done:
			return f.answer, f.err
		case <-ctx.Done():
			return answer{}, ErrDNS
		}
	}
	r.stats.queries.Add(1)
	a, err := r.lookup(ctx, q)
	if err != nil {
		r.stats.failures.Add(1)
	}
	now := time.Now()
	r.cache.land(q, f, entry{a, err, now.Add(a.ttl)}, now)
	return a, err
}

// Avoid puts a hop behind others for d, or for the configured time where d is 0:
// it did not answer, could not be reached, or said 503 (RFC 3263 4.3).
func (r *Resolver) Avoid(h Hop, d time.Duration) {
	if d == 0 {
		d = r.config.Avoid
	}
	now := time.Now()
	r.avoided.add(h, now, now.Add(d))
}

// Reached takes back what Avoid said.
func (r *Resolver) Reached(h Hop) { r.avoided.remove(h) }
