package siptransport

import (
	"sync/atomic"

	"onhook/internal/sip"
)

// Stats are counts since start, and two gauges. What is dropped is counted by
// its reason and logged nowhere.
type Stats struct {
	Received [sip.WSS + 1]uint64 // messages, well formed, by transport
	Sent     [sip.WSS + 1]uint64
	Open     uint64 // connections now, handshakes included
	Bound    uint64 // of those, with a binding

	Junk           uint64 // datagrams or messages that do not even begin like SIP
	Malformed      uint64 // messages that break the grammar
	Unread         uint64 // datagrams that the kernel dropped because the socket's buffer was full
	Overdue        uint64 // datagrams dropped because they had waited too long
	Overloaded     uint64 // of such, those that were refused with an answer
	RateLimited    uint64 // datagrams over their source's rate, and pauses of connections
	Pings          uint64 // keepalives answered: CRLF pairs, STUN, WebSocket pings
	Ignored        uint64 // keepalives that want no answer
	SendFailed     uint64 // datagrams the kernel did not take
	QueueFull      uint64 // connections closed because the peer took nothing
	ReceiveErrors  uint64
	AcceptErrors   uint64
	Accepted       uint64
	Refused        uint64 // connections over a limit
	Dialled        uint64
	DialFailed     uint64
	HandshakeError uint64 // TLS or WebSocket handshakes that failed or took too long
	Silent         uint64 // connections closed: no message in time
	Idle           uint64 // connections closed: idle without a binding
	Vanished       uint64 // connections closed: no answer to pings
}

// counters mirrors Stats, field by field. Every UDP worker has its own, so that
// workers share no cache line.
type counters struct {
	received, sent [sip.WSS + 1]atomic.Uint64
	bound          atomic.Int64

	junk, malformed, overdue, overloaded, rateLimited, pings, ignored, sendFailed, queueFull, receiveErrors atomic.Uint64
	acceptErrors, accepted, refused, dialled, dialFailed, handshake, silent, idle, vanished                 atomic.Uint64
}

func (c *counters) addTo(s *Stats) {
	for i := range s.Received {
		s.Received[i] += c.received[i].Load()
		s.Sent[i] += c.sent[i].Load()
	}
	s.Bound += uint64(max(c.bound.Load(), 0))
	s.Junk += c.junk.Load()
	s.Malformed += c.malformed.Load()
	s.Overdue += c.overdue.Load()
	s.Overloaded += c.overloaded.Load()
	s.RateLimited += c.rateLimited.Load()
	s.Pings += c.pings.Load()
	s.Ignored += c.ignored.Load()
	s.SendFailed += c.sendFailed.Load()
	s.QueueFull += c.queueFull.Load()
	s.ReceiveErrors += c.receiveErrors.Load()
	s.AcceptErrors += c.acceptErrors.Load()
	s.Accepted += c.accepted.Load()
	s.Refused += c.refused.Load()
	s.Dialled += c.dialled.Load()
	s.DialFailed += c.dialFailed.Load()
	s.HandshakeError += c.handshake.Load()
	s.Silent += c.silent.Load()
	s.Idle += c.idle.Load()
	s.Vanished += c.vanished.Load()
}

// Stats returns the counters. It may be called at any time.
func (t *Transport) Stats() Stats {
	var s Stats
	t.stats.addTo(&s)
	for _, l := range t.listeners {
		for _, w := range l.workers {
			w.stats.addTo(&s)
			s.Unread += unread(w.sock.raw)
		}
	}
	s.Open = uint64(max(t.open.Load(), 0))
	return s
}
