package siptransaction

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"onhook/internal/sip"
)

// ClientUser is told what becomes of a client transaction. The calls are made
// without a lock, on the goroutine that brought the response or on Run's.
type ClientUser interface {
	// Response brings every provisional response, the final one, and for an
	// INVITE every further 2xx for 64*T1. resp is valid until it returns.
	Response(c *Client, resp *sip.Message)
	// Failed comes once, instead of a final response: ErrTimeout, or the error
	// with which the connection ended.
	Failed(c *Client, err error)
}

// Client is a client transaction: one request of ours.
type Client struct {
	layer  *Layer
	shard  *shard
	key    key
	flow   sip.Flow
	method string
	branch string

	// The shard's lock guards what follows. The bytes are never changed.
	user         ClientUser
	state        state
	request      []byte
	ack          []byte
	cancelExtra  []byte
	cancelWanted bool
	cancelSent   bool
	interval     time.Duration
	retry        node // Timer A, E
	end          node // Timer B, F, then D, K, M; after a CANCEL 64*T1

	onConn             bool // guarded by the index's lock, as the two below
	connNext, connPrev *Client
}

// Request sends a request and sees it through to its final response. msg is
// the whole request, its topmost Via ours with a branch that NewBranch made;
// it is copied. user may be called before Request returns, and is not called
// when Request returns an error: the sender's, ErrFull or ErrDuplicate.
func (l *Layer) Request(flow sip.Flow, msg []byte, user ClientUser) (*Client, error) {
	m := l.messages.Get().(*sip.Message)
	defer func() {
		m.Reset()
		l.messages.Put(m)
	}()
	request := bytes.Clone(msg)
	if err := m.Parse(request); err != nil {
		return nil, fmt.Errorf("request of ours: %w", err)
	}
	if !m.IsRequest() || m.Method == sip.ACK {
		return nil, ErrMethod
	}
	return l.enter(flow, keepMethod(m.Method), strings.Clone(m.Via.Branch()), request, user)
}

// RequestAs is Request for whoever has just made msg from a request that
// parsed, and so knows its method, which is not ACK, and its branch: looking for
// them again takes longer than the rest of it. Both are kept.
func (l *Layer) RequestAs(flow sip.Flow, method, branch string, msg []byte, user ClientUser) (*Client, error) {
	return l.enter(flow, method, branch, bytes.Clone(msg), user)
}

func (l *Layer) enter(flow sip.Flow, method, branch string, request []byte, user ClientUser) (*Client, error) {
	if !l.admit() {
		return nil, ErrFull
	}
	c := &Client{layer: l, flow: flow, user: user, request: request, method: method, branch: branch}
	if err := l.begin(c); err != nil {
		return nil, err
	}
	return c, nil
}

// begin enters an admitted client transaction and sends its request.
func (l *Layer) begin(c *Client) error {
	c.key = l.hash.client(c.branch, c.method)
	c.shard = l.shard(c.key)
	c.retry.owner, c.end.owner = c, c
	s := c.shard
	s.mu.Lock()
	if s.clients[c.key] != nil {
		s.mu.Unlock()
		l.live.Add(-1)
		return ErrDuplicate
	}
	s.clients[c.key] = c
	s.stats.clientsBegun++
	l.conns.add(c)
	if !c.flow.Transport.Reliable() {
		c.interval = l.config.T1
		s.wheel.set(&c.retry, l.deadline(c.interval)) // Timer A, E
	}
	s.wheel.set(&c.end, l.deadline(64*l.config.T1)) // Timer B, F
	request := c.request
	s.mu.Unlock()

	err := l.config.Sender.Send(c.flow, request)
	if err == nil {
		return nil
	}
	l.sendFails.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.state == terminated {
		return nil // the end of the connection came first, and the user was told
	}
	c.remove()
	return err
}

// Flow returns the flow the request went to.
func (c *Client) Flow() sip.Flow { return c.flow }

// Method returns the request's method.
func (c *Client) Method() string { return c.method }

// Branch returns the branch of the request.
func (c *Client) Branch() string { return c.branch }

// ClientID names a client transaction to Over; the zero value names none.
type ClientID struct{ key key }

// ID returns the transaction's name, which holds on to nothing.
func (c *Client) ID() ClientID { return ClientID{c.key} }

