package sippeer

import (
	"fmt"
	"strconv"
	"strings"
)

// Header is one header line.
type Header struct{ Name, Value string }

// Message is a SIP message as lines of text.
type Message struct {
	Start   string // request or status line
	Headers []Header
	Body    string
}

var compact = map[string]string{
	"i": "Call-ID", "m": "Contact", "e": "Content-Encoding", "l": "Content-Length", "c": "Content-Type",
	"f": "From", "s": "Subject", "k": "Supported", "t": "To", "v": "Via", "r": "Refer-To", "b": "Referred-By",
	"o": "Event", "u": "Allow-Events",
}

// Parse reads one whole message.
func Parse(raw []byte) (*Message, error) {
	head, body, ok := strings.Cut(string(raw), "\r\n\r\n")
	if !ok {
		return nil, fmt.Errorf("no end of headers in %q", raw)
	}
	lines := strings.Split(head, "\r\n")
	m := &Message{Start: lines[0], Body: body}
	for _, line := range lines[1:] {
		if line != "" && (line[0] == ' ' || line[0] == '\t') && len(m.Headers) > 0 {
			last := &m.Headers[len(m.Headers)-1]
			last.Value += " " + strings.TrimSpace(line)
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("header line without colon: %q", line)
		}
		name = strings.TrimSpace(name)
		if long, ok := compact[strings.ToLower(name)]; ok {
			name = long
		}
		m.Headers = append(m.Headers, Header{name, strings.TrimSpace(value)})
	}
	if length := m.Get("Content-Length"); length != "" {
		n, err := strconv.Atoi(length)
		if err != nil || n > len(body) {
			return nil, fmt.Errorf("the Content-Length is %s and the body has %d bytes", length, len(body))
		}
		m.Body = body[:n]
	}
	return m, nil
}

// Bytes writes the message, with the Content-Length its body has.
func (m *Message) Bytes() []byte {
	var b strings.Builder
	b.WriteString(m.Start + "\r\n")
	for _, h := range m.Headers {
		if !strings.EqualFold(h.Name, "Content-Length") {
			b.WriteString(h.Name + ": " + h.Value + "\r\n")
		}
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(m.Body), m.Body)
	return []byte(b.String())
}

func (m *Message) String() string { return string(m.Bytes()) }

// Get returns the first header of that name, or "".
func (m *Message) Get(name string) string {
	for _, h := range m.Headers {
		if strings.EqualFold(h.Name, name) {
			return h.Value
		}
	}
	return ""
}

// All returns every value of that name; header lines that hold a list are split.
func (m *Message) All(name string) []string {
	var out []string
	for _, h := range m.Headers {
		if strings.EqualFold(h.Name, name) {
			out = append(out, splitList(h.Value)...)
		}
	}
	return out
}

// Add appends a header.
func (m *Message) Add(name, value string) { m.Headers = append(m.Headers, Header{name, value}) }

// Set replaces every header of that name by one.
func (m *Message) Set(name, value string) {
	m.Del(name)
	m.Add(name, value)
}

// Del removes every header of that name.
func (m *Message) Del(name string) {
	kept := m.Headers[:0]
	for _, h := range m.Headers {
		if !strings.EqualFold(h.Name, name) {
			kept = append(kept, h)
		}
	}
	m.Headers = kept
}

// Clone returns a copy that can be changed.
func (m *Message) Clone() *Message {
	c := *m
	c.Headers = append([]Header(nil), m.Headers...)
	return &c
}

// Status returns the status code, 0 for a request.
func (m *Message) Status() int {
	rest, ok := strings.CutPrefix(m.Start, "SIP/2.0 ")
	if !ok || len(rest) < 3 {
		return 0
	}
	n, _ := strconv.Atoi(rest[:3])
	return n
}

// Method returns the method: a request's own, a response's from its CSeq.
func (m *Message) Method() string {
	if m.Status() == 0 {
		method, _, _ := strings.Cut(m.Start, " ")
		return method
	}
	_, method, _ := strings.Cut(m.Get("CSeq"), " ")
	return strings.TrimSpace(method)
}

// URI returns a request's Request-URI.
func (m *Message) URI() string {
	parts := strings.Fields(m.Start)
	if m.Status() != 0 || len(parts) != 3 {
		return ""
	}
	return parts[1]
}

// Branch returns the branch of the topmost Via.
func (m *Message) Branch() string {
	vias := m.All("Via")
	if len(vias) == 0 {
		return ""
	}
	return Param(vias[0], "branch")
}

// Param returns the value of a parameter behind the address part of a header,
// quotes included.
func Param(value, name string) string {
	quoted, angle := false, false
	parts := strings.FieldsFunc(value, func(c rune) bool {
		switch {
		case c == '"':
			quoted = !quoted
		case c == '<' && !quoted:
			angle = true
		case c == '>' && !quoted:
			angle = false
		}
		return c == ';' && !quoted && !angle
	})
	for _, part := range parts[min(1, len(parts)):] {
		key, val, _ := strings.Cut(part, "=")
		if strings.EqualFold(strings.TrimSpace(key), name) {
			return strings.TrimSpace(val)
		}
	}
	return ""
}

// Address returns the URI inside a name-addr.
func Address(value string) string {
	if i := strings.IndexByte(value, '<'); i >= 0 {
		if end := strings.IndexByte(value[i:], '>'); end > 0 {
			return value[i+1 : i+end]
		}
	}
	uri, _, _ := strings.Cut(value, ";")
	return strings.TrimSpace(uri)
}

// splitList splits at commas outside quotes and angle brackets.
func splitList(value string) []string {
	var out []string
	quoted, angle, start := false, false, 0
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == '<' && !quoted:
			angle = true
		case c == '>' && !quoted:
			angle = false
		case c == ',' && !quoted && !angle:
			out = append(out, strings.TrimSpace(value[start:i]))
			start = i + 1
		}
	}
	return append(out, strings.TrimSpace(value[start:]))
}
