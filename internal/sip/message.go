package sip

import (
	"bytes"
	"strings"
)

// Method is a request method. Well-known ones are the constants below, so that
// they may be kept; any other is a view of the message.
type Method = string

// The methods the server knows by name. It forwards others too.
const (
	ACK       Method = "ACK"
	BYE       Method = "BYE"
	CANCEL    Method = "CANCEL"
	INFO      Method = "INFO"
	INVITE    Method = "INVITE"
	MESSAGE   Method = "MESSAGE"
	NOTIFY    Method = "NOTIFY"
	OPTIONS   Method = "OPTIONS"
	PRACK     Method = "PRACK"
	PUBLISH   Method = "PUBLISH"
	REFER     Method = "REFER"
	REGISTER  Method = "REGISTER"
	SUBSCRIBE Method = "SUBSCRIBE"
	UPDATE    Method = "UPDATE"
)

var methods = [...]Method{ACK, BYE, CANCEL, INFO, INVITE, MESSAGE, NOTIFY, OPTIONS, PRACK, PUBLISH, REFER, REGISTER, SUBSCRIBE, UPDATE}

// method returns the constant for a well-known method, else s itself.
func method(s string) Method {
	for _, m := range methods {
		if m == s {
			return m
		}
	}
	return s
}

// Limits of one message. The transport refuses larger ones before they get here.
const (
	MaxMessage = 64 << 10 // bytes in all
	MaxHeader  = 8 << 10  // bytes of one header field, folds included
	MaxHeaders = 256      // header fields
)

// Message is a parsed request or response. See the package comment for how
// long it and its strings may be used. The zero Message is ready for Parse,
// and a Message may be parsed into again and again without allocating.
type Message struct {
	Method     Method // "" in a response
	RequestURI string
	Status     int // 0 in a request
	Reason     string

	Headers []Header
	Body    []byte

	// What every message must carry, parsed.
	Via        ViaValue // topmost
	From, To   NameAddr
	CallID     string
	CSeq       uint32
	CSeqMethod Method

	raw   []byte
	first [numHeaders]uint16 // index+1 of the first field of each ID
}

// Error says why a message was refused and how to answer: Status and Reason
// for the response. Errors are values made once; compare them with errors.As.
type Error struct {
	Status int
	Reason string
}

func (e *Error) Error() string { return e.Reason }

var (
	errStartLine      = &Error{400, "Malformed start line"}
	errRequestURI     = &Error{400, "Malformed Request-URI"}
	errURIScheme      = &Error{416, "Unsupported URI Scheme"}
	errVersion        = &Error{505, "Version Not Supported"}
	errHeaderLine     = &Error{400, "Malformed header field"}
	errHeaderSize     = &Error{400, "Header field too large"}
	errHeaderCount    = &Error{400, "Too many header fields"}
	errRepeated       = &Error{400, "Header field repeated"}
	errLength         = &Error{400, "Content-Length does not fit the message"}
	errMissingVia     = &Error{400, "Missing Via header field"}
	errMissingFrom    = &Error{400, "Missing From header field"}
	errMissingTo      = &Error{400, "Missing To header field"}
	errMissingCallID  = &Error{400, "Missing Call-ID header field"}
	errMissingCSeq    = &Error{400, "Missing CSeq header field"}
	errBadVia         = &Error{400, "Malformed Via header field"}
	errBadFrom        = &Error{400, "Malformed From header field"}
	errBadTo          = &Error{400, "Malformed To header field"}
	errBadCallID      = &Error{400, "Malformed Call-ID header field"}
	errBadCSeq        = &Error{400, "Malformed CSeq header field"}
	errCSeqMethod     = &Error{400, "CSeq method does not match the request"}
	errBadContact     = &Error{400, "Malformed Contact header field"}
	errBadRoute       = &Error{400, "Malformed Route header field"}
	errBadMaxForwards = &Error{400, "Malformed Max-Forwards header field"}
	errBadExpires     = &Error{400, "Malformed Expires header field"}
	errNotSIP         = &Error{0, "Not a SIP message"}
)

// IsRequest reports whether m is a request.
func (m *Message) IsRequest() bool { return m.Status == 0 }

// Bytes returns the whole message as it came (folded lines unfolded).
func (m *Message) Bytes() []byte { return m.raw }

// Reset forgets everything, the buffer included, and keeps its own storage.
func (m *Message) Reset() {
	headers := m.Headers[:0]
	clear(headers[:cap(headers)])
	*m = Message{Headers: headers}
}

// Clone copies the message and its buffer, so that it may be kept.
func (m *Message) Clone() *Message {
	c := &Message{Headers: make([]Header, 0, len(m.Headers))}
	// The same bytes parse the same way; an error was reported the first time.
	_ = c.Parse(bytes.Clone(m.raw))
	return c
}

