package siptransaction

import (
	"bytes"
	"net/netip"
	"time"

	"onhook/internal/sip"
)

type state uint8

// The states of RFC 3261 17 and RFC 6026, of both sides.
const (
	trying state = iota // client INVITE: Calling
	proceeding
	completed
	confirmed // INVITE server
	accepted  // INVITE, RFC 6026
	terminated
)

// Server is a server transaction: one request, and the responses to it.
type Server struct {
	layer  *Layer
	shard  *shard
	key    key
	flow   sip.Flow
	method string

	// The shard's lock guards what follows.
	user      any
	state     state
	cancelled bool
	last      []byte // the response that a retransmission gets; never changed
	trying    []byte // 100, made while the request was at hand
	interval  time.Duration
	retry     node // 100, then Timer G
	end       node // Timer H, I, L, or the end of an unanswered request
}

// maxSpare bounds what each shard holds back of Servers of REGISTERs.
const maxSpare = 1024

// Begin starts a server transaction for a request that Receive left. It
// returns false when there is one already or when the table is full; Open
// tells which. The caller of a full table answers 503 without a transaction.
func (l *Layer) Begin(m *sip.Message, flow sip.Flow) (*Server, bool) {
	tx, err := l.Open(m, flow)
	return tx, err == nil
}

// Open is Begin that says why not: ErrDuplicate, ErrFull, or ErrMethod for
// what has no server transaction of its own (ACK, CANCEL, a response).
func (l *Layer) Open(m *sip.Message, flow sip.Flow) (*Server, error) {
	if !m.IsRequest() || m.Method == sip.ACK || m.Method == sip.CANCEL {
		return nil, ErrMethod
	}
	k := l.hash.server(m, flow, m.Method)
	var hundred []byte
	if m.Method == sip.INVITE {
		buf := l.scratch.Get().(*[]byte)
		*buf = sip.AppendBody(sip.AppendReply((*buf)[:0], m, flow.Remote, 100, "", ""), nil)
		hundred = bytes.Clone(*buf)
		l.scratch.Put(buf)
	}
	s := l.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.servers[k] != nil || s.finished.find(k) >= 0 {
		return nil, ErrDuplicate
	}
	if !l.admit() {
		return nil, ErrFull
	}
	tx := s.newServer(m.Method)
	tx.layer, tx.shard, tx.key, tx.flow, tx.method = l, s, k, ResponseFlow(m, flow), keepMethod(m.Method)
	tx.state = trying
	tx.retry.owner, tx.end.owner = tx, tx
	s.servers[k] = tx
	s.stats.serversBegun++
	if m.Method == sip.INVITE {
		tx.state, tx.trying = proceeding, hundred
		s.wheel.set(&tx.retry, l.deadline(l.config.TryingAfter))
	} else {
		// RFC 4320 4: nobody waits for an answer any more after Timer F. Twice
		// that, for those who began to wait later.
		s.wheel.set(&tx.end, l.deadline(2*64*l.config.T1))
	}
	return tx, nil
}

func (s *shard) newServer(method string) *Server {
	if n := len(s.spare); n > 0 && method == sip.REGISTER {
		tx := s.spare[n-1]
		s.spare[n-1] = nil
		s.spare = s.spare[:n-1]
		return tx
	}
	return &Server{}
}

// recycle keeps the Server of an answered REGISTER for the next one. Those of
// other methods are left to the garbage collector: their users may still hold
// them.
func (s *shard) recycle(tx *Server) {
	if tx.method != sip.REGISTER || len(s.spare) == maxSpare {
		return
	}
	*tx = Server{state: terminated}
	s.spare = append(s.spare, tx)
}

// ResponseFlow is where the responses to a request go that came on flow: back
// the same way, but over UDP to the port of the topmost Via's sent-by unless the
// request asks for its source port with rport (RFC 3261 18.2.2, RFC 3581 4).
func ResponseFlow(m *sip.Message, flow sip.Flow) sip.Flow {
	if flow.Transport == sip.UDP && !m.Via.WantsPort() {
		port := m.Via.Port
		if port == 0 {
			port = sip.UDP.DefaultPort()
		}
		flow.Remote = netip.AddrPortFrom(flow.Remote.Addr(), port)
	}
	return flow
}

// Flow returns where the responses go, see ResponseFlow.
func (tx *Server) Flow() sip.Flow { return tx.flow }

// Method returns the request's method.
func (tx *Server) Method() string { return tx.method }

// ToTag returns a To tag for responses of this server's own making: the same
// every time, and the one with which a CANCEL is answered.
func (tx *Server) ToTag() string { return tx.layer.hash.toTag(tx.key) }

// SetUser attaches what Handler.Cancel needs to find its way.
func (tx *Server) SetUser(user any) {
	tx.shard.mu.Lock()
	defer tx.shard.mu.Unlock()
	tx.user = user
}

