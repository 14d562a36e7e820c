package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
)

// overloadResult is what a server answers when more comes than it can do.
type overloadResult struct {
	flood
	op            operation
	factor        float64 // of what it can do
	peak          float64 // answered a second just before and after, when as much came as it can do
	before, after int     // resident memory
}

// share is the part of the peak that is answered.
func (o overloadResult) share() float64 { return o.answered / o.peak }

// flood is what came at a server and what became of it.
type flood struct {
	offered    float64 // a second
	answered   float64 // a second, with a 2xx
	refused    int     // with a 503
	challenged int     // with a 401: the nonce count was used up
	others     float64 // cores that other processes kept busy meanwhile
}

const (
	floodTime = 4 * time.Second // how long a flood lasts
	rampTime  = 2 * time.Second // how long a rate is tried
	floods    = 9               // the median of which counts
)

// overload measures refreshes: one request, one answer, so that what is lost is
// lost before it costs anything.
func overload(s settings, dir string) (results []overloadResult, err error) {
	srv, _, err := startOnhook(s.binary, s.users, dir, "onhook")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, srv.stop()) }()
	if err := pin(srv.cmd.Process.Pid, 0); err != nil {
		return nil, err
	}
	release, err := pinSelf(1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, release()) }()
	gen, err := newGenerator(srv, s.users, s.window)
	if err != nil {
		return nil, err
	}
	defer gen.close()
	if err := gen.register(gen.users, 0); err != nil {
		return nil, err
	}
	m := measured{server: srv, gen: gen}
	f, err := m.measure(refresh, s)
	if err != nil {
		return nil, err
	}
	rate, err := gen.highest(f.rate)
	if err != nil {
		return nil, err
	}
	peak, err := gen.undisturbed(rate, floodTime)
	if err != nil {
		return nil, err
	}
	for _, factor := range []float64{1.5, 2, 3, 3} { // twice: what has grown by then stays
		all := make([]overloadResult, floods)
		for i := range all {
			if all[i], peak, err = gen.overloaded(rate, factor, peak); err != nil {
				return nil, err
			}
		}
		slices.SortFunc(all, func(a, b overloadResult) int { return cmp.Compare(a.share(), b.share()) })
		results = append(results, all[floods/2])
	}
	return results, nil
}

// highest raises the rate at which refreshes come, from a rate that is
// certainly answered, until the answers have not kept up twice in a row, and
// returns the most that were answered in a second.
func (g *generator) highest(rate float64) (peak float64, err error) {
	for missed := 0; missed < 2; rate *= 1.2 {
		f, err := g.undisturbed(rate, rampTime)
		if err != nil {
			return 0, err
		}
		if missed++; f.answered >= 0.8*rate {
			missed = 0
		}
		peak = max(peak, f.answered)
	}
	return peak, nil
}

// overloaded lets a multiple come of what the server can do, and then as much as
// it can, as before. The machine's own pace changes in seconds, so that a flood
// is compared with both.
func (g *generator) overloaded(rate, factor float64, before flood) (o overloadResult, after flood, err error) {
	o = overloadResult{op: refresh, factor: factor}
	if o.before, err = g.server.resident(); err != nil {
		return o, after, err
	}
	if o.flood, err = g.undisturbed(rate*factor, floodTime); err != nil {
		return o, after, err
	}
	if o.after, err = g.server.resident(); err != nil {
		return o, after, err
	}
	after, err = g.undisturbed(rate, floodTime)
	o.peak = (before.answered + after.answered) / 2
	return o, after, err
}

// disturbed is how much of a core other processes may take of a flood; when they
// take more it counts for nothing and is repeated, a few times.
const (
	disturbed = 0.25
	repeats   = 3
)

func (g *generator) undisturbed(rate float64, length time.Duration) (f flood, err error) {
	for range 1 + repeats {
		began, others := time.Now(), otherTime(g.server)
		if f, err = g.flood(rate, length); err != nil {
			return f, err
		}
		f.others = max(0, (otherTime(g.server)-others).Seconds()/time.Since(began).Seconds())
		if f.others <= disturbed {
			break
		}
	}
	return f, nil
}

// flood sends refreshes at a rate, whatever is answered.
func (g *generator) flood(rate float64, length time.Duration) (all flood, err error) {
	var of [lanes]flooded
	began := time.Now()
	err = g.each(func(l *lane) (err error) {
		of[l.index], err = l.flood(rate/lanes, began, length)
		return err
	})
	took := time.Since(began).Seconds()
	for _, f := range of {
		all.offered += float64(f.sent) / length.Seconds()
		all.answered += float64(f.answered) / took
		all.refused += f.refused
		all.challenged += f.challenged
	}
	return all, err
}

// flooded is what one lane sent and what it was answered.
type flooded struct{ sent, answered, refused, challenged int }

func (l *lane) flood(rate float64, began time.Time, length time.Duration) (f flooded, err error) {
	end := began.Add(length)
	for now := began; now.Before(end); now = time.Now() {
		due := min(int(now.Sub(began).Seconds()*rate), f.sent+4*batchSize) // between them answers are read
		for ; f.sent < due; f.sent++ {
			number := f.sent % len(l.phones)
			p := &l.phones[number]
			p.cseq++
			b, err := l.buffer()
			if err != nil {
				return f, err
			}
			l.queue(l.appendRegister(b, p, number, f.sent/len(l.phones), 3600))
		}
		if err := l.flush(); err != nil {
			return f, err
		}
		// All that has come is read, else the server's answers would be lost here;
		// and the time to wait begins now: nothing is read once it is over.
		for count := batchSize; count == batchSize; {
			if count, err = l.receive(time.Now().Add(time.Millisecond)); err != nil {
				return f, err
			}
			for _, m := range l.in[:count] {
				if err := f.count(m.Buffers[0][:m.N]); err != nil {
					return f, err
				}
			}
		}
	}
	return f, nil
}

func (f *flooded) count(answer []byte) error {
	switch {
	case bytes.HasPrefix(answer, []byte("SIP/2.0 200")):
		f.answered++
	case bytes.HasPrefix(answer, []byte("SIP/2.0 503")):
		f.refused++
	case bytes.HasPrefix(answer, []byte("SIP/2.0 401")): // its nonce count came too late
		f.challenged++
	default:
		return fmt.Errorf("REGISTER:\n%s", answer)
	}
	return nil
}

// stormResult is how long it takes until everybody is back.
type stormResult struct {
	users   int
	within  time.Duration // they ask
	started time.Duration // until the server was up again
	took    time.Duration // from the first request to the last answer
	resent  int
}

func storm(s settings, dir string) (r stormResult, err error) {
	r = stormResult{users: s.storm, within: 10 * time.Second}
	first, _, err := startOnhook(s.binary, r.users, dir, "onhook")
	if err != nil {
		return r, err
	}
	gen, err := newGenerator(first, r.users, s.window)
	if err != nil {
		return r, errors.Join(err, first.stop())
	}
	if err := errors.Join(gen.register(gen.users, 0), first.kill()); err != nil {
		return r, err
	}
	gen.close()
	srv, started, err := first.restart(dir, "onhook")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, srv.stop()) }()
	if gen, err = newGenerator(srv, r.users, s.window); err != nil {
		return r, err
	}
	defer gen.close()
	r.started = started
	began := time.Now()
	err = gen.register(gen.users, float64(r.users)/r.within.Seconds())
	r.took, r.resent = time.Since(began), gen.resent()
	return r, err
}
