package siptransport

import (
	"bytes"
	"errors"
	"time"

	"onhook/internal/sip"
)

// hangUp is an end that we chose: what we sent last should still arrive.
type hangUp struct{ cause error }

func (h *hangUp) Error() string { return h.cause.Error() }

// read is the reader of a connection: it returns why it ended.
func (c *conn) read() error {
	for {
		if err := c.fill(); err != nil {
			if errors.Is(err, ErrIdle) || errors.Is(err, ErrSilent) {
				return &hangUp{err}
			}
			return err
		}
		s := scratches.Get().(*scratch)
		var err error
		if c.flow.Transport.WebSocket() {
			err = c.readFrames(s)
		} else {
			err = c.readStream(s)
		}
		scratches.Put(s)
		if err != nil {
			return err
		}
		c.settle()
	}
}

// readStream handles every complete message that has come (RFC 3261 18.3).
func (c *conn) readStream(s *scratch) error {
	for data := c.unread(); len(data) > 0; data = c.unread() {
		if isKeepalive(data[0]) {
			c.start++
			if err := c.newline(data[0]); err != nil {
				return err
			}
			continue
		}
		if c.newlines > 0 {
			c.newlines = 0
			c.t.stats.ignored.Add(1)
		}
		if !beginsMessage(data[0]) {
			c.t.stats.junk.Add(1)
			return ErrNotSIP
		}
		n, err := c.framer.Next(data)
		if err != nil {
			return c.unreadable(s, data, err)
		}
		if n == 0 {
			return nil
		}
		c.start += n
		c.slowDown()
		if !c.message(s, data[:n:n]) {
			return ErrNotSIP
		}
		if c.isClosing() {
			return &hangUp{ErrClosedByUs} // the Handler closed it
		}
	}
	return nil
}

// newline handles a byte between messages. RFC 5626 4.4.1: two CRLFs are a
// ping and get one in return.
func (c *conn) newline(b byte) error {
	switch b {
	case 0:
		c.newlines = 0
		c.t.stats.ignored.Add(1)
	case '\n':
		c.newlines++
	}
	if c.newlines < 2 {
		return nil
	}
	c.newlines = 0
	c.slowDown()
	c.active.Store(c.t.now())
	c.t.stats.pings.Add(1)
	return c.write([]byte("\r\n"))
}

// slowDown charges a message, a ping or a frame to its source. A stream is not
// cut for its rate: we read slower, and the peer's own window makes it wait.
func (c *conn) slowDown() {
	for !c.t.guard.Admit(c.flow.Remote.Addr(), c.t.now()) {
		c.t.stats.rateLimited.Add(1)
		select {
		case <-c.t.stop:
			return
		case <-time.After(ratePause):
			if c.isClosing() {
				return
			}
		}
	}
}

// message hands one message up; false when it was none.
func (c *conn) message(s *scratch, data []byte) bool {
	isSIP := c.t.deliver(&s.msg, data, c.flow, &c.t.stats)
	s.msg.Reset()
	if c.t.cfg.Poison {
		poison(data)
	}
	if isSIP {
		c.active.Store(c.t.now())
		c.mu.Lock()
		c.greeted, c.partial = true, 0
		c.mu.Unlock()
	}
	return isSIP
}

const ratePause = 10 * time.Millisecond

// unreadable ends a stream of which nobody knows where the next message begins.
// Its beginning is answered where it tells enough (RFC 3261 18.3).
func (c *conn) unreadable(s *scratch, data []byte, err error) error {
	c.t.stats.malformed.Add(1)
	if e, ok := errors.AsType[*sip.Error](err); ok {
		if end := bytes.Index(data, []byte("\r\n\r\n")); end >= 0 {
			data = data[:end+4]
		}
		// Whatever else is wrong with it, err is what made it unreadable.
		_ = s.msg.Parse(data)
		if s.msg.Answerable() {
			c.t.handler.Malformed(&s.msg, e, c.flow)
		}
		s.msg.Reset()
	}
	return &hangUp{err}
}

func (c *conn) isClosing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == closing
}
