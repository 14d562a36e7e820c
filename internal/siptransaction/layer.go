package siptransaction

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"onhook/internal/sip"
)

// Sender puts a message on the wire. It copies or writes msg before it returns
// and never blocks.
type Sender interface {
	Send(flow sip.Flow, msg []byte) error
}

// Handler is told what concerns a server transaction after its request.
type Handler interface {
	// Cancel says that a pending INVITE was cancelled (RFC 3261 9.2), once for
	// each. The CANCEL itself has been answered; the INVITE is still to be, with
	// 487 if nothing better.
	Cancel(tx *Server, cancel *sip.Message)
}

// Config is what a Layer is made of.
type Config struct {
	Sender  Sender
	Handler Handler // may be nil: then CANCELs are answered and forgotten

	T1 time.Duration // RFC 3261 17.1.1.1; 0 means 500 ms
	T2 time.Duration // 0 means 4 s
	T4 time.Duration // 0 means 5 s

	// TryingAfter is how long an INVITE stays without a response before the
	// layer itself sends 100 (RFC 3261 17.2.1); 0 means 200 ms.
	TryingAfter time.Duration

	Shards           int // a power of two; 0 means 32
	MaxTransactions  int // not finished, both sides together; 0 means 200,000
	MaxFinishedBytes int // final responses kept for retransmissions; 0 means 256 MiB
}

// Errors of transactions.
var (
	ErrTimeout   = errors.New("transaction timed out")
	ErrFull      = errors.New("transaction table is full")
	ErrDuplicate = errors.New("transaction exists already")
	ErrMethod    = errors.New("message begins no transaction")
)

// Layer holds all transactions of a server.
type Layer struct {
	config    Config
	hash      hasher
	start     time.Time
	quit      chan struct{}
	closeOnce sync.Once
	live      atomic.Int64 // transactions that are not finished
	nextTimer atomic.Uint64
	sendFails atomic.Uint64
	stray     atomic.Uint64
	conns     connIndex
	scratch   sync.Pool // *[]byte
	messages  sync.Pool // *sip.Message
	shards    []shard
	alarm     alarm
}

// shard holds the transactions whose keys fall to it, and their timers.
type shard struct {
	mu       sync.Mutex
	servers  map[key]*Server
	clients  map[key]*Client
	finished finished
	wheel    wheel
	spare    []*Server // for REGISTER, see Server.recycle
	stats    shardStats
}

// New makes a Layer. Its timers stand still until Run.
func New(c Config) *Layer {
	orDuration := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	orInt := func(n *int, value int) {
		if *n == 0 {
			*n = value
		}
	}
	orDuration(&c.T1, 500*time.Millisecond)
	orDuration(&c.T2, 4*time.Second)
	orDuration(&c.T4, 5*time.Second)
	orDuration(&c.TryingAfter, 200*time.Millisecond)
	orInt(&c.Shards, 32)
	orInt(&c.MaxTransactions, 200_000)
	orInt(&c.MaxFinishedBytes, 256<<20)
	shards := 1
	for shards < c.Shards {
		shards *= 2
	}
	l := &Layer{
		config: c,
		hash:   newHasher(),
		start:  time.Now(),
		quit:   make(chan struct{}),
		shards: make([]shard, shards),
	}
	l.conns.init()
	l.scratch.New = func() any { b := make([]byte, 0, 2048); return &b }
	l.messages.New = func() any { return new(sip.Message) }
	for i := range l.shards {
		s := &l.shards[i]
		s.servers = make(map[key]*Server)
		s.clients = make(map[key]*Client)
		s.finished.init(c.MaxFinishedBytes / shards)
		s.wheel.init(&l.alarm)
	}
	l.alarm.init()
	return l
}