// Parse reads the message that buf holds: a datagram, or one message that
// Frame cut off a stream. Bytes past Content-Length are ignored (RFC 3261
// 18.3). On an error that is an *Error with a Status, as much of a request is
// filled in as AppendReply needs where Answerable is true.
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

// parseStartLine reads the request or status line (RFC 3261 7.1, 7.2). The
// elements are separated by one space each.
func (m *Message) parseStartLine(line string) *Error {
	if len(line) >= 8 && strings.EqualFold(line[:4], "SIP/") {
		m.Status = -1 // a response, whatever else is wrong with it
		if !strings.EqualFold(line[:7], "SIP/2.0") || line[7] != ' ' || len(line) < 11 {
			return errNotSIP
		}
		code, ok := number(line[8:11], 699)
		if !ok || code < 100 || len(line) > 11 && line[11] != ' ' {
			return errNotSIP
		}
		m.Status = int(code)
		if len(line) > 12 {
			m.Reason = line[12:]
		}
		return nil
	}
	sp := strings.IndexByte(line, ' ')
	if sp <= 0 || !isToken(line[:sp]) {
		return errNotSIP
	}
	last := strings.LastIndex(line, " SIP/")
	if last < 0 {
		if strings.LastIndex(line, " sip/") < 0 {
			return errNotSIP
		}
		last = strings.LastIndex(line, " sip/")
	}
	m.Method = method(line[:sp])
	if version := line[last+1:]; !strings.EqualFold(version, "SIP/2.0") {
		if strings.IndexByte(version, ' ') >= 0 {
			return errStartLine
		}
		return errVersion
	}
	if last <= sp {
		return errStartLine
	}
	m.RequestURI = line[sp+1 : last]
	for i := 0; i < len(m.RequestURI); i++ {
		if c := m.RequestURI[i]; c <= ' ' || c == '<' || c == '>' || c == '"' {
			return errRequestURI
		}
	}
	u, err := ParseURI(m.RequestURI)
	if err != nil || u.Headers != "" { // RFC 3261 19.1.1: no headers in a Request-URI
		return errRequestURI
	}
	return nil
}

// parseHeaders reads the header fields up to the empty line and returns what
// follows it. It goes on past a malformed line, so that the rest is there for
// the answer, and returns the first error.
func (m *Message) parseHeaders(b []byte) (body []byte, err *Error) {
	fail := func(e *Error) {
		if err == nil {
			err = e
		}
	}
	for {
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			fail(errHeaderLine)
			return nil, err
		}
		if end == 0 || b[end-1] != '\r' {
			fail(errHeaderLine)
			return nil, err
		}
		if end == 1 {
			return b[2:], err
		}
		// RFC 3261 7.3.1: a line that begins with white space goes on from the one before.
		for end+1 < len(b) && isSpace(b[end+1]) {
			next := bytes.IndexByte(b[end+1:], '\n')
			if next < 0 {
				fail(errHeaderLine)
				return nil, err
			}
			b[end-1], b[end] = ' ', ' '
			end += 1 + next
			if b[end-1] != '\r' {
				fail(errHeaderLine)
				return nil, err
			}
		}
		line := view(b[:end-1])
		b = b[end+1:]
		if len(line) > MaxHeader {
			fail(errHeaderSize)
			continue
		}
		colon := strings.IndexByte(line, ':')
		if colon <= 0 {
			fail(errHeaderLine)
			continue
		}
		name := trim(line[:colon])
		if !isToken(name) || isSpace(line[0]) {
			fail(errHeaderLine)
			continue
		}
		if len(m.Headers) == MaxHeaders {
			fail(errHeaderCount)
			return nil, err
		}
		id := LookupHeader(name)
		m.Headers = append(m.Headers, Header{ID: id, Name: name, Value: trim(line[colon+1:])})
		if m.first[id] == 0 {
			m.first[id] = uint16(len(m.Headers))
		} else if id.single() {
			fail(errRepeated)
		}
	}
}

