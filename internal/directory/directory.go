// Package directory is the request path's read-only view of every endpoint, in
// memory and fed by changes: a name it lacks is unknown, and no request costs a
// query. It changes nothing and asks no database after loading.
package directory

import (
	"context"
	"fmt"
	"hash/maphash"
	"maps"
	"sync"
	"sync/atomic"

	"onhook/internal/account"
)

// Entry is what the request path needs of an endpoint.
type Entry struct {
	ID          account.EndpointID
	Owner, Main string // auth_ids, as in account.Endpoint
	Username    string // spelled as at creation
	Alias       string
	Domain      string
	Application string
	Allow       account.Permissions
	MaxContacts int
	Secret      account.Secret
	Enabled     bool // its owner is, and so is the owner's main account
	// NoExternalCalls keeps out callers who are no endpoints of this server: by its
	// own limits, its owner's or its main account's.
	NoExternalCalls bool
}

const shards = 64 // a power of two

// Directory finds endpoints by name and by id. It is safe for concurrent use:
// readers wait for nothing longer than one map assignment.
type Directory struct {
	seed  maphash.Seed
	names [shards]nameShard
	ids   [shards]idShard

	change sync.Mutex                      // one change at a time
	fresh  map[account.EndpointID]struct{} // changed while Load runs; nil otherwise

	apps applications

	// Replaced as a whole under change, so that the request path takes no lock
	// that all of it shares.
	md5Only  atomic.Pointer[map[string]int]            // domain → its endpoints without a SHA-256 secret
	disabled atomic.Pointer[map[string]struct{}]       // auth_ids
	limits   atomic.Pointer[map[string]account.Limits] // by auth_id, of accounts that have any
}

type nameShard struct {
	mu      sync.RWMutex
	records map[uint64]*Record // by hash; those that share one are chained
}

type idShard struct {
	mu    sync.RWMutex
	names map[account.EndpointID]uint64 // the hash of its name; pointers would cost the collector a look at each
}

// New makes an empty Directory.
func New() *Directory {
	d := &Directory{seed: maphash.MakeSeed(), apps: applications{ids: map[string]bool{}}}
	d.md5Only.Store(&map[string]int{})
	d.disabled.Store(&map[string]struct{}{})
	d.limits.Store(&map[string]account.Limits{})
	for i := range shards {
		d.names[i].records = map[uint64]*Record{}
		d.ids[i].names = map[account.EndpointID]uint64{}
	}
	return d
}

// Source is what a Directory loads from. Every account.Store is one.
type Source interface {
	Accounts(ctx context.Context) ([]account.Account, error)
	ApplicationIDs(ctx context.Context) ([]string, error)
	EachEndpoint(ctx context.Context, f func(account.Endpoint) error) error
}

// Load takes in everything there is. Changes may be applied meanwhile: they
// are newer than what the source says.
func (d *Directory) Load(ctx context.Context, s Source) error {
	accounts, err := s.Accounts(ctx)
	if err != nil {
		return fmt.Errorf("load accounts: %w", err)
	}
	if err := d.apps.load(ctx, s); err != nil {
		return fmt.Errorf("load applications: %w", err)
	}
	disabled, limits := map[string]struct{}{}, map[string]account.Limits{}
	for _, a := range accounts {
		if !a.Enabled {
			disabled[a.AuthID] = struct{}{}
		}
		if a.Limits != (account.Limits{}) {
			limits[a.AuthID] = a.Limits
		}
	}
	d.change.Lock()
	d.disabled.Store(&disabled)
	d.limits.Store(&limits)
	d.fresh = map[account.EndpointID]struct{}{}
	d.change.Unlock()
	err = s.EachEndpoint(ctx, func(e account.Endpoint) error {
		d.change.Lock()
		defer d.change.Unlock()
		if _, newer := d.fresh[e.ID]; !newer {
			d.put(e)
		}
		return nil
	})
	d.change.Lock()
	d.fresh = nil
	d.change.Unlock()
	if err != nil {
		return fmt.Errorf("load endpoints: %w", err)
	}
	return nil
}

// Apply takes in one committed change. Applying it again changes nothing.
func (d *Directory) Apply(c account.Change) {
	d.change.Lock()
	defer d.change.Unlock()
	e := c.After
	if c.Kind == account.Deleted {
		e = c.Before
		d.remove(e.ID)
	} else {
		d.put(e)
	}
	if d.fresh != nil {
		d.fresh[e.ID] = struct{}{}
	}
}

