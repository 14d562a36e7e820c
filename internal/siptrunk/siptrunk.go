// Package siptrunk registers this server with its trunks (RFC 3261 10.2): it
// sends REGISTER, answers the challenge, refreshes in time, keeps the way open
// and tries again, ever more rarely, when it fails. It routes no calls.
package siptrunk

import (
	"context"
	"log/slog"
	"net/netip"
	"reflect"
	"sync"
	"time"

	"onhook/internal/sip"
	"onhook/internal/sipresolve"
	"onhook/internal/siptransaction"
	"onhook/internal/trunk"
)

// Transport is what a registration needs of the transports.
type Transport interface {
	Send(flow sip.Flow, msg []byte) error
	Dial(t sip.Transport, remote netip.AddrPort, serverName string) (sip.Flow, error)
	Alive(flow sip.Flow) bool
	SetBound(flow sip.Flow, bound bool)
	SentBy(flow sip.Flow) string
}

// Resolver finds a trunk's addresses (RFC 3263).
type Resolver interface {
	Resolve(d sipresolve.Destination, done func([]sipresolve.Hop, error))
	Avoid(h sipresolve.Hop, d time.Duration)
}

// Config is what Registrations are made of.
type Config struct {
	Table        *trunk.Table
	Transport    Transport
	Transactions *siptransaction.Layer
	Resolver     Resolver
	Logger       *slog.Logger

	Keepalive time.Duration // between keepalives: 25 s, which is less than NATs remember (RFC 5626 4.4.2)
	MinRetry  time.Duration // after a first failure: 15 s; doubled with each further one
	MaxRetry  time.Duration // 10 minutes
}

// The states of a registration.
const (
	Off        = "off"        // the trunk wants none
	Trying     = "trying"     // not registered yet
	Registered = "registered" // until Status.Until
	Failed     = "failed"     // the last attempt was in vain; Status.Until is the next one
)

// Status is how a registration stands.
type Status struct {
	State   string
	Until   time.Time // see State
	Address string    // with which we are registered
	Error   string    // of the last attempt, "" after a success
}

// Registrations are those of all trunks that want one.
type Registrations struct {
	config  Config
	changed chan struct{}

	mu      sync.Mutex
	running map[string]*registration
}

// New makes Registrations that begin with Run.
func New(c Config) *Registrations {
	orDuration := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	orDuration(&c.Keepalive, 25*time.Second)
	orDuration(&c.MinRetry, 15*time.Second)
	orDuration(&c.MaxRetry, 10*time.Minute)
	return &Registrations{config: c, changed: make(chan struct{}, 1), running: map[string]*registration{}}
}

// Changed has the trunks looked at again.
func (r *Registrations) Changed() {
	select {
	case r.changed <- struct{}{}:
	default: // it will be
	}
}

// Status returns how the registration with a trunk stands.
func (r *Registrations) Status(name string) Status {
	r.mu.Lock()
	reg := r.running[name]
	r.mu.Unlock()
	if reg == nil {
		return Status{State: Off}
	}
	return reg.current()
}

// Run registers until ctx ends; then it takes the registrations back, as far as
// the trunks answer soon.
func (r *Registrations) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		r.reconcile(ctx, &wg)
		select {
		case <-ctx.Done():
			return nil
		case <-r.changed:
		}
	}
}

// reconcile starts and ends registrations so that they are those of the table.
func (r *Registrations) reconcile(ctx context.Context, wg *sync.WaitGroup) {
	r.mu.Lock()
	defer r.mu.Unlock()
	wanted := map[string]*trunk.Line{}
	for _, line := range r.config.Table.Lines() {
		if line.Register {
			wanted[line.Name] = line
		}
	}
	for name, reg := range r.running {
		if line := wanted[name]; line == nil || !reflect.DeepEqual(line.Trunk, reg.line.Trunk) {
			reg.cancel()
			delete(r.running, name)
		}
	}
	for name, line := range wanted {
		if r.running[name] != nil {
			continue
		}
		reg := newRegistration(&r.config, line)
		var inner context.Context
		inner, reg.cancel = context.WithCancel(ctx)
		r.running[name] = reg
		wg.Go(func() { reg.run(inner) })
	}
}
