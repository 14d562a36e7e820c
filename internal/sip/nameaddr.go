package sip

import "errors"

// NameAddr is a view of a name-addr or addr-spec with its header parameters,
// as in From, To, Contact, Route (RFC 3261 20.10).
type NameAddr struct {
	Display string // as written, quotes included; Unquote removes them
	URI     string // as written; ParseURI looks into it
	Params  Params // header parameters, not the URI's
}

// ErrNameAddr is what every malformed name-addr comes back with.
var ErrNameAddr = errors.New("malformed name-addr")

// ParseNameAddr reads one name-addr or addr-spec. Of the URI it checks the
// scheme and that no character stands in it that never may; ParseURI does the
// rest.
func ParseNameAddr(s string) (a NameAddr, err error) {
	s = trim(s)
	i, bracket := 0, false
	if s != "" && s[0] == '"' {
		n := quoted(s)
		if n == 0 {
			return a, ErrNameAddr
		}
		a.Display, i = s[:n], skipSpace(s, n)
		if i == len(s) || s[i] != '<' {
			return a, ErrNameAddr
		}
		bracket = true
	} else if i = span(s, 0, classDisplay); i < len(s) && s[i] == '<' {
		// RFC 3261 25.1: only tokens stand unquoted in a display name.
		a.Display, bracket = trim(s[:i]), true
	}
	if bracket {
		// RFC 3261 25.1: no white space between the brackets.
		end := span(s, i+1, classURI)
		if end == len(s) || s[end] != '>' {
			return a, ErrNameAddr
		}
		a.URI, a.Params = s[i+1:end], Params(trim(s[end+1:]))
	} else {
		// RFC 3261 20.10: without brackets the parameters belong to the header
		// field, and the URI may hold neither comma nor question mark.
		end := 0
		for end < len(s) && charClass[s[end]]&classURI != 0 && s[end] != ';' {
			if s[end] == ',' || s[end] == '?' {
				return a, ErrNameAddr
			}
			end++
		}
		a.URI, a.Params = s[:end], Params(trim(s[end:]))
	}
	if !schemeValid(a.URI) || !a.Params.valid() {
		return a, ErrNameAddr
	}
	return a, nil
}

// schemeValid reports whether s begins with a scheme and goes on behind it.
func schemeValid(s string) bool {
	if len(s) > 4 && s[:4] == "sip:" {
		return true
	}
	i := span(s, 0, classScheme)
	return i > 0 && s[0] >= 'A' && i+1 < len(s) && s[i] == ':'
}

// Tag returns the tag parameter, "" when there is none.
func (a NameAddr) Tag() string {
	tag, _ := a.Params.Get("tag")
	return tag
}

// Expires returns the expires parameter of a Contact in seconds; ok is false
// when there is none.
//
// RFC 3261 20.10: a malformed value counts as 3600, a larger one than fits as
// 2**32-1.
func (a NameAddr) Expires() (seconds uint32, ok bool) {
	v, ok := a.Params.Get("expires")
	if !ok {
		return 0, false
	}
	for i := 0; i < len(v); i++ {
		if v[i] < '0' || v[i] > '9' {
			return 3600, true
		}
	}
	if v == "" {
		return 3600, true
	}
	if n, ok := number(v, 1<<32-1); ok {
		return uint32(n), true
	}
	return 1<<32 - 1, true
}

// QValue reads 0 to 1 with up to three decimals as thousandths (RFC 3261
// 25.1); anything else counts as absent.
func QValue(s string) uint16 {
	if len(s) == 0 || len(s) > 5 || s[0] != '0' && s[0] != '1' || len(s) > 1 && s[1] != '.' {
		return 1000
	}
	n := uint16(s[0]-'0') * 1000
	for i, unit := 2, uint16(100); i < len(s); i, unit = i+1, unit/10 {
		if s[i] < '0' || s[i] > '9' {
			return 1000
		}
		n += uint16(s[i]-'0') * unit
	}
	return min(n, 1000)
}
