// Package directory is the request path's read-only view of every endpoint, in
// memory and fed by changes: a name it lacks is unknown, and no request costs a
// query. It changes nothing and asks no database after loading.
package directory

import (
	"context"
	"hash/maphash"
	"strings"
	"sync"
	"unique"

	"onhook/internal/account"
)

// Entry is what the request path needs of an endpoint.
type Entry struct {
	ID          account.EndpointID
	Owner, Main string
	Username    string // spelled as at creation
	Domain      string
	Application string
	Allow       account.Permissions
	MaxContacts int
	Secret      account.Secret
}

// record is an Entry as it is kept: names that many endpoints share are stored
// once.
type record struct {
	id          account.EndpointID
	owner, main unique.Handle[string]
	domain      unique.Handle[string]
	application unique.Handle[string]
	username    string
	next        *record // of the same hash
	secret      account.Secret
	allow       account.Permissions
	maxContacts uint8
}

func (r *record) entry() Entry {
	return Entry{ID: r.id, Owner: r.owner.Value(), Main: r.main.Value(), Username: r.username, Domain: r.domain.Value(),
		Application: r.application.Value(), Allow: r.allow, MaxContacts: int(r.maxContacts), Secret: r.secret}
}

const shards = 64 // a power of two

// Directory finds endpoints by name and by id. It is safe for concurrent use.
type Directory struct {
	seed   maphash.Seed
	names  [shards]nameShard
	ids    [shards]idShard
	mu     sync.RWMutex
	legacy map[string]int // endpoints without a SHA-256 secret, by domain
}

type nameShard struct {
	mu      sync.RWMutex
	records map[uint64]*record
}

type idShard struct {
	mu      sync.RWMutex
	records map[account.EndpointID]*record
}

// New makes an empty Directory.
func New() *Directory {
	d := &Directory{seed: maphash.MakeSeed(), legacy: map[string]int{}}
	for i := range shards {
		d.names[i].records = map[uint64]*record{}
		d.ids[i].records = map[account.EndpointID]*record{}
	}
	return d
}

// Source is where a Directory loads from.
type Source interface {
	EachEndpoint(ctx context.Context, f func(account.Endpoint) error) error
}

// Load takes in every endpoint there is.
func (d *Directory) Load(ctx context.Context, s Source) error {
	return s.EachEndpoint(ctx, func(e account.Endpoint) error {
		d.put(e)
		return nil
	})
}

// Apply takes in one committed change. Applying it again changes nothing.
func (d *Directory) Apply(c account.Change) {
	if c.Kind == account.Deleted {
		d.remove(c.Before.ID)
		return
	}
	d.put(c.After)
}

// longest bounds a name that can exist: 64 of username, 255 of domain.
const longest = 64 + 1 + 255

// hash is that of a name in lower case; ok is false for one that cannot exist.
func (d *Directory) hash(domain, username string) (h uint64, ok bool) {
	var buf [longest]byte
	if len(username)+1+len(domain) > longest {
		return 0, false
	}
	n := lower(buf[:], username)
	buf[n] = '@'
	n += 1 + lower(buf[n+1:], domain)
	return maphash.Bytes(d.seed, buf[:n]), true
}

func lower(dst []byte, s string) int {
	for i := range len(s) {
		c := s[i]
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		dst[i] = c
	}
	return len(s)
}

// ByName finds an endpoint by its SIP domain and username, both in any case.
// It does not allocate.
func (d *Directory) ByName(domain, username string) (Entry, bool) {
	h, ok := d.hash(domain, username)
	if !ok {
		return Entry{}, false
	}
	s := &d.names[h%shards]
	s.mu.RLock()
	defer s.mu.RUnlock()
	for r := s.records[h]; r != nil; r = r.next {
		if strings.EqualFold(r.username, username) && strings.EqualFold(r.domain.Value(), domain) {
			return r.entry(), true
		}
	}
	return Entry{}, false
}

// ByID finds an endpoint by its id. It does not allocate.
func (d *Directory) ByID(id account.EndpointID) (Entry, bool) {
	s := &d.ids[id%shards]
	s.mu.RLock()
	defer s.mu.RUnlock()
	r, ok := s.records[id]
	if !ok {
		return Entry{}, false
	}
	return r.entry(), true
}

// OffersSHA256 reports whether every endpoint of a domain has a SHA-256 secret,
// so that the algorithm may be offered to all (the offer must not depend on the
// user).
func (d *Directory) OffersSHA256(domain string) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.legacy[domain] == 0
}

// Len is the number of endpoints.
func (d *Directory) Len() (n int) {
	for i := range d.ids {
		s := &d.ids[i]
		s.mu.RLock()
		n += len(s.records)
		s.mu.RUnlock()
	}
	return n
}

// put adds an endpoint or replaces what is known of it.
func (d *Directory) put(e account.Endpoint) {
	d.remove(e.ID)
	h, ok := d.hash(e.Domain, e.Username)
	if !ok {
		return // longer than any rule allows: nobody could ask for it
	}
	r := &record{id: e.ID, owner: unique.Make(e.Owner), main: unique.Make(e.Main), domain: unique.Make(e.Domain),
		application: unique.Make(e.Application), username: e.Username, secret: e.Secret, allow: e.Allow, maxContacts: uint8(e.MaxContacts)}
	s := &d.names[h%shards]
	s.mu.Lock()
	r.next = s.records[h]
	s.records[h] = r
	s.mu.Unlock()
	ids := &d.ids[e.ID%shards]
	ids.mu.Lock()
	ids.records[e.ID] = r
	ids.mu.Unlock()
	d.count(r, 1)
}

func (d *Directory) remove(id account.EndpointID) {
	ids := &d.ids[id%shards]
	ids.mu.Lock()
	gone := ids.records[id]
	delete(ids.records, id)
	ids.mu.Unlock()
	if gone == nil {
		return
	}
	h, _ := d.hash(gone.domain.Value(), gone.username)
	s := &d.names[h%shards]
	s.mu.Lock()
	if s.records[h] == gone && gone.next == nil {
		delete(s.records, h)
	} else if s.records[h] == gone {
		s.records[h] = gone.next
	} else {
		for r := s.records[h]; r != nil; r = r.next {
			if r.next == gone {
				r.next = gone.next
				break
			}
		}
	}
	s.mu.Unlock()
	d.count(gone, -1)
}

// count keeps the number of endpoints without a SHA-256 secret.
func (d *Directory) count(r *record, by int) {
	if r.secret.HasSHA256 {
		return
	}
	d.mu.Lock()
	d.legacy[r.domain.Value()] += by
	d.mu.Unlock()
}
