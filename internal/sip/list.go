package sip

import "strings"

// nextValue cuts the first element off a comma-separated list, minding quoted
// strings and <…>. more tells that a comma followed it. ok is false for a
// quote or bracket left open before a comma; in the last element they are left
// to whoever reads it.
func nextValue(s string) (value, rest string, more, ok bool) {
	comma := strings.IndexByte(s, ',')
	if comma < 0 {
		return trim(s), "", false, true
	}
	angle := false
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			if angle {
				continue
			}
			n := quoted(s[i:])
			if n == 0 {
				return "", "", false, false
			}
			i += n - 1
		case '<':
			angle = true
		case '>':
			angle = false
		case ',':
			if !angle {
				return trim(s[:i]), trim(s[i+1:]), true, true
			}
		}
	}
	return trim(s), "", false, !angle
}

// everyValue reports whether s is a list without empty elements in which every
// element is good.
func everyValue(s string, good func(string) bool) bool {
	for {
		one, rest, more, ok := nextValue(s)
		if !ok || !good(one) {
			return false
		}
		if !more {
			return true
		}
		s = rest
	}
}

// Values goes through every value of a field that may be a comma-separated
// list, over all its lines (RFC 3261 7.3.1):
//
//	for c := m.Values(sip.Route); c.Next(); {
//		use(c.Value)
//	}
//
// Empty elements are left out.
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
		for c.more {
			value, rest, more, ok := nextValue(c.rest)
			c.rest, c.more = rest, more && ok
			if ok && value != "" {
				c.Value = value
				return true
			}
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
		if equalFold(c.Value, option) {
			return true
		}
	}
	return false
}
