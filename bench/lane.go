package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
)

// generator plays all phones on a few UDP sockets: requests are put together
// from parts, answers recognised by their bytes and datagrams passed in
// batches, so that it costs less than what it measures.
type generator struct {
	server  *server
	domain  string
	address string // of the server
	users   int
	lanes   []*lane
	runs    int // sets apart the Call-IDs of each run
}

// lane is one socket with its own part of the users and of the window.
type lane struct {
	gen    *generator
	index  int
	conn   *net.UDPConn
	batch  *ipv4.PacketConn
	in     []ipv4.Message
	out    []ipv4.Message // the first sent of them are to be sent
	queued int
	port   string
	window int
	phones []phone
	open   map[int]*job
	times  []time.Duration
	dial   []time.Duration // from a call's INVITE to its first 180
	resent int
}

// job is an operation under way.
type job struct {
	began   time.Time
	last    time.Time // when something was heard or sent
	attempt int
	rang    bool
}

const (
	lanes      = 8
	batchSize  = 32
	resendTime = 500 * time.Millisecond // RFC 3261 17.1.1.1: T1
	giveUpTime = 15 * time.Second
)

func newGenerator(s *server, users, window int) (*generator, error) {
	g := &generator{server: s, domain: s.domain, address: s.udp.String(), users: users}
	for i := range lanes {
		conn, err := net.DialUDP("udp4", nil, s.udp)
		if err != nil {
			return nil, err
		}
		if err := conn.SetReadBuffer(4 << 20); err != nil {
			return nil, err
		}
		l := &lane{gen: g, index: i, conn: conn, batch: ipv4.NewPacketConn(conn), in: buffers(), out: buffers(),
			port: strconv.Itoa(conn.LocalAddr().(*net.UDPAddr).Port), window: max(1, window/lanes), open: map[int]*job{}}
		for user := i; user < users; user += lanes {
			l.phones = append(l.phones, newPhone(user, s.domain))
		}
		g.lanes = append(g.lanes, l)
	}
	return g, nil
}

func buffers() []ipv4.Message {
	b := make([]ipv4.Message, batchSize)
	for i := range b {
		b[i].Buffers = [][]byte{make([]byte, 4096)}
	}
	return b
}

func (g *generator) close() {
	for _, l := range g.lanes {
		l.conn.Close()
	}
}