// SetEnabled takes in whether an account is enabled; all are until it is said.
func (d *Directory) SetEnabled(authID string, enabled bool) {
	d.change.Lock()
	defer d.change.Unlock()
	disabled := maps.Clone(*d.disabled.Load())
	if enabled {
		delete(disabled, authID)
	} else {
		disabled[authID] = struct{}{}
	}
	d.disabled.Store(&disabled)
}

// SetLimits takes in the limits of an account; none has any until it is said.
func (d *Directory) SetLimits(authID string, l account.Limits) {
	d.change.Lock()
	defer d.change.Unlock()
	limits := maps.Clone(*d.limits.Load())
	if l == (account.Limits{}) {
		delete(limits, authID)
	} else {
		limits[authID] = l
	}
	d.limits.Store(&limits)
}

// Limits returns the limits that an endpoint's calls are under: its own, those
// of its owner, and of its main account where that is another.
func (d *Directory) Limits(r *Record) (own, owner, main account.Limits) {
	if r.rare != nil {
		own = r.rare.limits
	}
	if limits := *d.limits.Load(); len(limits) > 0 {
		of := r.shared.Value()
		owner = limits[of.owner]
		if of.main != of.owner {
			main = limits[of.main]
		}
	}
	return own, owner, main
}

// ByName finds an endpoint by its SIP domain and username, both in any case.
// It does not allocate.
func (d *Directory) ByName(domain, username string) (Entry, bool) {
	return d.entry(d.Find(domain, username))
}

// ByID finds an endpoint by its id. It does not allocate.
func (d *Directory) ByID(id account.EndpointID) (Entry, bool) { return d.entry(d.FindID(id)) }

// Find is ByName that copies nothing; nil for an unknown name.
func (d *Directory) Find(domain, username string) *Record {
	h, ok := d.hash(domain, username)
	if !ok {
		return nil
	}
	s := &d.names[h%shards]
	s.mu.RLock()
	defer s.mu.RUnlock()
	r := s.records[h]
	for r != nil && !(fold(r.Username(), username) && fold(r.Domain(), domain)) {
		r = r.next
	}
	return r
}

// FindID is ByID that copies nothing; nil for an unknown id.
func (d *Directory) FindID(id account.EndpointID) *Record {
	ids := &d.ids[id%shards]
	ids.mu.RLock()
	h, ok := ids.names[id]
	ids.mu.RUnlock()
	if !ok {
		return nil
	}
	s := &d.names[h%shards]
	s.mu.RLock()
	defer s.mu.RUnlock()
	r := s.records[h]
	for r != nil && r.id != id {
		r = r.next
	}
	return r
}

// Enabled reports whether the accounts that an endpoint belongs to are.
func (d *Directory) Enabled(r *Record) bool {
	disabled := *d.disabled.Load()
	if len(disabled) == 0 {
		return true
	}
	of := r.shared.Value()
	_, owner := disabled[of.owner]
	_, main := disabled[of.main]
	return !owner && !main
}

// Holds reports whether a record's endpoint still has a secret of the record's,
// is enabled, and whether the secret is the one before the present one.
func (d *Directory) Holds(r *Record, secret *account.Secret) (previous, ok bool) {
	now := r
	if r.replaced.Load() {
		if now = d.FindID(r.id); now == nil {
			return false, false
		}
	}
	if !d.Enabled(now) {
		return false, false
	}
	if secret == &now.secret || *secret == now.secret {
		return false, true
	}
	before := now.Previous()
	return true, before != nil && *before == *secret
}

// Entry shows all of a record.
func (d *Directory) Entry(r *Record) Entry {
	of := r.shared.Value()
	own, owner, main := d.Limits(r)
	return Entry{ID: r.id, Owner: of.owner, Main: of.main, Username: r.Username(), Alias: r.alias(), Domain: of.domain,
		Application: of.application, Allow: r.allow, MaxContacts: int(r.maxContacts), Secret: r.secret, Enabled: d.Enabled(r),
		NoExternalCalls: own.NoExternalCalls || owner.NoExternalCalls || main.NoExternalCalls}
}

func (d *Directory) entry(r *Record) (Entry, bool) {
	if r == nil {
		return Entry{}, false
	}
	return d.Entry(r), true
}

// OffersSHA256 reports whether every endpoint of a domain has a SHA-256 secret,
// so that the algorithm may be offered to all: the offer must not depend on the
// user. The domain is in lower case, as endpoints have it.
func (d *Directory) OffersSHA256(domain string) bool {
	return (*d.md5Only.Load())[domain] == 0
}

// Len is the number of endpoints.
func (d *Directory) Len() (n int) {
	for i := range d.ids {
		s := &d.ids[i]
		s.mu.RLock()
		n += len(s.names)
		s.mu.RUnlock()
	}
	return n
}
