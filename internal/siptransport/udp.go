package siptransport

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"onhook/internal/sip"
)

const (
	maxDatagram   = 1<<16 - 1
	receiveSlots  = 32
	noRemote      = 0
	receiveErrGap = 10 * time.Millisecond
)

// worker serves one UDP socket: it reads a batch, handles each datagram to the
// end and sends the answers together.
type worker struct {
	l     *listener
	sock  udpSocket
	in    *receiver
	msg   sip.Message
	stats counters

	// serving is the hash of the peer whose datagram is being handled. It
	// lets Send find the worker it is most likely called by.
	serving  atomic.Uint64
	answers  *bundle
	overload overload
}

func newWorker(l *listener, c *net.UDPConn) (*worker, error) {
	sock, err := newUDPSocket(c)
	if err != nil {
		return nil, err
	}
	got, err := setBuffers(sock.raw, l.t.cfg.ReceiveBuffer, l.t.cfg.SendBuffer)
	if err != nil {
		return nil, fmt.Errorf("socket buffers: %w", err)
	}
	if len(l.workers) == 0 && got < l.t.cfg.ReceiveBuffer {
		l.t.log.Warn("small UDP receive buffer: raise net.core.rmem_max", "bytes", got, "wanted", l.t.cfg.ReceiveBuffer)
	}
	if err := stampArrivals(sock.raw); err != nil {
		l.t.log.Warn("no times of arrival from the kernel: an overload is not noticed", "err", err)
	}
	w := &worker{l: l, sock: sock, in: newReceiver(sock, receiveSlots)}
	w.answers = newBundle(&w.sock, &w.stats)
	return w, nil
}

func (w *worker) run() {
	t := w.l.t
	for {
		n, err := w.in.receive()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			w.stats.receiveErrors.Add(1)
			select {
			case <-t.stop:
				return
			case <-time.After(receiveErrGap):
			}
			continue
		}
		clock := time.Now()
		w.batch(n, t.now(), clock)
		// Under load the socket is never empty and this goroutine never waits:
		// without a pause those it works for, the journal's first of all, would
		// wait until it is preempted. After a lone datagram it most likely waits
		// at once, and would only come behind the background work.
		if n > 1 && w.overload.pauses(n == receiveSlots, w.in.waited(0, clock)) {
			runtime.Gosched()
		}
	}
}

// batch handles n datagrams and sends the answers. now is the Transport's, clock
// the same on the wall.
func (w *worker) batch(n int, now int64, clock time.Time) {
	w.overload.look(n == receiveSlots, w.in.waited(0, clock), now)
	w.answers.begin()
	for i := range n {
		var waited time.Duration
		if w.overload.is {
			waited = w.in.waited(i, clock)
		}
		data, from := w.in.datagram(i)
		w.datagram(data, from, now, waited)
		if w.l.t.cfg.Poison {
			poison(data)
		}
	}
	w.answers.end()
}

// datagram handles one datagram: the cheap tests first. waited is how long it
// was in the kernel, where there is an overload.
func (w *worker) datagram(data []byte, from netip.AddrPort, now int64, waited time.Duration) {
	t := w.l.t
	if from.Port() == 0 || !from.Addr().IsValid() {
		w.stats.junk.Add(1) // nobody to answer
		return
	}
	if !t.guard.Admit(from.Addr(), now) {
		w.stats.rateLimited.Add(1)
		return
	}
	if isSTUN(data) {
		w.keptAlive(from)
		w.stun(data, from)
		return
	}
	for len(data) > 0 && isKeepalive(data[0]) {
		data = data[1:]
	}
	if len(data) == 0 {
		// RFC 5626 4.4.1: pings of CRLF are for streams; phones send them on UDP
		// to keep a NAT binding open and want no answer.
		w.keptAlive(from)
		w.stats.ignored.Add(1)
		return
	}
	if !beginsMessage(data[0]) {
		w.stats.junk.Add(1)
		return
	}
	flow := sip.Flow{Transport: sip.UDP, Listener: w.l.index, Remote: from}
	if w.overdue(data, waited, flow) {
		return
	}
	w.serving.Store(remoteHash(from))
	t.deliver(&w.msg, data, flow, &w.stats)
	w.serving.Store(noRemote)
}

func (w *worker) keptAlive(from netip.AddrPort) {
	if f := w.l.t.cfg.Keepalive; f != nil {
		f(sip.Flow{Transport: sip.UDP, Listener: w.l.index, Remote: from})
	}
}

// stun answers a STUN request in place.
func (w *worker) stun(data []byte, from netip.AddrPort) {
	var answer [64]byte
	reply, ok := appendSTUN(answer[:0], data, from)
	if !ok {
		w.stats.ignored.Add(1)
		return
	}
	w.stats.pings.Add(1)
	_ = w.l.sendDatagram(from, reply) // counted; the peer asks again
}

// sendDatagram sends msg: behind what waits for the same peer already, so that
// messages to one peer keep their order; else with the answers of the worker
// that is handling a datagram of this very peer, most likely our caller; else
// with what somebody has to say to many (Together); else with the answers of any
// worker in the middle of a batch; else at once.
func (l *listener) sendDatagram(remote netip.AddrPort, msg []byte) error {
	h := remoteHash(remote)
	for _, w := range l.workers {
		if w.answers.follow(h, remote, msg) {
			return nil
		}
	}
	if l.together.follow(h, remote, msg) {
		return nil
	}
	for _, w := range l.workers {
		if w.serving.Load() == h && w.answers.gather(h, remote, msg) {
			return nil
		}
	}
	if l.together.open.Load() && l.together.gather(h, remote, msg) {
		return nil
	}
	for _, w := range l.workers {
		if w.serving.Load() != noRemote && w.answers.gather(h, remote, msg) {
			return nil
		}
	}
	return l.sendAtOnce(h, remote, msg)
}

func (l *listener) sendAtOnce(h uint64, remote netip.AddrPort, msg []byte) error {
	w := l.workers[h%uint64(len(l.workers))]
	single := singles.Get().(*sender)
	defer singles.Put(single)
	if !single.add(&w.sock, remote, msg) {
		w.stats.sendFailed.Add(1)
		return fmt.Errorf("send to %s: %d bytes make no datagram", remote, len(msg))
	}
	if _, err := single.flush(&w.sock); err != nil {
		w.stats.sendFailed.Add(1)
		if errors.Is(err, net.ErrClosed) {
			return ErrFlowGone
		}
		return fmt.Errorf("send to %s: %w", remote, err)
	}
	w.stats.sent[sip.UDP].Add(1)
	return nil
}

// singles are senders of one datagram.
var singles = sync.Pool{New: func() any { return newSender(1, maxDatagram) }}

// remoteHash is never noRemote. It picks a worker and guards nothing, so it
// need not resist anybody.
func remoteHash(a netip.AddrPort) uint64 {
	b := a.Addr().As16()
	h := uint64(a.Port())
	for i := 0; i < 16; i += 8 {
		for _, c := range b[i : i+8] {
			h = h<<8 ^ h>>56 ^ uint64(c)
		}
		h *= 0x9e3779b97f4a7c15
	}
	return h | 1
}
