package siptransaction

import (
	"bytes"
	"strconv"

	"onhook/internal/sip"
)

// Cancel cancels an INVITE that has no final response yet (RFC 3261 9.1): with
// a CANCEL of its own transaction, sent at once or as soon as a provisional
// response has come. extra are whole header fields for it, such as Reason. When
// no final response follows within 64*T1, the INVITE fails with ErrTimeout.
// A second call, and one for another method, do nothing.
func (c *Client) Cancel(extra []byte) {
	if c.method != sip.INVITE {
		return
	}
	var buf [1]effect
	e := buf[:0]
	c.shard.mu.Lock()
	if !c.cancelWanted && (c.state == trying || c.state == proceeding) {
		c.cancelWanted = true
		c.cancelExtra = bytes.Clone(extra)
		if c.state == proceeding {
			e = c.cancel(e)
		}
	}
	c.shard.mu.Unlock()
	c.layer.run(e)
}

// CancelMessage returns the CANCEL that Cancel would send, whole, or nil once the
// request needs none.
func (c *Client) CancelMessage(extra []byte) []byte {
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	if c.method != sip.INVITE || c.request == nil {
		return nil
	}
	return c.layer.makeCancel(c.request, extra)
}

// cancel makes the CANCEL and the limit to the wait after it. The shard is
// locked.
func (c *Client) cancel(e []effect) []effect {
	l := c.layer
	c.cancelSent = true
	c.shard.wheel.set(&c.end, l.deadline(64*l.config.T1))
	return append(e, effect{client: c, msg: l.makeCancel(c.request, c.cancelExtra)})
}

// startCancel runs a CANCEL as a client transaction. What becomes of it is
// nobody's concern: the INVITE's own final response counts. So the bound on
// transactions does not hold it back.
func (l *Layer) startCancel(invite *Client, msg []byte) {
	c := &Client{layer: l, flow: invite.flow, request: msg, method: sip.CANCEL, branch: invite.branch}
	l.live.Add(1)
	// An error was counted; then the INVITE ends by its limit.
	_ = l.begin(c)
}

// makeACK makes the ACK of a failed INVITE (RFC 3261 17.1.1.3): everything
// from the request, its topmost Via alone, but To from the response.
func (l *Layer) makeACK(invite []byte, response *sip.Message) []byte {
	to, _ := response.Value(sip.To)
	return l.makeFrom(invite, sip.ACK, to, nil)
}

// makeCancel makes the CANCEL of an INVITE (RFC 3261 9.1).
func (l *Layer) makeCancel(invite, extra []byte) []byte {
	return l.makeFrom(invite, sip.CANCEL, "", extra)
}

// makeFrom makes an ACK or CANCEL from the INVITE it belongs to; to replaces
// the To of the INVITE unless it is empty.
func (l *Layer) makeFrom(invite []byte, method, to string, extra []byte) []byte {
	m := l.messages.Get().(*sip.Message)
	defer func() {
		m.Reset()
		l.messages.Put(m)
	}()
	// It parsed when the transaction began, and unfolded its lines then: nothing
	// is written to the bytes now.
	_ = m.Parse(invite)
	b := make([]byte, 0, 512+len(extra))
	b = sip.AppendRequestLine(b, method, m.RequestURI)
	if c := m.Values(sip.Via); c.Next() {
		b = sip.AppendHeader(b, sip.Via, c.Value)
	}
	for i := range m.Headers {
		if h := &m.Headers[i]; h.ID == sip.Route {
			b = sip.AppendHeader(b, sip.Route, h.Value)
		}
	}
	b = append(b, "Max-Forwards: 70\r\n"...)
	from, _ := m.Value(sip.From)
	b = sip.AppendHeader(b, sip.From, from)
	if to == "" {
		to, _ = m.Value(sip.To)
	}
	b = sip.AppendHeader(b, sip.To, to)
	b = sip.AppendHeader(b, sip.CallID, m.CallID)
	b = append(b, "CSeq: "...)
	b = strconv.AppendUint(b, uint64(m.CSeq), 10)
	b = append(b, ' ')
	b = append(b, method...)
	b = append(b, "\r\n"...)
	b = append(b, extra...)
	return sip.AppendBody(b, nil)
}
