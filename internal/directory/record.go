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
// puts another in its place. There may be a million: what many of them have in
// common is stored once, and the collector finds three pointers at the front.
type Record struct {
	shared unique.Handle[shared]
	texts  string  // the username, and behind it an alias that is another
	rare   *rare   // nil: nothing
	next   *Record // of the same hash; guarded by its shard

	id          account.EndpointID
	secret      account.Secret
	allow       account.Permissions
	maxContacts uint8
	username    uint8       // its length in texts
	replaced    atomic.Bool // another one, or none, stands in its place
}

// shared is what most endpoints have in common with many others.
type shared struct{ owner, main, domain, application string }

// rare is what few endpoints have.
type rare struct {
	limits   account.Limits
	previous account.Secret // the one before, which works
	until    time.Time      // this; zero: there is none
}

func newRecord(e account.Endpoint) *Record {
	r := &Record{id: e.ID, secret: e.Secret, allow: e.Allow, maxContacts: uint8(min(max(e.MaxContacts, 0), math.MaxUint8)),
		shared: unique.Make(shared{e.Owner, e.Main, e.Domain, e.Application}), texts: e.Username, username: uint8(len(e.Username))}
	if e.Alias != e.Username {
		r.texts += e.Alias
	}
	if e.Limits != (account.Limits{}) || !e.PreviousUntil.IsZero() {
		r.rare = &rare{e.Limits, e.Previous, e.PreviousUntil}
	}
	return r
}

// ID returns the endpoint's id.
func (r *Record) ID() account.EndpointID { return r.id }

// Username returns the username as it was spelled at creation.
func (r *Record) Username() string { return r.texts[:r.username] }

func (r *Record) alias() string {
	if len(r.texts) == int(r.username) {
		return r.texts
	}
	return r.texts[r.username:]
}

// Domain returns the SIP domain.
func (r *Record) Domain() string { return r.shared.Value().domain }

// MaxContacts is how many bindings the endpoint may have.
func (r *Record) MaxContacts() int { return int(r.maxContacts) }

// Secret returns the password's hashes, which must not be changed.
func (r *Record) Secret() *account.Secret { return &r.secret }

// Previous returns the hashes of the password before, nil when it does not work
// (any more).
func (r *Record) Previous() *account.Secret {
	if r.rare == nil || !time.Now().Before(r.rare.until) {
		return nil
	}
	return &r.rare.previous
}

// hasSHA256 reports whether every password that works has a SHA-256 hash.
func (r *Record) hasSHA256() bool {
	return r.secret.HasSHA256 && (r.rare == nil || r.rare.until.IsZero() || r.rare.previous.HasSHA256)
}

// The longest parts of a name that can exist.
const (
	maxUsername = 64
	maxDomain   = 255
)

// hash is that of a name in lower case; ok is false for one that cannot exist.
func (d *Directory) hash(domain, username string) (h uint64, ok bool) {
	var buf [maxUsername + 1 + maxDomain]byte
	if len(username) > maxUsername || len(domain) > maxDomain {
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
	d.count(r, 1)         // before it can be found: an offer that it cannot meet is worse than none
	old := d.FindID(r.id) // only changes write, and there is one at a time
	if old != nil && (!fold(old.Username(), r.Username()) || old.Domain() != r.Domain()) {
		d.unlink(old, nil) // names do not change, but a directory follows what it is told
		d.link(h, r)
	} else if old != nil {
		d.unlink(old, r)
	} else {
		d.link(h, r)
	}
	ids := &d.ids[r.id%shards]
	ids.mu.Lock()
	ids.names[r.id] = h
	ids.mu.Unlock()
	if old != nil {
		old.replaced.Store(true)
	}
	d.count(old, -1)
}

func (d *Directory) remove(id account.EndpointID) {
	old := d.FindID(id)
	if old == nil {
		return
	}
	d.unlink(old, nil)
	ids := &d.ids[id%shards]
	ids.mu.Lock()
	delete(ids.names, id)
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
	h, _ := d.hash(old.Domain(), old.Username())
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
	domain := r.Domain()
	if counts[domain] += by; counts[domain] == 0 {
		delete(counts, domain)
	}
	d.md5Only.Store(&counts)
}
