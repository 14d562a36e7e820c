package sip

import (
	"bytes"
	"strings"
)

// Parse reads the message that buf holds: a datagram, or one message that
// Frame cut off a stream. Bytes past Content-Length are ignored (RFC 3261
// 18.3). Every error is an *Error; as much of a refused request is filled in
// as AppendReply needs where Answerable is true.
func (m *Message) Parse(buf []byte) error {
	*m = Message{Headers: m.Headers[:0], raw: buf}
	n := bytes.IndexByte(buf, '\n')
	if n < 1 || buf[n-1] != '\r' {
		return errNotSIP
	}
	startErr := m.parseStartLine(view(buf[:n-1]))
	if startErr == errNotSIP {
		return startErr
	}
	rest, headErr := m.parseHeaders(buf[n+1:])
	m.Body = rest
	coreErr := m.parseCore()
	for _, err := range [...]*Error{startErr, headErr, coreErr} {
		if err != nil {
			return err
		}
	}
	if err := m.cutBody(); err != nil {
		return err
	}
	if err := m.check(); err != nil {
		return err
	}
	return nil
}

// parseStartLine reads the request or status line. Its elements are separated
// by one space each.
func (m *Message) parseStartLine(line string) *Error {
	if len(line) >= 4 && line[3] == '/' && equalFold(line[:3], "SIP") {
		return m.parseStatusLine(line)
	}
	// RFC 3261 7.1: Method SP Request-URI SP SIP-Version
	sp := span(line, 0, classToken)
	if sp == 0 || sp == len(line) || line[sp] != ' ' {
		return errNotSIP
	}
	whole := strings.TrimRight(line, " \t")
	last := strings.LastIndexByte(whole, ' ')
	version := whole[last+1:]
	if len(version) < 4 || !equalFold(version[:4], "SIP/") {
		return errNotSIP
	}
	m.Method = method(line[:sp])
	if last <= sp || len(whole) < len(line) {
		return errStartLine
	}
	if version != "SIP/2.0" && !equalFold(version, "SIP/2.0") {
		return errVersion
	}
	m.RequestURI = line[sp+1 : last]
	// RFC 3261 19.1.1: no headers in a Request-URI.
	u, err := ParseURI(m.RequestURI)
	if err != nil || u.Headers != "" {
		return errRequestURI
	}
	m.Target = u
	return nil
}

// parseStatusLine reads a status line. A response that breaks the grammar is
// dropped: there is nobody to tell.
func (m *Message) parseStatusLine(line string) *Error {
	m.Status = -1 // a response, whatever else is wrong with it
	// RFC 3261 7.2: SIP-Version SP Status-Code SP Reason-Phrase; the reason may be empty.
	if len(line) < 11 || !equalFold(line[:8], "SIP/2.0 ") || len(line) > 11 && line[11] != ' ' {
		return errNotSIP
	}
	code, ok := number(line[8:11], 699)
	if !ok || code < 100 || strings.IndexByte(line, '\r') >= 0 {
		return errNotSIP
	}
	m.Status = int(code)
	if len(line) > 12 {
		m.Reason = line[12:]
	}
	return nil
}

// parseHeaders reads the header fields up to the empty line and returns what
// follows it. It goes on past a malformed line, so that the rest is there for
// the answer, and returns the first error.
func (m *Message) parseHeaders(b []byte) (body []byte, first *Error) {
	for {
		n := bytes.IndexByte(b, '\n')
		if n == 1 && b[0] == '\r' {
			return b[2:], first
		}
		end, whole := foldedLine(b, n)
		if !whole {
			return nil, firstOf(first, errHeaderLine)
		}
		err := errHeaderCount
		if len(m.Headers) < MaxHeaders {
			err = m.parseHeader(view(b[:end-1]))
		}
		if err != nil {
			first = firstOf(first, err)
			if err == errHeaderCount {
				return nil, first
			}
		}
		b = b[end+1:]
	}
}

// foldedLine takes the end of the line b begins with, -1 for none, and returns
// that of the header field: RFC 3261 7.3.1: a line that begins with white space
// goes on from the one before, and the break counts as a space.
func foldedLine(b []byte, end int) (int, bool) {
	for {
		if end < 1 || b[end-1] != '\r' {
			return 0, false
		}
		if end+1 == len(b) || !isSpace(b[end+1]) {
			return end, true
		}
		next := bytes.IndexByte(b[end+1:], '\n')
		if next < 0 {
			return 0, false
		}
		b[end-1], b[end] = ' ', ' '
		end += 1 + next
	}
}

func (m *Message) parseHeader(line string) *Error {
	if len(line) > MaxHeader {
		return errHeaderSize
	}
	n := span(line, 0, classToken)
	// RFC 3261 7.3.1: white space may stand between the name and the colon.
	colon := skipSpace(line, n)
	// RFC 3261 25.1: no CR but in a line's end, not even escaped.
	if n == 0 || colon == len(line) || line[colon] != ':' || strings.IndexByte(line[colon:], '\r') >= 0 {
		return errHeaderLine
	}
	id := LookupHeader(line[:n])
	m.Headers = append(m.Headers, Header{ID: id, Name: line[:n], Value: trim(line[colon+1:])})
	if m.first[id] == 0 {
		m.first[id] = uint16(len(m.Headers))
	} else if id.single() {
		return errRepeated
	}
	return nil
}

