package sip

import (
	"bytes"
	"unsafe"
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

// method returns the constant for a well-known method, else s itself.
func method(s string) Method {
	switch s {
	case ACK:
		return ACK
	case BYE:
		return BYE
	case CANCEL:
		return CANCEL
	case INFO:
		return INFO
	case INVITE:
		return INVITE
	case MESSAGE:
		return MESSAGE
	case NOTIFY:
		return NOTIFY
	case OPTIONS:
		return OPTIONS
	case PRACK:
		return PRACK
	case PUBLISH:
		return PUBLISH
	case REFER:
		return REFER
	case REGISTER:
		return REGISTER
	case SUBSCRIBE:
		return SUBSCRIBE
	case UPDATE:
		return UPDATE
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
	Target     URI // the Request-URI, parsed
	Status     int // 0 in a request
	Reason     string

	Headers []Header
	Body    []byte

	// What every message must carry, parsed.
	Via        ViaValue // topmost
	From, To   NameAddr
	FromURI    URI // of a request, as ToURI
	ToURI      URI
	CallID     string
	CSeq       uint32
	CSeqMethod Method

	raw   []byte
	first [numHeaders]uint16 // index+1 of the first field of each ID
}

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
	c := new(Message)
	*c = *m
	c.raw = bytes.Clone(m.raw)
	c.Body = c.raw[len(c.raw)-len(m.Body):]
	c.Headers = make([]Header, len(m.Headers))
	copy(c.Headers, m.Headers)
	// Parsing the copy would find the same at the same places, at ten times the cost.
	v := views{m.raw, c.raw}
	v.move(&c.Method, &c.RequestURI, &c.Reason, &c.CallID, &c.CSeqMethod, &c.Via.Transport, &c.Via.Host, (*string)(&c.Via.Params), &c.Via.branch)
	for _, a := range [...]*NameAddr{&c.From, &c.To} {
		v.move(&a.Display, &a.URI, (*string)(&a.Params))
	}
	for _, u := range [...]*URI{&c.Target, &c.FromURI, &c.ToURI} {
		v.move(&u.Scheme, &u.User, &u.Password, &u.Host, (*string)(&u.Params), &u.Headers, &u.Opaque)
	}
	for i := range c.Headers {
		v.move(&c.Headers[i].Name, &c.Headers[i].Value)
	}
	return c
}

// views moves strings that point into one buffer to the same places in its copy.
type views struct{ from, to []byte }

func (v views) move(all ...*string) {
	base := uintptr(unsafe.Pointer(unsafe.SliceData(v.from)))
	for _, s := range all {
		at := uintptr(unsafe.Pointer(unsafe.StringData(*s))) - base
		if *s != "" && at < uintptr(len(v.from)) { // others are constants, as Method may be
			*s = view(v.to[at:][:len(*s)])
		}
	}
}

// Answerable reports whether a request that Parse refused can be answered: it
// has a Via to send the answer by and is no ACK. What else a response copies
// and the request lacks, the answer lacks too (RFC 4475 3.3.1).
func (m *Message) Answerable() bool {
	return m.Status == 0 && m.Method != "" && m.Method != ACK && m.Via.Host != ""
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