// Run drives the timers until ctx ends or Close is called. It looks at them at
// every tick while something is due at each, and else sleeps until something is.
func (l *Layer) Run(ctx context.Context) error {
	t := time.NewTimer(l.until(l.now() + 1))
	defer t.Stop()
	var e []effect
	var wake chan struct{} // nil: what is set now may wait for the next tick
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.quit:
			return nil
		case <-wake: // a timer was set that ends before this sleep
			wake = nil
			t.Reset(l.until(l.now() + 1))
			continue
		case <-t.C:
		}
		now := l.now()
		l.alarm.until.Store(math.MaxInt64) // whatever is set from here on is told
		var next int64
		e, next = l.advance(now, e)
		l.alarm.until.Store(next)
		if wake = nil; next > now+1 {
			wake = l.alarm.wake
		}
		t.Reset(l.until(next))
	}
}

// until is the time left to a tick.
func (l *Layer) until(at int64) time.Duration {
	if at > l.now()+int64(longestSleep/tick) {
		return longestSleep
	}
	return time.Until(l.start.Add(time.Duration(at) * tick))
}

// longestSleep is how long Run sleeps when nothing is due at all.
const longestSleep = time.Minute

// Close ends Run. Transactions that are under way are forgotten.
func (l *Layer) Close() error {
	l.closeOnce.Do(func() { close(l.quit) })
	return nil
}

// advance moves every shard's timers to a tick. It returns e for the next time,
// and the tick at which to come again: the next one, or later.
func (l *Layer) advance(now int64, e []effect) ([]effect, int64) {
	next := int64(math.MaxInt64)
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		e = s.wheel.advance(now, e[:0])
		s.finished.expire(now)
		next = min(next, s.wheel.next, s.finished.next())
		s.mu.Unlock()
		l.run(e)
		clear(e)
	}
	return e, max(next, now+1)
}

// now is the last tick that has begun.
func (l *Layer) now() int64 { return int64(time.Since(l.start) / tick) }

// deadline is the first tick at which d has passed.
func (l *Layer) deadline(d time.Duration) int64 {
	return int64((time.Since(l.start) + d + tick - 1) / tick)
}

func (l *Layer) shard(k key) *shard { return &l.shards[k.hi&uint64(len(l.shards)-1)] }

// admit counts one more transaction, unless there are too many.
func (l *Layer) admit() bool {
	if l.live.Add(1) > int64(l.config.MaxTransactions) {
		l.live.Add(-1)
		return false
	}
	return true
}

// effect is something to do once the shard is unlocked.
type effect struct {
	flow   sip.Flow
	msg    []byte     // to send; never changed afterwards
	client *Client    // that failed, or whose CANCEL msg is
	user   ClientUser // to tell err
	err    error
	f      func()
}

// run does what was found necessary under a lock, in order, without it.
func (l *Layer) run(e []effect) {
	for i := range e {
		switch e := &e[i]; {
		case e.f != nil:
			e.f()
		case e.user != nil:
			e.user.Failed(e.client, e.err)
		case e.client != nil:
			l.startCancel(e.client, e.msg)
		case e.msg != nil:
			l.send(e.flow, e.msg)
		}
	}
}

// send sends what is sent again if it is lost: a failure is only counted.
func (l *Layer) send(flow sip.Flow, msg []byte) {
	if l.config.Sender.Send(flow, msg) != nil {
		l.sendFails.Add(1)
	}
}

// Receive looks whether a message belongs to a transaction and takes it then:
// responses, retransmissions, the ACK of a failed INVITE, and every CANCEL.
// What it leaves (false) is a request for Begin, the ACK of a 2xx, or a response
// that nobody waits for, which is to be dropped (RFC 6026 7.2).
func (l *Layer) Receive(m *sip.Message, flow sip.Flow) bool {
	if !m.IsRequest() {
		return l.receiveResponse(m)
	}
	switch m.Method {
	case sip.ACK:
		return l.receiveACK(m, flow)
	case sip.CANCEL:
		l.receiveCancel(m, flow)
		return true
	}
	return l.receiveAgain(l.hash.server(m, flow, m.Method), m, flow)
}
