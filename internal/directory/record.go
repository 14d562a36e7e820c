package directory

import (
	"hash/maphash"
	"maps"
	"math"
	"sync/atomic"
	"time"
	"unique"

	"onhook/internal/account"
)

// Record is an endpoint as it is kept, and as it was when it was found: a change
// puts another in its place. What many endpoints have in common is stored once.
type Record struct {
	id          account.EndpointID
	owner, main unique.Handle[string]
	domain      unique.Handle[string]
	application unique.Handle[string]
	username    string
	alias       string  // mostly the username itself
	next        *Record // of the same hash; guarded by its shard
	secret      account.Secret
	previous    *previous // nil: none
	allow       account.Permissions
	maxContacts uint8
	replaced    atomic.Bool     // another one, or none, stands in its place
	limits      *account.Limits // nil for none, as nearly all have
}

// previous is a secret that is being replaced.
type previous struct {
	secret account.Secret
	until  time.Time
}

func newRecord(e account.Endpoint) *Record {
	alias := e.Alias
	if alias == e.Username {
		alias = e.Username // one string for both
	}
	var limits *account.Limits
	if own := e.Limits; own != (account.Limits{}) {
		limits = &own
	}
	r := &Record{limits: limits, id: e.ID, owner: unique.Make(e.Owner), main: unique.Make(e.Main), domain: unique.Make(e.Domain),
		application: unique.Make(e.Application), username: e.Username, alias: alias, secret: e.Secret, allow: e.Allow,
		maxContacts: uint8(min(max(e.MaxContacts, 0), math.MaxUint8))}
	if !e.PreviousUntil.IsZero() {
		r.previous = &previous{e.Previous, e.PreviousUntil}
	}
	return r
}

// ID returns the endpoint's id.
func (r *Record) ID() account.EndpointID { return r.id }

// Username returns the username as it was spelled at creation.
func (r *Record) Username() string { return r.username }

// Domain returns the SIP domain.
func (r *Record) Domain() string { return r.domain.Value() }

// MaxContacts is how many bindings the endpoint may have.
func (r *Record) MaxContacts() int { return int(r.maxContacts) }

// Secret returns the password's hashes, which must not be changed.
func (r *Record) Secret() *account.Secret { return &r.secret }

// Previous returns the hashes of the password before, nil when it does not work
// (any more).
func (r *Record) Previous() *account.Secret {
	if r.previous == nil || !time.Now().Before(r.previous.until) {
		return nil
	}
	return &r.previous.secret
}

// hasSHA256 reports whether every password that works has a SHA-256 hash.
func (r *Record) hasSHA256() bool {
	return r.secret.HasSHA256 && (r.previous == nil || r.previous.secret.HasSHA256)
}

// longest is the longest name that can exist: 64 of username, 255 of domain.
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
		dst[i] = lowerByte(s[i])
	}
	return len(s)
}

func lowerByte(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c |= 0x20
	}
	return c
}

// fold reports whether two names are equal but for the case of ASCII letters.
func fold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lowerByte(a[i]) != lowerByte(b[i]) {
			return false
		}
	}
	return true
}

// put adds an endpoint or replaces what is known of it, so that no reader
// misses it in between.
func (d *Directory) put(e account.Endpoint) {
	h, ok := d.hash(e.Domain, e.Username)
	if !ok {
		return // longer than any rule allows: nobody could ask for it
	}
	r := newRecord(e)
	d.count(r, 1) // before it can be found: an offer that it cannot meet is worse than none
	ids := &d.ids[r.id%shards]
	old := ids.records[r.id] // only changes write, and there is one at a time
	if old != nil && (!fold(old.username, r.username) || old.domain != r.domain) {
		d.unlink(old, nil) // names do not change, but a directory follows what it is told
		d.link(h, r)
	} else if old != nil {
		d.unlink(old, r)
	} else {
		d.link(h, r)
	}
	ids.mu.Lock()
	ids.records[r.id] = r
	ids.mu.Unlock()
	if old != nil {
		old.replaced.Store(true)
	}
	d.count(old, -1)
}

func (d *Directory) remove(id account.EndpointID) {
	ids := &d.ids[id%shards]
	old := ids.records[id]
	if old == nil {
		return
	}
	d.unlink(old, nil)
	ids.mu.Lock()
	delete(ids.records, id)
	ids.mu.Unlock()
	old.replaced.Store(true)
	d.count(old, -1)
}

// link enters a record under its name.
func (d *Directory) link(h uint64, r *Record) {
	s := &d.names[h%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	r.next = s.records[h]
	s.records[h] = r
}

// unlink takes a record's name out, or gives it to a successor at once.
func (d *Directory) unlink(old, successor *Record) {
	h, _ := d.hash(old.domain.Value(), old.username)
	s := &d.names[h%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replace(h, old, successor)
}

// replace puts a successor, or nothing, into a record's place.
func (s *nameShard) replace(h uint64, old, successor *Record) {
	after := old.next
	if successor != nil {
		successor.next = after
		after = successor
	}
	switch first := s.records[h]; {
	case first == old && after == nil:
		delete(s.records, h)
	case first == old:
		s.records[h] = after
	default:
		for r := first; r != nil; r = r.next {
			if r.next == old {
				r.next = after
				return
			}
		}
	}
}

// count keeps the number of endpoints without a SHA-256 secret.
func (d *Directory) count(r *Record, by int) {
	if r == nil || r.hasSHA256() {
		return
	}
	counts := maps.Clone(*d.md5Only.Load())
	domain := r.domain.Value()
	if counts[domain] += by; counts[domain] == 0 {
		delete(counts, domain)
	}
	d.md5Only.Store(&counts)
}
