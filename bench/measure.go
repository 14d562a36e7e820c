package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// operation is what is counted.
type operation string

const (
	registration operation = "new registration (401, 200)"
	refresh      operation = "refresh (200)"
	call         operation = "call (INVITE, 180, 200, ACK, BYE, 200)"
	digestCall   operation = "call of an authenticated phone (407 first)"
	bySIPp       operation = "SIPp: new registration (401, 200)"
)

// chosen are the operations whose names begin so.
func chosen(only string) (ops []operation) {
	for _, op := range []operation{registration, refresh, call, digestCall, bySIPp} {
		if strings.HasPrefix(strings.TrimPrefix(string(op), "new "), only) {
			ops = append(ops, op)
		}
	}
	return ops
}

// measured is one server with what was found out about it.
type measured struct {
	*server
	gen     *generator
	figures map[operation][]figure
	dialled map[operation]*waits // post-dial delay
}

// figure is one measurement.
type figure struct {
	cpu  float64 // µs of server CPU per operation
	rate float64 // operations per second of wall clock
	heap float64 // allocations per operation
}

// rounds measures each operation on each server, one server right after the
// other, so that whatever else the machine does befalls all.
func (r *report) rounds() error {
	for round := range r.settings.rounds {
	operations:
		for _, op := range r.operations {
			for i := range r.servers {
				m := r.servers[(i+round)%len(r.servers)]
				if !m.does(op) {
					continue
				}
				err := m.round(op, r.settings)
				if errors.Is(err, errNoSIPp) {
					r.leaveOut(op, err)
					continue operations
				}
				if err != nil {
					return fmt.Errorf("%s: %s: %w", m.name, op, err)
				}
			}
		}
	}
	return nil
}

// leaveOut takes an operation that cannot be measured out of the report.
func (r *report) leaveOut(op operation, why error) {
	r.missing = append(r.missing, string(op)+": "+why.Error())
	r.operations = slices.DeleteFunc(slices.Clone(r.operations), func(o operation) bool { return o == op })
}

// does reports whether an operation is measured on a server: a database makes a
// difference to registrations alone.
func (m *measured) does(op operation) bool {
	return m.database == nil || op == registration || op == refresh
}

func (m *measured) round(op operation, s settings) error {
	if op == registration || op == bySIPp { // what the round before has left would make them refreshes
		if err := m.gen.unregisterAll(); err != nil {
			return err
		}
	}
	f, err := m.measure(op, s)
	if err == nil {
		m.figures[op] = append(m.figures[op], f)
	}
	return err
}

func (m *measured) measure(op operation, s settings) (figure, error) {
	heap, err := m.allocations()
	if err != nil {
		return figure{}, err
	}
	before, err := m.cpu()
	if err != nil {
		return figure{}, err
	}
	start := time.Now()
	n, err := m.gen.run(op, s, 0)
	if err != nil {
		return figure{}, err
	}
	wall := time.Since(start)
	after, err := m.cpu()
	if err != nil {
		return figure{}, err
	}
	heapAfter, err := m.allocations()
	return figure{cpu: float64((after - before).Nanoseconds()) / 1000 / float64(n), rate: float64(n) / wall.Seconds(), heap: (heapAfter - heap) / float64(n)}, err
}

// run does an operation for every user, or as many calls as are wanted; with a
// rate, that many a second are begun for paceTime whatever the answers do.
func (g *generator) run(op operation, s settings, rate float64) (n int, err error) {
	users, calls := s.users, s.calls
	if rate > 0 {
		calls = int(rate * paceTime.Seconds())
		users = calls
	}
	switch op {
	case registration:
		users = min(users, s.users) // each can be new once
		return users, g.register(users, rate)
	case refresh:
		return users, g.refresh(users, rate)
	case bySIPp:
		return g.sippRegister(users)
	}
	return calls, g.callMany(calls, rate, op == digestCall)
}

const (
	// paceTime is for how long requests come at one rate before it is another
	// server's turn: a minute of the machine's noise befalls all alike.
	paceTime = 3 * time.Second
	// dialRate is how many calls a second begin where post-dial delay is measured.
	dialRate = 1000
)

// waits are how long something took: the p50 and the p99 of each round.
type waits struct{ p50s, p99s []time.Duration }

func (w *waits) add(sorted []time.Duration) {
	w.p50s = append(w.p50s, quantile(sorted, 0.5))
	w.p99s = append(w.p99s, quantile(sorted, 0.99))
}

// p50 and p99 are the medians of the rounds.
func (w *waits) p50() time.Duration { return median(sorted(w.p50s)) }
func (w *waits) p99() time.Duration { return median(sorted(w.p99s)) }

// pair is the time to answer of onhook and of another server at the same rate.
type pair struct {
	op           operation
	other        *measured
	rate         float64
	ours, theirs waits
}

// latencies measures the time to answer of onhook and of each other server at
// half the rate that the slower of the two reached, or at the one asked for, the
// post-dial delay on every server, and a write to the disk between them.
func (r *report) latencies(dir string) error {
	ours := r.servers[0]
	for _, op := range r.operations {
		for _, other := range r.servers[1:] {
			if !other.does(op) || op == bySIPp {
				continue
			}
			rate := r.settings.rate
			if rate == 0 {
				rate = min(ours.peak(op), other.peak(op)) / 2
			}
			r.pairs = append(r.pairs, &pair{op: op, other: other, rate: rate})
		}
	}
	for range r.settings.rounds {
		for _, p := range r.pairs {
			if err := ours.paced(p.op, r.settings, p.rate, (*generator).times, &p.ours); err != nil {
				return err
			}
			if err := p.other.paced(p.op, r.settings, p.rate, (*generator).times, &p.theirs); err != nil {
				return err
			}
			disk, err := syncTimes(dir)
			if err != nil {
				return err
			}
			r.sync.add(disk)
		}
		for _, op := range []operation{call, digestCall} {
			for _, m := range r.servers {
				if !slices.Contains(r.operations, op) || !m.does(op) {
					continue
				}
				if m.dialled[op] == nil {
					m.dialled[op] = &waits{}
				}
				if err := m.paced(op, r.settings, dialRate, (*generator).dialled, m.dialled[op]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// paced has requests come at a rate and adds what was waited for.
func (m *measured) paced(op operation, s settings, rate float64, of func(*generator) []time.Duration, to *waits) error {
	if op == registration {
		if err := m.gen.unregisterAll(); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	if _, err := m.gen.run(op, s, rate); err != nil {
		return fmt.Errorf("%s: %s: %w", m.name, op, err)
	}
	to.add(of(m.gen))
	return nil
}

// peak is the rate that a server reached.
func (m *measured) peak(op operation) float64 { return median(column(m.figures[op], rateOf)) }

func cpuOf(f figure) float64  { return f.cpu }
func rateOf(f figure) float64 { return f.rate }
func heapOf(f figure) float64 { return f.heap }

func column(fs []figure, of func(figure) float64) []float64 {
	var v []float64
	for _, f := range fs {
		v = append(v, of(f))
	}
	return sorted(v)
}

func sorted[T cmp.Ordered](v []T) []T {
	slices.Sort(v)
	return v
}

func median[T any](sorted []T) T { return quantile(sorted, 0.5) }

func quantile[T any](sorted []T, q float64) T {
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
