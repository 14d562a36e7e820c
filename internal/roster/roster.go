// Package roster is the API's view of every endpoint, in memory: it finds the
// page of a filtered list and counts what matches, without a query that reads
// what it does not show. It holds what lists filter by and nothing else.
package roster

import (
	"context"
	"math/bits"
	"sync"

	"onhook/internal/account"
)

// Roster finds endpoints by owner and filters. It is safe for concurrent use.
// Until Load it is empty and takes in nothing.
type Roster struct {
	registered registered
	bitmaps    sync.Pool // of *bitmap: a set of a million places is too large to make for each query

	mu     sync.RWMutex
	state  state
	missed []account.Change // while it loads
	owners map[string]*owned
	apps   applications
}

type state uint8

const (
	empty state = iota
	loading
	loaded
)

// New makes an empty Roster.
func New() *Roster {
	r := &Roster{owners: map[string]*owned{}}
	r.registered.init()
	r.apps.init()
	return r
}

// Load fills an empty roster with what each puts: every endpoint, oldest first.
// Changes may be applied meanwhile. With an error the roster stays empty; what
// each puts into one that is not is known already.
func (r *Roster) Load(ctx context.Context, each func(ctx context.Context, put func(account.Endpoint)) error) error {
	r.mu.Lock()
	first := r.state == empty
	if first {
		r.state = loading
	}
	r.mu.Unlock()
	if !first {
		return each(ctx, func(account.Endpoint) {})
	}
	err := each(ctx, func(e account.Endpoint) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.owner(e.Owner).append(r, e)
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	missed := r.missed
	r.missed = nil
	if err != nil {
		r.state, r.owners = empty, map[string]*owned{}
		r.registered.init()
		r.apps.init()
		return err
	}
	for _, o := range r.owners {
		o.sort()
	}
	r.state = loaded
	for _, c := range missed {
		r.apply(c)
	}
	return nil
}

// Loaded reports whether the roster holds every endpoint.
func (r *Roster) Loaded() bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.state == loaded
}

// Apply takes in one committed change. Applying it again changes nothing.
func (r *Roster) Apply(c account.Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch r.state {
	case loading:
		r.missed = append(r.missed, c)
	case loaded:
		r.apply(c)
	}
}

func (r *Roster) apply(c account.Change) {
	if c.Kind != account.Deleted {
		r.owner(c.After.Owner).put(r, c.After)
		return
	}
	o := r.owner(c.Before.Owner)
	o.remove(r, c.Before)
	if o.count == 0 {
		delete(r.owners, c.Before.Owner)
	}
}

func (r *Roster) owner(authID string) *owned {
	o := r.owners[authID]
	if o == nil {
		o = &owned{}
		r.owners[authID] = o
	}
	return o
}

// SetRegistered takes in whether an endpoint has a live binding. It waits for no
// list.
func (r *Roster) SetRegistered(id account.EndpointID, is bool) { r.registered.set(id, is) }

// Find returns the ids of one page of the owner's endpoints, newest first, and
// the number of all that match.
func (r *Roster) Find(owner string, q account.EndpointQuery) (page []account.EndpointID, total int) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	o := r.owners[owner]
	if o == nil {
		return nil, 0
	}
	f := o.find(r, q)
	defer f.end()
	return o.page(f.set, q.Offset, q.Limit), f.total()
}

// page returns the ids of a page of the set, from its end.
func (o *owned) page(set bitmap, offset, limit int) (ids []account.EndpointID) {
	for i := len(set) - 1; i >= 0 && len(ids) < limit; i-- {
		word := set[i]
		if n := bits.OnesCount64(word); n <= offset {
			offset -= n
			continue
		}
		for word != 0 && len(ids) < limit {
			top := 63 - bits.LeadingZeros64(word)
			word &^= 1 << top
			if offset > 0 {
				offset--
				continue
			}
			ids = append(ids, o.ids[i*64+top])
		}
	}
	return ids
}
