// Package siptrunk registers this server with its trunks (RFC 3261 10.2): it
// sends REGISTER, answers the challenge, refreshes in time, keeps the way open
// and tries again, ever more rarely, when it fails. It routes no calls.
package siptrunk

import (
	"context"
	"log/slog"
	"net/netip"
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
	Moved        func() // told when the address of a registration is another; nil: nobody
	Logger       *slog.Logger

	Keepalive time.Duration // between keepalives: 25 s, which is less than NATs remember (RFC 5626 4.4.2)
	MinRetry  time.Duration // after a first failure: 15 s; doubled with each further one
	MaxRetry  time.Duration // 10 minutes
}

// Registrations are those of all trunks that want one. How each stands is told to
// its trunk.Line.
type Registrations struct {
	config  Config
	changed chan struct{}
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
	if c.Moved == nil {
		c.Moved = func() {}
	}
	return &Registrations{config: c, changed: make(chan struct{}, 1)}
}

// Changed has the trunks looked at again.
func (r *Registrations) Changed() {
	select {
	case r.changed <- struct{}{}:
	default: // it will be
	}
}

// Run registers until ctx ends; then it takes the registrations back, as far as
// the trunks answer soon.
func (r *Registrations) Run(ctx context.Context) error {
	running := map[string]*registration{} // by the trunk's name
	for {
		r.reconcile(ctx, running)
		select {
		case <-ctx.Done():
			for _, reg := range running {
				<-reg.done
			}
			return nil
		case <-r.changed:
		}
	}
}

// reconcile starts and ends registrations so that they are those of the table.
// None begins before those that end have said goodbye, which takes seconds at
// most: a carrier knows us by user and Contact, and the goodbye of a trunk would
// end what its successor has just begun.
func (r *Registrations) reconcile(ctx context.Context, running map[string]*registration) {
	wanted := map[string]*trunk.Line{}
	for _, line := range r.config.Table.Lines() {
		if line.Register {
			wanted[line.Name] = line
		}
	}
	var leaving []*registration
	for name, reg := range running {
		if line := wanted[name]; line == nil || !line.RegistersAs(reg.line) {
			reg.cancel()
			delete(running, name)
			leaving = append(leaving, reg)
		}
	}
	for _, reg := range leaving {
		<-reg.done
	}
	for name, line := range wanted {
		if running[name] == nil {
			running[name] = start(ctx, &r.config, line)
		}
	}
}