// User returns what SetUser attached, nil once the transaction has ended or was
// answered with a 2xx.
func (tx *Server) User() any {
	tx.shard.mu.Lock()
	defer tx.shard.mu.Unlock()
	return tx.user
}

// Cancelled reports whether a CANCEL has come for this INVITE. One that came
// before SetUser told a Handler that could not find its way yet.
func (tx *Server) Cancelled() bool {
	tx.shard.mu.Lock()
	defer tx.shard.mu.Unlock()
	return tx.cancelled
}

// Respond sends a response, msg, and retransmits it as the machine says; msg
// may be reused afterwards. A response that comes too late is dropped, but for
// a 2xx to an INVITE, which is always sent: from another branch of a fork while
// accepted (RFC 6026 7.1), and past the machine after that or after a failure,
// so that nobody is in a call unknown to the caller (RFC 3261 16.7 steps 5, 10).
// After the final response to a REGISTER the Server must not be used any more.
func (tx *Server) Respond(status int, msg []byte) {
	s := tx.shard
	if s == nil {
		return // recycled
	}
	l := tx.layer
	flow := tx.flow
	s.mu.Lock()
	var ok bool
	if tx.method == sip.INVITE {
		ok = tx.respondInvite(status, msg)
	} else {
		ok = tx.respondOther(status, msg)
	}
	s.mu.Unlock()
	if ok {
		l.send(flow, msg)
	}
}

// respondInvite moves the INVITE machine (RFC 3261 17.2.1, RFC 6026 7.1) and
// reports whether msg is to be sent.
func (tx *Server) respondInvite(status int, msg []byte) bool {
	l, w := tx.layer, &tx.shard.wheel
	switch {
	case tx.state != proceeding:
		return status/100 == 2
	case status < 200:
		w.stop(&tx.retry)
		tx.trying = nil
		tx.last = bytes.Clone(msg)
	case status < 300:
		w.stop(&tx.retry)
		tx.state, tx.trying, tx.last, tx.user = accepted, nil, nil, nil
		w.set(&tx.end, l.deadline(64*l.config.T1)) // Timer L
	default:
		w.stop(&tx.retry)
		tx.state, tx.trying, tx.last = completed, nil, bytes.Clone(msg)
		if !tx.flow.Transport.Reliable() {
			tx.interval = l.config.T1
			w.set(&tx.retry, l.deadline(tx.interval)) // Timer G
		}
		w.set(&tx.end, l.deadline(64*l.config.T1)) // Timer H
	}
	return true
}

// respondOther moves the non-INVITE machine (RFC 3261 17.2.2).
func (tx *Server) respondOther(status int, msg []byte) bool {
	l, s := tx.layer, tx.shard
	if tx.state != trying && tx.state != proceeding {
		return false
	}
	if status < 200 {
		tx.state, tx.last = proceeding, bytes.Clone(msg)
		return true
	}
	k, flow := tx.key, tx.flow
	tx.remove()
	s.recycle(tx)
	l.keep(s, k, flow, msg)
	return true
}

// keep stores a final response for Timer J, which is zero on a reliable
// transport. The shard is locked.
func (l *Layer) keep(s *shard, k key, flow sip.Flow, msg []byte) {
	if flow.Transport.Reliable() {
		return
	}
	s.stats.dropped += uint64(s.finished.put(k, l.deadline(64*l.config.T1), msg))
	if s.finished.count == 1 {
		l.alarm.set(s.finished.next())
	}
}

// remove ends the transaction. The shard is locked.
func (tx *Server) remove() {
	s := tx.shard
	s.wheel.stop(&tx.retry)
	s.wheel.stop(&tx.end)
	delete(s.servers, tx.key)
	tx.layer.live.Add(-1)
	tx.state, tx.user, tx.last, tx.trying = terminated, nil, nil, nil
}

// fire handles the transaction's timers.
func (tx *Server) fire(n *node, e []effect) []effect {
	l, s := tx.layer, tx.shard
	if n == &tx.end {
		switch tx.state {
		case completed: // Timer H
			s.stats.ackTimeouts++
		case trying, proceeding:
			s.stats.abandoned++
		}
		tx.remove()
		return e
	}
	if tx.state == proceeding {
		tx.last, tx.trying = tx.trying, nil
		return append(e, effect{flow: tx.flow, msg: tx.last})
	}
	// Timer G, RFC 3261 17.2.1: doubles up to T2.
	tx.interval = min(2*tx.interval, l.config.T2)
	s.wheel.set(&tx.retry, l.deadline(tx.interval))
	s.stats.retransmitted++
	return append(e, effect{flow: tx.flow, msg: tx.last})
}
