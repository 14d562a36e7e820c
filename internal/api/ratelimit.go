package api

import (
	"sync"
	"time"

	"onhook/internal/account"
)

// maxBuckets is how many accounts' limits are remembered at a time. Beyond it
// those go that have not been used for longest or are full again: nobody gains
// more than one more burst.
const maxBuckets = 100_000

// rateLimits is a token bucket for each account: what it may ask in a second,
// and as much at once.
type rateLimits struct {
	now func() time.Time

	mu sync.Mutex
	of map[string]*bucket // by auth_id
}

type bucket struct {
	tokens float64
	at     time.Time
}

// allow takes one request of an account; false: it has had too many.
func (l *rateLimits) allow(a account.Account) bool {
	rate := float64(rateLimit(a))
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.of[a.AuthID]
	if b == nil {
		if len(l.of) >= maxBuckets {
			l.prune(now)
		}
		if l.of == nil {
			l.of = map[string]*bucket{}
		}
		b = &bucket{tokens: rate, at: now}
		l.of[a.AuthID] = b
	}
	b.tokens = min(rate, b.tokens+rate*max(now.Sub(b.at).Seconds(), 0))
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// prune forgets buckets that a second of rest has filled, and any others when
// that is not enough. l.mu is held.
func (l *rateLimits) prune(now time.Time) {
	for id, b := range l.of {
		if now.Sub(b.at) > time.Second {
			delete(l.of, id)
		}
	}
	for id := range l.of {
		if len(l.of) < maxBuckets*9/10 {
			return
		}
		delete(l.of, id)
	}
}
