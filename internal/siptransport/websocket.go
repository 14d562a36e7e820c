package siptransport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"slices"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"onhook/internal/sip"
)

const (
	maxUpgrade  = 8 << 10
	subprotocol = "sip" // RFC 7118 4
)

// wsState is what a WebSocket reader keeps between frames.
type wsState struct {
	fragments []byte // of a message that is not complete, from the pool
	open      bool   // a fragmented message has begun
}

func (w *wsState) assembling() bool { return w.open }

var (
	errNoSubprotocol = ws.RejectConnectionError(ws.RejectionStatus(http.StatusBadRequest),
		ws.RejectionReason(`the subprotocol "sip" is required`))
	errOrigin = ws.RejectConnectionError(ws.RejectionStatus(http.StatusForbidden), ws.RejectionReason("this origin is not allowed"))
)

// upgrade does the server's part of the handshake (RFC 6455 4.2, RFC 7118 4.1).
func (c *conn) upgrade(rw io.ReadWriter) error {
	origin, chosen := "", false
	u := ws.Upgrader{
		ReadBufferSize:  maxUpgrade,
		WriteBufferSize: 512,
		Protocol: func(name []byte) bool {
			chosen = chosen || string(name) == subprotocol
			return string(name) == subprotocol
		},
		OnHeader: func(key, value []byte) error {
			if string(key) == "Origin" {
				origin = string(value)
			}
			return nil
		},
		OnBeforeUpgrade: func() (ws.HandshakeHeader, error) {
			if !chosen {
				return nil, errNoSubprotocol
			}
			if allowed := c.t.cfg.Origins; len(allowed) > 0 && !slices.Contains(allowed, origin) {
				return nil, errOrigin
			}
			return nil, nil
		},
	}
	_, err := u.Upgrade(struct {
		io.Reader
		io.Writer
	}{io.LimitReader(rw, maxUpgrade), rw})
	return err
}

// wsError ends a connection with a close frame of this status.
type wsError struct {
	status ws.StatusCode
	reason string
}

func (e *wsError) Error() string { return "WebSocket: " + e.reason }

// readFrames handles every complete frame that has come (RFC 6455 5).
func (c *conn) readFrames(s *scratch) error {
	for data := c.unread(); len(data) > 0; data = c.unread() {
		s.reader.Reset(data)
		h, err := ws.ReadHeaderBuffer(&s.reader, s.head[:])
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		state := ws.StateServerSide
		if c.ws.open {
			state = state.Set(ws.StateFragmented)
		}
		if err == nil {
			err = ws.CheckHeader(h, state)
		}
		if err != nil {
			c.t.stats.malformed.Add(1)
			return c.hangUp(ws.StatusProtocolError, err.Error())
		}
		if h.Length > int64(sip.MaxMessage-len(c.ws.fragments)) {
			c.t.stats.malformed.Add(1)
			return c.hangUp(ws.StatusMessageTooBig, "message too big")
		}
		head := len(data) - s.reader.Len()
		end := head + int(h.Length)
		if end > len(data) {
			return nil
		}
		payload := data[head:end:end]
		ws.Cipher(payload, h.Mask, 0)
		c.start += end
		c.slowDown()
		if err := c.frame(s, h, payload); err != nil {
			return err
		}
		if c.isClosing() {
			return &hangUp{ErrClosedByUs}
		}
	}
	return nil
}

func (c *conn) frame(s *scratch, h ws.Header, payload []byte) error {
	switch h.OpCode {
	case ws.OpPing:
		c.t.stats.pings.Add(1)
		c.active.Store(c.t.now())
		return c.writeFrame(ws.OpPong, payload)
	case ws.OpPong:
		return nil
	case ws.OpClose:
		status := ws.StatusNormalClosure
		if len(payload) >= 2 {
			// RFC 6455 5.5.1: the answer to a close frame bears its status, if it may.
			got := ws.StatusCode(binary.BigEndian.Uint16(payload))
			if ws.CheckCloseFrameData(got, "") == nil {
				status = got
			} else {
				status = ws.StatusProtocolError
			}
		}
		return c.hangUp(status, "closed by the peer")
	}
	if h.Fin && !c.ws.open {
		c.webMessage(s, payload)
		return nil
	}
	// RFC 6455 5.4: pieces of one message.
	if c.ws.fragments == nil {
		c.ws.fragments = getLargeBuffer()
	}
	c.ws.fragments = append(c.ws.fragments, payload...)
	c.ws.open = !h.Fin
	if h.Fin {
		c.webMessage(s, c.ws.fragments)
		putBuffer(c.ws.fragments[:0])
		c.ws.fragments = nil
	}
	return nil
}

// webMessage handles one WebSocket message: one SIP message (RFC 7118 5), or a
// keepalive of line breaks, as some browsers' libraries send.
func (c *conn) webMessage(s *scratch, data []byte) {
	newlines := 0
	for len(data) > 0 && isKeepalive(data[0]) {
		if data[0] == '\n' {
			newlines++
		}
		data = data[1:]
	}
	switch {
	case len(data) == 0 && newlines >= 2:
		c.active.Store(c.t.now())
		c.t.stats.pings.Add(1)
		_ = c.write([]byte("\r\n")) // a failure closes the connection
	case len(data) == 0:
		c.t.stats.ignored.Add(1)
	case !beginsMessage(data[0]):
		c.t.stats.junk.Add(1)
	default:
		c.message(s, data)
	}
}

// hangUp sends a close frame; the reader closes the connection with its result.
func (c *conn) hangUp(status ws.StatusCode, reason string) error {
	return &hangUp{&wsError{status, reason}}
}

// writeClose sends the close frame that fits the cause.
func (c *conn) writeClose(cause error) error {
	status := ws.StatusNormalClosure
	var e *wsError
	switch {
	case errors.As(cause, &e):
		status = e.status
	case errors.Is(cause, ErrStopped):
		status = ws.StatusGoingAway
	case errors.Is(cause, ErrIdle), errors.Is(cause, ErrSilent):
		status = ws.StatusPolicyViolation
	}
	return c.writeFrame(ws.OpClose, ws.NewCloseFrameBody(status, ""))
}

// writeMessage sends one SIP message as one WebSocket message: text, unless a
// body makes it something else (RFC 7118 5).
func (c *conn) writeMessage(msg []byte) error {
	op := ws.OpText
	if !utf8.Valid(msg) {
		op = ws.OpBinary
	}
	return c.writeFrame(op, msg)
}

func (c *conn) writePing() error { return c.writeFrame(ws.OpPing, nil) }

func (c *conn) writeFrame(op ws.OpCode, payload []byte) error {
	f := frames.Get().(*bytes.Buffer)
	defer frames.Put(f)
	f.Reset()
	if err := ws.WriteHeader(f, ws.Header{Fin: true, OpCode: op, Length: int64(len(payload))}); err != nil {
		return err
	}
	f.Write(payload)
	return c.writeBytes(f.Bytes())
}
