package main

import (
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
)

// chosen are the operations whose names begin so.
func chosen(only string) (ops []operation) {
	for _, op := range []operation{registration, refresh, call} {
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
	latency map[operation][]time.Duration // sorted
}

// figure is one measurement.
type figure struct {
	cpu  float64 // µs of server CPU per operation
	rate float64 // operations per second of wall clock
	heap float64 // allocations per operation
}

// rounds measures each operation on each server, one server right after the
// other, so that whatever else the machine does befalls both.
func (r *report) rounds() error {
	for round := range r.settings.rounds {
		for _, op := range r.operations {
			for i := range r.servers {
				m := r.servers[(i+round)%len(r.servers)]
				if err := m.round(op, r.settings); err != nil {
					return fmt.Errorf("%s: %s: %w", m.name, op, err)
				}
			}
		}
	}
	return nil
}

func (m *measured) round(op operation, s settings) error {
	if op == registration { // what the round before has left would make them refreshes
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
	}
	return s.calls, g.callMany(s.calls, rate)
}

// latencies measures the time to answer at half the rate that the slowest
// server reached.
func (r *report) latencies() error {
	r.halfPeak = map[operation]float64{}
	for _, m := range r.servers {
		m.latency = map[operation][]time.Duration{}
	}
	for _, op := range r.operations {
		for _, m := range r.servers {
			half := median(column(m.figures[op], rateOf)) / 2
			if last := r.halfPeak[op]; last == 0 || half < last {
				r.halfPeak[op] = half
			}
		}
		for _, m := range r.servers {
			if op == registration {
				if err := m.gen.unregisterAll(); err != nil {
					return err
				}
			}
			if _, err := m.gen.run(op, r.settings, r.halfPeak[op]); err != nil {
				return fmt.Errorf("%s: %s: %w", m.name, op, err)
			}
			m.latency[op] = m.gen.times()
		}
	}
	return nil
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
