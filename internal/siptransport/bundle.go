package siptransport

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"onhook/internal/sip"
)

const (
	bundleSlots = 128
	bundleBytes = 128 << 10
)

// bundle gathers datagrams that are sent with one system call: the answers of a
// worker to one batch, or those of whoever has something to say to many peers.
type bundle struct {
	sock  *udpSocket
	stats *counters

	open  atomic.Bool   // between begin and end; changed under mu
	mask  atomic.Uint64 // a bit for each of peers, to look without the lock
	mu    sync.Mutex
	out   *sender
	peers []uint64 // hashes of whom the waiting messages are for
}

func newBundle(sock *udpSocket, stats *counters) *bundle {
	return &bundle{sock: sock, stats: stats, out: newSender(bundleSlots, bundleBytes)}
}

func (b *bundle) begin() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open.Store(true)
}

// end sends what was gathered. The lock is held meanwhile, which never blocks:
// whoever has something for the same peers waits, so that it stays behind.
func (b *bundle) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open.Store(false)
	b.send()
}

// send sends what has been gathered. The caller holds the lock.
func (b *bundle) send() {
	if failed, _ := b.out.flush(b.sock); failed > 0 {
		b.stats.sendFailed.Add(uint64(failed))
	}
	b.peers = b.peers[:0]
	b.mask.Store(0)
}

// maskBit is a peer's bit in mask.
func maskBit(h uint64) uint64 { return 1 << (h >> 58) }

// waits reports whether a message to a peer waits. The caller holds the lock.
func (b *bundle) waits(h uint64) bool {
	return b.mask.Load()&maskBit(h) != 0 && slices.Contains(b.peers, h)
}

// follow puts msg behind a message to the same peer that waits; false when none
// does.
func (b *bundle) follow(h uint64, remote netip.AddrPort, msg []byte) bool {
	if b.mask.Load()&maskBit(h) == 0 {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open.Load() && b.waits(h) && b.put(h, remote, msg)
}

// gather takes msg along; false when the bundle is not open, or busy.
func (b *bundle) gather(h uint64, remote netip.AddrPort, msg []byte) bool {
	if !b.mu.TryLock() {
		return false
	}
	defer b.mu.Unlock()
	return b.open.Load() && b.put(h, remote, msg)
}

// put adds msg; false for one that is no datagram. The caller holds the lock.
func (b *bundle) put(h uint64, remote netip.AddrPort, msg []byte) bool {
	if !b.out.add(b.sock, remote, msg) {
		b.send() // it is full: what is in it goes first
		if !b.out.add(b.sock, remote, msg) {
			return false
		}
	}
	if !b.waits(h) {
		b.peers = append(b.peers, h)
		b.mask.Store(b.mask.Load() | maskBit(h))
	}
	b.stats.sent[sip.UDP].Add(1)
	return true
}

// Together calls f and sends what it has for UDP peers with few system calls.
// Whoever answers many at once does so in here: a system call for each costs
// more than putting the answers together. Calls do not run side by side.
func (t *Transport) Together(f func()) {
	t.together.Lock()
	defer t.together.Unlock()
	for _, l := range t.listeners {
		if l.together != nil {
			l.together.begin()
		}
	}
	f()
	for _, l := range t.listeners {
		if l.together != nil {
			l.together.end()
		}
	}
}
