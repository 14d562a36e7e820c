package siptransport

import (
	"errors"

	"onhook/internal/sip"
)

// deliver parses one message and hands it up. It reports whether data was a SIP
// message at all, well formed or not.
func (t *Transport) deliver(m *sip.Message, data []byte, flow sip.Flow, stats *counters) bool {
	err := m.Parse(data)
	if err == nil {
		stats.received[flow.Transport].Add(1)
		t.handler.Message(m, flow)
		return true
	}
	e, ok := errors.AsType[*sip.Error](err)
	if !ok || e.Status == 0 {
		stats.junk.Add(1)
		return false
	}
	stats.malformed.Add(1)
	if m.Answerable() {
		t.handler.Malformed(m, e, flow)
	}
	return true
}

// isKeepalive reports whether a byte between messages means nothing
// (RFC 3261 7.5, RFC 5626 3.5.1; some phones send NUL).
func isKeepalive(c byte) bool { return c == '\r' || c == '\n' || c == 0 }

// beginsMessage reports whether a method (a token, RFC 3261 25.1) or "SIP/2.0"
// may begin with c.
func beginsMessage(c byte) bool { return tokenByte[c] }

var tokenByte = func() (table [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.!%*_+`'~") {
		table[c] = true
	}
	return table
}()

// poison makes a view that was kept too long show up.
func poison(b []byte) {
	for i := range b {
		b[i] = '#'
	}
}
