package sip

import "strings"

// Params is a parameter list as written, beginning with its first ';' (or
// empty): ";tag=1928301774;lr". Values may be tokens, hosts or quoted strings.
type Params string

// Next cuts the first parameter off p. A parameter without '=' has an empty
// value; ok is false when p is empty.
func (p Params) Next() (name, value string, rest Params, ok bool) {
	s := string(p)
	for len(s) > 0 && (s[0] == ';' || isSpace(s[0])) {
		s = s[1:]
	}
	if s == "" {
		return "", "", "", false
	}
	end, eq := len(s), -1
scan:
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			n := quoted(s[i:])
			if n == 0 {
				break scan
			}
			i += n - 1
		case '=':
			if eq < 0 {
				eq = i
			}
		case ';':
			end = i
			break scan
		}
	}
	if eq < 0 {
		return trim(s[:end]), "", Params(s[end:]), true
	}
	return trim(s[:eq]), trim(s[eq+1 : end]), Params(s[end:]), true
}

// Get returns the value of a parameter, as written (Unquote removes quotes);
// ok tells an empty value from an absent parameter. Names compare without case.
func (p Params) Get(name string) (value string, ok bool) {
	for {
		n, v, rest, more := p.Next()
		if !more {
			return "", false
		}
		if strings.EqualFold(n, name) {
			return v, true
		}
		p = rest
	}
}

// Has reports whether the parameter is there, with or without a value.
func (p Params) Has(name string) bool {
	_, ok := p.Get(name)
	return ok
}

// valid checks header parameters: names are tokens, quotes are closed, no
// parameter is empty, and no separator other than ';' stands between them.
func (p Params) valid() bool {
	s := trim(string(p))
	for s != "" {
		if s[0] != ';' {
			return false
		}
		s = trim(s[1:])
		i := 0
		for i < len(s) && charClass[s[i]]&classToken != 0 {
			i++
		}
		if i == 0 {
			return false
		}
		s = trim(s[i:])
		if s == "" || s[0] != '=' {
			continue
		}
		s = trim(s[1:])
		if s == "" {
			return false
		}
		if s[0] == '"' {
			n := quoted(s)
			if n == 0 {
				return false
			}
			s = trim(s[n:])
			continue
		}
		i = 0
		for i < len(s) && s[i] != ';' && s[i] != ',' && s[i] != '"' && !isSpace(s[i]) {
			i++
		}
		if i == 0 {
			return false
		}
		s = trim(s[i:])
	}
	return true
}