// parseCore reads what every message must carry (RFC 3261 8.1.1).
func (m *Message) parseCore() (first *Error) {
	fail := func(e *Error) {
		if first == nil {
			first = e
		}
	}
	if v, ok := m.Value(Via); !ok {
		fail(errMissingVia)
	} else if top, _, ok := nextValue(v); !ok {
		fail(errBadVia)
	} else {
		via, err := ParseVia(top)
		if err != nil {
			fail(errBadVia)
		}
		m.Via = via
	}
	if v, ok := m.Value(CallID); !ok {
		fail(errMissingCallID)
	} else if v == "" || !only(v, classWord) {
		fail(errBadCallID)
	} else {
		m.CallID = v
	}
	if v, ok := m.Value(CSeq); !ok {
		fail(errMissingCSeq)
	} else if err := m.parseCSeq(v); err != nil {
		fail(err)
	}
	if v, ok := m.Value(From); !ok {
		fail(errMissingFrom)
	} else if a, err := ParseNameAddr(v); err != nil {
		fail(errBadFrom)
	} else {
		m.From = a
	}
	if v, ok := m.Value(To); !ok {
		fail(errMissingTo)
	} else if a, err := ParseNameAddr(v); err != nil {
		fail(errBadTo)
	} else {
		m.To = a
	}
	return first
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
	if m.IsRequest() && m.Method != "" && m.CSeqMethod != m.Method {
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

// check looks at the fields whose syntax decides where a message goes.
func (m *Message) check() *Error {
	for i := range m.Headers {
		h := &m.Headers[i]
		switch h.ID {
		case MaxForwards:
			if _, ok := number(h.Value, 255); !ok {
				return errBadMaxForwards
			}
		case Expires, MinExpires:
			if _, ok := number(h.Value, 1<<32-1); !ok {
				return errBadExpires
			}
		case Contact:
			if err := checkContacts(h.Value); err != nil {
				return err
			}
		case Route, RecordRoute, Path, ServiceRoute:
			if !checkRoutes(h.Value) {
				return errBadRoute
			}
		case Via:
			for rest := h.Value; ; {
				v, next, ok := nextValue(rest)
				if !ok {
					return errBadVia
				}
				if _, err := ParseVia(v); err != nil {
					return errBadVia
				}
				if rest = next; rest == "" {
					break
				}
			}
		}
	}
	return nil
}

func checkContacts(v string) *Error {
	if v == "*" {
		return nil
	}
	for v != "" {
		one, rest, ok := nextValue(v)
		if !ok {
			return errBadContact
		}
		a, err := ParseNameAddr(one)
		if err != nil {
			return errBadContact
		}
		if expires, ok := a.Params.Get("expires"); ok {
			if _, ok := number(expires, 1<<32-1); !ok {
				return errBadExpires
			}
		}
		v = rest
	}
	return nil
}

func checkRoutes(v string) bool {
	for v != "" {
		one, rest, ok := nextValue(v)
		if !ok || strings.IndexByte(one, '<') < 0 {
			return false
		}
		if _, err := ParseNameAddr(one); err != nil {
			return false
		}
		v = rest
	}
	return true
}

// Answerable reports whether a request that Parse refused can be answered: it
// has what a response copies (RFC 3261 8.2.6.2) and is no ACK.
func (m *Message) Answerable() bool {
	if m.Status != 0 || m.Method == "" || m.Method == ACK || m.Via.Host == "" {
		return false
	}
	for _, id := range [...]HeaderID{Via, From, To, CallID, CSeq} {
		if !m.Has(id) {
			return false
		}
	}
	return true
}

// Has reports whether a field with this ID is there.
func (m *Message) Has(id HeaderID) bool { return m.first[id] != 0 }

// Value returns the value of the first field with this ID; ok is false when
// there is none. Fields that may hold a list are read with Values.
func (m *Message) Value(id HeaderID) (value string, ok bool) {
	if i := m.first[id]; i != 0 {
		return m.Headers[i-1].Value, true
	}
	return "", false
}

// Number returns the value of a numeric field, such as Expires; ok is false
// when it is absent or not a number up to 2**32-1.
func (m *Message) Number(id HeaderID) (n uint32, ok bool) {
	v, ok := m.Value(id)
	if !ok {
		return 0, false
	}
	u, ok := number(v, 1<<32-1)
	return uint32(u), ok
}

// Values goes through every value of a field that may be a comma-separated
// list, over all its lines (RFC 3261 7.3.1):
//
//	for c := m.Values(sip.Route); c.Next(); {
//		use(c.Value)
//	}
func (m *Message) Values(id HeaderID) Cursor {
	c := Cursor{id: id}
	if i := m.first[id]; i != 0 {
		c.headers = m.Headers[i-1:]
	}
	return c
}

// Cursor goes through the values of a list field.
type Cursor struct {
	Value   string // the present one, trimmed
	id      HeaderID
	headers []Header
	rest    string
	more    bool
}

// Next moves to the next value and reports whether there is one.
func (c *Cursor) Next() bool {
	for {
		if c.more {
			value, rest, ok := nextValue(c.rest)
			c.rest, c.more = rest, ok && rest != ""
			if ok && value != "" {
				c.Value = value
				return true
			}
			continue
		}
		for len(c.headers) > 0 && c.headers[0].ID != c.id {
			c.headers = c.headers[1:]
		}
		if len(c.headers) == 0 {
			return false
		}
		c.rest, c.more, c.headers = c.headers[0].Value, true, c.headers[1:]
	}
}

// HasOption reports whether a list of option tags or tokens, such as Supported
// or Require, names one.
func (m *Message) HasOption(id HeaderID, option string) bool {
	for c := m.Values(id); c.Next(); {
		if strings.EqualFold(c.Value, option) {
			return true
		}
	}
	return false
}