func firstOf(a, b *Error) *Error {
	if a != nil {
		return a
	}
	return b
}

// parseCore reads what every message must carry (RFC 3261 8.1.1). It goes on
// past an error and returns the first.
func (m *Message) parseCore() (first *Error) {
	if v, ok := m.Value(Via); !ok {
		first = firstOf(first, errMissingVia)
	} else if err := m.parseTopVia(v); err != nil {
		first = firstOf(first, err)
	}
	if v, ok := m.Value(CallID); !ok {
		first = firstOf(first, errMissingCallID)
	} else if v == "" || !only(v, classWord) {
		first = firstOf(first, errBadCallID)
	} else {
		m.CallID = v
	}
	if v, ok := m.Value(CSeq); !ok {
		first = firstOf(first, errMissingCSeq)
	} else if err := m.parseCSeq(v); err != nil {
		first = firstOf(first, err)
	}
	if v, ok := m.Value(From); !ok {
		first = firstOf(first, errMissingFrom)
	} else if m.From, m.FromURI, ok = m.parseParty(v); !ok {
		first = firstOf(first, errBadFrom)
	}
	if v, ok := m.Value(To); !ok {
		first = firstOf(first, errMissingTo)
	} else if m.To, m.ToURI, ok = m.parseParty(v); !ok {
		first = firstOf(first, errBadTo)
	}
	return first
}

func (m *Message) parseTopVia(v string) *Error {
	top, _, _, ok := nextValue(v)
	if !ok {
		return errBadVia
	}
	var err error
	if m.Via, err = ParseVia(top); err != nil {
		return errBadVia
	}
	// RFC 4475 3.2.1: the cookie promises an identifier; without one, requests of
	// different transactions would match each other.
	if m.IsRequest() && len(m.Via.Branch()) == len(MagicCookie) && equalFold(m.Via.Branch(), MagicCookie) {
		return errBranch
	}
	return nil
}

// parseParty reads From or To. In a request its URI must be well formed, since
// routing decides by it.
func (m *Message) parseParty(v string) (a NameAddr, u URI, ok bool) {
	a, err := ParseNameAddr(v)
	if err == nil && m.IsRequest() {
		u, err = ParseURI(a.URI)
	}
	return a, u, err == nil
}

func (m *Message) parseCSeq(v string) *Error {
	i := 0
	for i < len(v) && !isSpace(v[i]) {
		i++
	}
	n, ok := number(v[:i], 1<<31-1) // RFC 3261 8.1.1.5: less than 2**31
	name := trim(v[i:])
	if !ok || !isToken(name) {
		return errBadCSeq
	}
	m.CSeq, m.CSeqMethod = uint32(n), method(name)
	if m.IsRequest() && m.CSeqMethod != m.Method {
		return errCSeqMethod
	}
	return nil
}

// cutBody applies Content-Length (RFC 3261 18.3).
func (m *Message) cutBody() *Error {
	v, ok := m.Value(ContentLength)
	if !ok {
		return nil
	}
	n, ok := number(v, MaxMessage)
	if !ok || int(n) > len(m.Body) {
		return errLength
	}
	m.raw = m.raw[:len(m.raw)-len(m.Body)+int(n)]
	m.Body = m.Body[:n]
	return nil
}

// check looks at the fields whose syntax decides where a message goes. Of a
// response that is Via and Record-Route alone; whatever else is wrong with it
// is for the endpoint it goes to (RFC 3261 16.3: reasonable syntax).
func (m *Message) check() *Error {
	for i := range m.Headers {
		h := &m.Headers[i]
		switch h.ID {
		case Via:
			if !m.checkVia(h.Value, i+1 == int(m.first[Via])) {
				return errBadVia
			}
		case Route, RecordRoute:
			if !everyValue(h.Value, routeValid) {
				return errBadRoute
			}
		case Path, ServiceRoute:
			if m.IsRequest() && !everyValue(h.Value, routeValid) {
				return errBadRoute
			}
		case Contact:
			if m.IsRequest() && h.Value != "*" && !everyValue(h.Value, nameAddrValid) {
				return errBadContact
			}
		case MaxForwards:
			if _, ok := number(h.Value, 255); !ok && m.IsRequest() {
				return errBadMaxForwards
			}
		case Expires:
			if _, ok := number(h.Value, 1<<32-1); !ok && m.IsRequest() {
				return errBadExpires
			}
		}
	}
	return nil
}

// checkVia checks the values of a Via line; the topmost is parsed already.
func (m *Message) checkVia(v string, topmost bool) bool {
	if topmost {
		_, rest, more, _ := nextValue(v)
		if !more {
			return true
		}
		v = rest
	}
	return everyValue(v, viaValid)
}

func viaValid(s string) bool {
	_, err := ParseVia(s)
	return err == nil
}

func nameAddrValid(s string) bool {
	_, err := ParseNameAddr(s)
	return err == nil
}

// routeValid checks a Route value: RFC 3261 20.34: always in brackets, and its
// URI is where the request goes next.
func routeValid(s string) bool {
	a, err := ParseNameAddr(s)
	if err != nil || strings.IndexByte(s, '<') < 0 {
		return false
	}
	_, err = ParseURI(a.URI)
	return err == nil
}
