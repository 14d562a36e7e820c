package main

import (
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
// rate, that many a second are begun whatever the answers do.
func (g *generator) run(op operation, s settings, rate float64) (n int, err error) {
	switch op {
	case registration:
		return s.users, g.registerAll(rate)
	case refresh:
		return s.users, g.refreshAll(rate)
	case bySIPp:
		return g.sippRegister(s.users)
	}
	return s.calls, g.callMany(s.calls, rate, op == digestCall)
}

// pair is the time to answer of onhook and of another server at the same rate.
type pair struct {
	op           operation
	other        *measured
	rate         float64
	ours, theirs []time.Duration // sorted
}

// latencies measures the time to answer of onhook and of each other server at
// half the rate that the slower of the two reached.
func (r *report) latencies() error {
	for _, op := range r.operations {
		for _, other := range r.servers[1:] {
			if !other.does(op) || op == bySIPp {
				continue
			}
			p := pair{op: op, other: other, rate: min(r.servers[0].peak(op), other.peak(op)) / 2}
			for _, side := range []struct {
				m     *measured
				times *[]time.Duration
			}{{r.servers[0], &p.ours}, {other, &p.theirs}} {
				if err := side.m.paced(op, r.settings, p.rate); err != nil {
					return fmt.Errorf("%s: %s: %w", side.m.name, op, err)
				}
				*side.times = side.m.gen.times()
			}
			r.pairs = append(r.pairs, p)
		}
	}
	return nil
}

// dialRate is how many calls a second begin where post-dial delay is measured.
const dialRate = 1000

// postDial measures, on every server, how long callers wait for the first ring.
func (r *report) postDial() error {
	r.dialled = map[operation][][]time.Duration{}
	for _, op := range []operation{call, digestCall} {
		if !slices.Contains(r.operations, op) {
			continue
		}
		for _, m := range r.servers {
			if !m.does(op) {
				continue
			}
			if err := m.paced(op, r.settings, dialRate); err != nil {
				return fmt.Errorf("%s: %s: %w", m.name, op, err)
			}
			r.dialled[op] = append(r.dialled[op], m.gen.dialled())
		}
	}
	return nil
}

// peak is the rate that a server reached.
func (m *measured) peak(op operation) float64 { return median(column(m.figures[op], rateOf)) }

func (m *measured) paced(op operation, s settings, rate float64) error {
	if op == registration {
		if err := m.gen.unregisterAll(); err != nil {
			return err
		}
	}
	_, err := m.gen.run(op, s, rate)
	return err
}

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

func sorted(v []float64) []float64 {
	slices.Sort(v)
	return v
}

func median(sorted []float64) float64 { return quantile(sorted, 0.5) }

func quantile[T any](sorted []T, q float64) T {
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
