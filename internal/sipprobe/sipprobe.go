// Package sipprobe asks the devices that registered over UDP whether they are
// still there: an OPTIONS to each at an interval, spread evenly over it and
// bounded in rate. Any answer is one. It waits for nobody, sends nothing again,
// and remembers only the probes of the last seconds.
package sipprobe

import (
	"context"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"onhook/internal/location"
	"onhook/internal/sip"
)

// Config is what a Prober is made of. Zero values mean the defaults named.
type Config struct {
	Index *location.Index
	Send  func(flow sip.Flow, msg []byte) error
	// SentBy returns the host:port of this server for the peer of a flow.
	SentBy func(flow sip.Flow) string

	Interval time.Duration // between two probes of a binding, 60 s; longer where Rate does not suffice
	Rate     int           // probes a second in all at most, 500
	Timeout  time.Duration // for the answer, 5 s; at most half of Interval
}

// Prober sends probes.
type Prober struct {
	cfg                    Config
	sent, answered, missed atomic.Uint64
	part                   int // of the index
	keys                   []location.Key
	bindings               []location.Binding
	waiting                []probe // oldest first; Rate and Timeout bound it
	msg                    []byte
	number                 uint64
	credit                 float64 // probes that may be sent now
	last                   time.Time
}

// probe is one that waits for its answer.
type probe struct {
	key location.Key
	id  string // of the binding
	at  time.Time
}

// Stats are counts since the start.
type Stats struct{ Sent, Answered, Missed uint64 }

// New makes a Prober.
func New(c Config) *Prober {
	if c.Interval <= 0 {
		c.Interval = time.Minute
	}
	if c.Rate <= 0 {
		c.Rate = 500
	}
	if c.Timeout <= 0 {
		c.Timeout = 5 * time.Second
	}
	c.Timeout = min(c.Timeout, c.Interval/2)
	return &Prober{cfg: c}
}

// Stats returns the counts.
func (p *Prober) Stats() Stats { return Stats{p.sent.Load(), p.answered.Load(), p.missed.Load()} }

// maxStep is the longest sleep: after it the number of bindings is looked at
// again.
const maxStep = time.Second

// burst is how much of what could not be sent in time is sent at once.
const burst = 20 * time.Millisecond

// Run probes until ctx ends.
func (p *Prober) Run(ctx context.Context) error {
	p.last = time.Now()
	timer := time.NewTimer(maxStep)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		timer.Reset(p.step(time.Now()))
	}
}

// step does what is due and returns when to come again.
func (p *Prober) step(now time.Time) time.Duration {
	p.overdue(now)
	perSecond := min(float64(p.cfg.Rate), float64(p.cfg.Index.Probed())/p.cfg.Interval.Seconds())
	p.credit += now.Sub(p.last).Seconds() * perSecond
	p.credit = min(p.credit, max(1, perSecond*burst.Seconds()))
	p.last = now
	const enough = 1 - 1e-9 // sixty sixtieths of a probe
	for p.credit >= enough {
		n := p.next(now)
		if n == 0 {
			p.credit = 0
			break
		}
		p.credit -= float64(n)
	}
	wait := maxStep
	if perSecond > 0 {
		wait = min(wait, time.Duration((1-p.credit)/perSecond*float64(time.Second))+time.Microsecond)
	}
	if len(p.waiting) > 0 {
		wait = min(wait, p.waiting[0].at.Add(p.cfg.Timeout).Sub(now))
	}
	return max(wait, time.Millisecond)
}

// next probes the bindings of the next address-of-record and returns how many
// these were, 0 when there are none anywhere.
func (p *Prober) next(now time.Time) int {
	for range p.cfg.Index.Shards() + 1 {
		for len(p.keys) > 0 {
			key := p.keys[len(p.keys)-1]
			p.keys = p.keys[:len(p.keys)-1]
			clear(p.bindings)
			p.bindings = p.cfg.Index.ToProbe(key, p.bindings[:0])
			for i := range p.bindings {
				p.probe(key, &p.bindings[i], now)
			}
			if len(p.bindings) > 0 {
				return len(p.bindings)
			}
		}
		p.keys = p.cfg.Index.ProbedKeys(p.part, p.keys[:0])
		p.part = (p.part + 1) % p.cfg.Index.Shards()
	}
	return 0
}

// branchPrefix begins the branches of probes. The address-of-record and the
// binding follow; a binding's id is known to its owner alone.
const branchPrefix = sip.MagicCookie + "probe."

// probe sends one OPTIONS (RFC 3261 11.1).
func (p *Prober) probe(key location.Key, b *location.Binding, now time.Time) {
	p.number++
	number := strconv.FormatUint(p.number, 36)
	host := p.cfg.SentBy(b.Flow)
	msg := sip.AppendRequestLine(p.msg[:0], sip.OPTIONS, b.Contact)
	msg = append(msg, "Via: SIP/2.0/UDP "...)
	msg = append(msg, host...)
	msg = append(msg, ";branch="+branchPrefix...)
	msg = strconv.AppendUint(msg, uint64(key), 36)
	msg = append(append(msg, '.'), b.ID...)
	msg = append(append(msg, '.'), number...)
	msg = append(msg, ";rport\r\nMax-Forwards: 70\r\nFrom: <sip:"...)
	msg = append(msg, host...)
	msg = append(append(msg, ">;tag="...), number...)
	msg = append(append(msg, "\r\nTo: <"...), b.Contact...)
	msg = append(append(msg, ">\r\nCall-ID: "...), b.ID...)
	msg = append(append(append(msg, '.'), number...), "@onhook\r\nCSeq: 1 OPTIONS\r\nContact: <sip:"...)
	msg = append(append(msg, host...), ">\r\nAccept: application/sdp\r\n"...)
	p.msg = sip.AppendBody(msg, nil)
	p.sent.Add(1)
	// A probe that cannot be sent is one that is not answered.
	_ = p.cfg.Send(b.Flow, p.msg)
	p.waiting = append(p.waiting, probe{key, b.ID, now})
}

// overdue gives up on the probes whose time is over. An answered one shows in
// the index.
func (p *Prober) overdue(now time.Time) {
	n := 0
	for n < len(p.waiting) && !now.Before(p.waiting[n].at.Add(p.cfg.Timeout)) {
		if w := p.waiting[n]; p.cfg.Index.Missed(w.key, w.id, w.at) {
			p.missed.Add(1)
		}
		n++
	}
	rest := copy(p.waiting, p.waiting[n:])
	clear(p.waiting[rest:])
	p.waiting = p.waiting[:rest]
}

// Response takes the answer to a probe, whatever it says: the device is there.
// false: it answers something else.
func (p *Prober) Response(m *sip.Message) bool {
	if m.CSeqMethod != sip.OPTIONS {
		return false
	}
	rest, ok := strings.CutPrefix(m.Via.Branch(), branchPrefix)
	if !ok {
		return false
	}
	key, rest, _ := strings.Cut(rest, ".")
	id, _, _ := strings.Cut(rest, ".")
	if n, err := strconv.ParseUint(key, 36, 64); err == nil && p.cfg.Index.Answered(location.Key(n), id) {
		p.answered.Add(1)
	}
	return true
}