// each runs f on every lane at once. What this process would collect of its
// garbage meanwhile, on the servers' processors, it collects before.
func (g *generator) each(f func(l *lane) error) error {
	g.runs++
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	errs := make([]error, len(g.lanes))
	var wg sync.WaitGroup
	for i, l := range g.lanes {
		wg.Go(func() { errs[i] = f(l) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// times are the durations of the last run, sorted.
func (g *generator) times() []time.Duration {
	return g.gathered(func(l *lane) []time.Duration { return l.times })
}

// dialled are the post-dial delays of the last run's calls, sorted.
func (g *generator) dialled() []time.Duration {
	return g.gathered(func(l *lane) []time.Duration { return l.dial })
}

func (g *generator) gathered(of func(*lane) []time.Duration) (all []time.Duration) {
	for _, l := range g.lanes {
		all = append(all, of(l)...)
	}
	slices.Sort(all)
	return all
}

func (g *generator) resent() (n int) {
	for _, l := range g.lanes {
		n += l.resent
	}
	return n
}

// share is how many of n jobs are this lane's.
func (l *lane) share(n int) int { return (n + lanes - 1 - l.index) / lanes }

// step begins a job (answer nil) or takes it on by a datagram that belongs to
// it. attempt sets apart what is sent again from what is late.
type step func(number, attempt int, answer []byte) (done bool, err error)

// drive runs jobs 0…n-1: a window of them at a time, or with a rate so many a
// second, evenly and in turn with the other lanes, whatever the answers do.
func (l *lane) drive(n int, rate float64, do step) error {
	l.times, l.dial = make([]time.Duration, 0, n), nil
	clear(l.open)
	start, next := time.Now(), 0
	due := func() time.Time {
		turn := float64(next) + float64(l.index)/lanes
		return start.Add(time.Duration(turn / rate * float64(time.Second)))
	}
	for finished := 0; finished < n; {
		now := time.Now()
		for next < n && (rate > 0 && !due().After(now) || rate == 0 && len(l.open) < l.window) {
			l.open[next] = &job{began: now, last: now}
			if _, err := do(next, 0, nil); err != nil {
				return err
			}
			next++
		}
		if err := l.flush(); err != nil {
			return err
		}
		wait := now.Add(resendTime)
		if rate > 0 && next < n {
			wait = due()
		}
		count, err := l.receive(wait)
		if err != nil {
			return err
		}
		now = time.Now()
		for _, m := range l.in[:count] {
			done, err := l.take(m.Buffers[0][:m.N], now, do)
			if err != nil {
				return err
			}
			if done {
				finished++
			}
		}
		if count == 0 {
			if err := l.again(now, do); err != nil {
				return err
			}
		}
	}
	return nil
}

// take gives one datagram to its job.
func (l *lane) take(msg []byte, now time.Time, do step) (done bool, err error) {
	number, attempt, ok := jobOf(msg, l.gen.runs)
	j := l.open[number]
	if !ok || j == nil || j.attempt != attempt {
		return false, nil
	}
	j.last = now
	if !j.rang && bytes.HasPrefix(msg, []byte("SIP/2.0 180")) {
		j.rang = true
		l.dial = append(l.dial, now.Sub(j.began))
	}
	done, err = do(number, attempt, msg)
	if done {
		l.times = append(l.times, now.Sub(j.began))
		delete(l.open, number)
	}
	return done, err
}

// again begins anew what had no answer.
func (l *lane) again(now time.Time, do step) error {
	for number, j := range l.open {
		if now.Sub(j.began) > giveUpTime {
			return fmt.Errorf("job %d had no answer", number)
		}
		if now.Sub(j.last) < resendTime {
			continue
		}
		j.last = now
		j.attempt++
		l.resent++
		if _, err := do(number, j.attempt, nil); err != nil {
			return err
		}
	}
	return nil
}

// receive reads what has come, waiting for the first until a time.
func (l *lane) receive(until time.Time) (int, error) {
	if err := l.conn.SetReadDeadline(until); err != nil {
		return 0, err
	}
	n, err := l.batch.ReadBatch(l.in, 0)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, nil
	}
	return n, err
}

// buffer is where the next datagram is put together, for queue.
func (l *lane) buffer() ([]byte, error) {
	if l.queued == len(l.out) {
		if err := l.flush(); err != nil {
			return nil, err
		}
	}
	return l.out[l.queued].Buffers[0][:0], nil
}

func (l *lane) queue(msg []byte) {
	l.out[l.queued].Buffers[0] = msg
	l.queued++
}

func (l *lane) flush() error {
	for sent := 0; sent < l.queued; {
		n, err := l.batch.WriteBatch(l.out[sent:l.queued], 0)
		if err != nil {
			return err
		}
		sent += n
	}
	l.queued = 0
	return nil
}

// jobOf reads the job's number and attempt from "Call-ID: RUN-JOB-ATTEMPT@…".
func jobOf(msg []byte, run int) (number, attempt int, ok bool) {
	id, _ := header(msg, "Call-ID: ")
	var parts [3]int
	for i, end := range []byte("--@") {
		at := bytes.IndexByte(id, end)
		if at < 0 {
			return 0, 0, false
		}
		n, err := strconv.Atoi(string(id[:at]))
		if err != nil {
			return 0, 0, false
		}
		parts[i], id = n, id[at+1:]
	}
	return parts[1], parts[2], parts[0] == run
}

// header returns the value of the first field of a name.
func header(msg []byte, name string) ([]byte, bool) {
	for at := 0; ; {
		i := bytes.Index(msg[at:], []byte(name))
		if i < 0 {
			return nil, false
		}
		at += i + len(name)
		if i == 0 || msg[at-len(name)-1] != '\n' {
			continue
		}
		end := bytes.IndexByte(msg[at:], '\r')
		if end < 0 {
			return nil, false
		}
		return msg[at:][:end], true
	}
}
