// Package registrar answers REGISTER requests (RFC 3261 10.3): it reads the
// contacts, edits the address-of-record's bindings in the location index and
// replies once the change is durable. It does not authenticate and does not
// decide which address-of-record a request is for; its caller has.
package registrar

import (
	"errors"
	"sync"
	"time"

	"onhook/internal/location"
	"onhook/internal/sip"
	"onhook/internal/sipgruu"
)

// Config says how a Registrar behaves. Zero values mean the defaults.
type Config struct {
	Index *location.Index

	MinExpires     time.Duration // 60 s; a shorter wish gets 423
	MaxExpires     time.Duration // 1 h; a longer wish is lowered
	DefaultExpires time.Duration // 600 s; for a Contact without a wish
	MaxContacts    int           // 10; where AOR has none
	RetryAfter     time.Duration // 5 s; at least this and at most twice this in a 503

	// ServiceRoute appends the URI by which the requests of a device on this
	// flow come over this server (RFC 3608 6.3); nil: none is given.
	ServiceRoute func(dst []byte, flow sip.Flow) []byte
	// FlowTimer is told to a device that registers a flow with us (RFC 5626 6);
	// 0: nothing is. Over UDP, where a NAT forgets sooner, it is 30 s at most.
	FlowTimer time.Duration
	// Watch is called when a device has been told FlowTimer on a connection:
	// whoever is silent for much longer is gone. It must not block.
	Watch func(flow sip.Flow)
	// GRUUs makes the URIs of devices (RFC 5627); nil: none are given.
	GRUUs *sipgruu.GRUUs

	// Admit is asked, under the lock that orders all changes of an
	// address-of-record, whether AOR.Credentials still hold. It closes the gap
	// between checking a password and saving the binding, in which the password
	// may have changed. previous tells that they are those of the password
	// before, which still works. nil admits all.
	Admit func(key location.Key, credentials any) (previous, ok bool)
}

// AOR is the address-of-record a REGISTER is for.
type AOR struct {
	Key         location.Key
	Username    string // as it stands in the GRUUs of its devices
	MaxContacts int    // 0: the default
	Domain      string // named in Warning header fields and GRUUs
	Credentials any    // what the request was authenticated with, for Config.Admit
}

// Replier sends the response; *siptransaction.Server is one. It copies msg.
type Replier interface {
	Respond(status int, msg []byte)
}

// Registrar answers REGISTER requests.
type Registrar struct {
	cfg                 Config
	min, max, byDefault uint32 // seconds
	retryAfter          uint32
	flowTimer           uint32 // seconds, 0: none
	registrations       sync.Pool
	date                date
}

// New makes a Registrar.
func New(cfg Config) *Registrar {
	seconds := func(d, byDefault time.Duration) uint32 {
		if d <= 0 {
			d = byDefault
		}
		return uint32((d + time.Second - 1) / time.Second)
	}
	r := &Registrar{
		cfg:        cfg,
		min:        seconds(cfg.MinExpires, time.Minute),
		max:        seconds(cfg.MaxExpires, time.Hour),
		byDefault:  seconds(cfg.DefaultExpires, 600*time.Second),
		retryAfter: seconds(cfg.RetryAfter, 5*time.Second),
	}
	if r.cfg.MaxContacts <= 0 {
		r.cfg.MaxContacts = 10
	}
	if cfg.FlowTimer > 0 {
		r.flowTimer = seconds(cfg.FlowTimer, 0)
	}
	r.registrations.New = func() any { return &registration{r: r} }
	return r
}

// Register answers an authenticated REGISTER for aor. req is used until
// Register returns, reply until it has been called, which it is exactly once:
// before Register returns, or later from another goroutine when the change is
// durable.
func (r *Registrar) Register(req *sip.Message, flow sip.Flow, aor AOR, reply Replier) {
	g := r.registrations.Get().(*registration)
	g.req, g.flow, g.aor, g.reply = req, flow, aor, reply
	if g.aor.MaxContacts <= 0 {
		g.aor.MaxContacts = r.cfg.MaxContacts
	}
	g.newTag()
	if refused := g.read(); refused != nil {
		g.refuse(refused)
		return
	}
	err := r.cfg.Index.Update(aor.Key, g)
	if err == nil {
		return // g is in use elsewhere, or even again
	}
	var refused *refusal
	if !errors.As(err, &refused) {
		refused = errUnavailable // location.ErrBusy, location.ErrClosed
	}
	g.refuse(refused)
}

// release forgets the request and gives g back to the pool.
func (g *registration) release() {
	r := g.r
	if cap(g.buf) > 16<<10 || cap(g.scratch) > 16<<10 {
		return
	}
	clear(g.contacts)
	*g = registration{r: r, contacts: g.contacts[:0], scratch: g.scratch[:0], buf: g.buf[:0]}
	r.registrations.Put(g)
}