// Over ends an INVITE transaction that waits for further 2xx only (RFC 6026 7.2
// Accepted), because the call is over: whoever would repeat its 2xx has had a BYE.
// Timer M would keep everything that belongs to the call for 32 s more.
func (l *Layer) Over(id ClientID) {
	s := l.shard(id.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.clients[id.key]; c != nil && c.state == accepted {
		c.remove()
	}
}

// receiveResponse gives a response to the transaction of its request, and reports
// false for one without.
func (l *Layer) receiveResponse(m *sip.Message) bool {
	k := l.hash.client(m.Via.Branch(), m.CSeqMethod)
	s := l.shard(k)
	s.mu.Lock()
	c := s.clients[k]
	if c == nil {
		s.mu.Unlock()
		l.stray.Add(1)
		return false
	}
	var buf [1]effect
	user := c.user
	var e []effect
	var up bool
	if c.method == sip.INVITE {
		e, up = c.receiveInvite(m, buf[:0])
	} else {
		up = c.receiveOther(m)
	}
	s.mu.Unlock()
	l.run(e)
	if up && user != nil {
		user.Response(c, m)
	}
	return true
}

// receiveInvite moves the INVITE machine (RFC 3261 17.1.1, RFC 6026 7.2) and
// reports whether the response goes up.
func (c *Client) receiveInvite(m *sip.Message, e []effect) ([]effect, bool) {
	l, s, w := c.layer, c.shard, &c.shard.wheel
	waiting := c.state == trying || c.state == proceeding
	switch {
	case m.Status < 200 && waiting:
		if c.state == trying {
			c.state = proceeding
			w.stop(&c.retry)
			w.stop(&c.end)
		}
		if c.cancelWanted && !c.cancelSent {
			e = c.cancel(e)
		}
		return e, true
	case m.Status/100 == 2 && waiting:
		c.state = accepted
		w.stop(&c.retry)
		c.request = nil
		l.conns.remove(c)
		w.set(&c.end, l.deadline(64*l.config.T1)) // Timer M
		return e, true
	case m.Status/100 == 2 && c.state == accepted:
		return e, true
	case m.Status >= 300 && waiting:
		c.ack = l.makeACK(c.request, m)
		e = append(e, effect{flow: c.flow, msg: c.ack})
		c.request, c.user = nil, nil
		if c.flow.Transport.Reliable() { // Timer D is zero
			c.remove()
			return e, true
		}
		c.state = completed
		w.stop(&c.retry)
		w.set(&c.end, l.deadline(64*l.config.T1)) // Timer D
		return e, true
	case m.Status >= 300 && c.state == completed:
		s.stats.retransmitted++
		return append(e, effect{flow: c.flow, msg: c.ack}), false
	}
	s.stats.absorbed++
	return e, false
}

// receiveOther moves the non-INVITE machine (RFC 3261 17.1.2).
func (c *Client) receiveOther(m *sip.Message) (up bool) {
	l, s := c.layer, c.shard
	switch {
	case c.state == completed:
		s.stats.absorbed++
		return false
	case m.Status < 200:
		c.state = proceeding // the running Timer E ends as it was set, the next ones take T2
		return true
	}
	c.request, c.user = nil, nil
	if c.flow.Transport.Reliable() { // Timer K is zero
		c.remove()
		return true
	}
	c.state = completed
	l.conns.remove(c)
	s.wheel.stop(&c.retry)
	s.wheel.set(&c.end, l.deadline(l.config.T4)) // Timer K
	return true
}

// remove ends the transaction. The shard is locked.
func (c *Client) remove() {
	s := c.shard
	s.wheel.stop(&c.retry)
	s.wheel.stop(&c.end)
	delete(s.clients, c.key)
	c.layer.conns.remove(c)
	c.layer.live.Add(-1)
	c.state, c.user, c.request, c.ack, c.cancelExtra = terminated, nil, nil, nil, nil
}

// fail ends a transaction that still waits for its final response, and has its
// user told. The shard is locked.
func (c *Client) fail(err error, e []effect) []effect {
	if c.state != trying && c.state != proceeding {
		return e
	}
	user := c.user
	c.remove()
	if user == nil {
		return e
	}
	return append(e, effect{client: c, user: user, err: err})
}

// fire handles the transaction's timers.
func (c *Client) fire(n *node, e []effect) []effect {
	l, s := c.layer, c.shard
	if n == &c.end {
		if c.state == trying || c.state == proceeding { // Timer B, F, or no answer after CANCEL
			s.stats.timeouts++
			return c.fail(ErrTimeout, e)
		}
		c.remove() // Timer D, K, M
		return e
	}
	switch {
	case c.method == sip.INVITE:
		c.interval *= 2 // Timer A
	case c.state == proceeding:
		c.interval = l.config.T2 // Timer E, RFC 3261 17.1.2.2
	default:
		c.interval = min(2*c.interval, l.config.T2)
	}
	s.wheel.set(&c.retry, l.deadline(c.interval))
	s.stats.retransmitted++
	return append(e, effect{flow: c.flow, msg: c.request})
}

// FlowClosed fails the client transactions that wait on a connection.
func (l *Layer) FlowClosed(flow sip.Flow, err error) {
	if flow.Conn == 0 {
		return
	}
	for _, c := range l.conns.take(flow.Conn) {
		var buf [1]effect
		c.shard.mu.Lock()
		e := c.fail(err, buf[:0])
		c.shard.mu.Unlock()
		l.run(e)
	}
}
