package sip

import (
	"errors"
	"strings"
)

// NameAddr is a view of a name-addr or addr-spec with its header parameters,
// as in From, To, Contact, Route (RFC 3261 20.10).
type NameAddr struct {
	Display string // as written, quotes included; Unquote removes them
	URI     string // as written; ParseURI looks into it
	Params  Params // header parameters, not the URI's
}

// ErrNameAddr is what every malformed name-addr comes back with.
var ErrNameAddr = errors.New("malformed name-addr")

// ParseNameAddr reads one name-addr or addr-spec. Without <…> the parameters
// belong to the header, and the URI may hold no comma, question mark or
// semicolon (RFC 3261 20.10).
func ParseNameAddr(s string) (a NameAddr, err error) {
	s = trim(s)
	rest := s
	if strings.HasPrefix(s, `"`) {
		n := quoted(s)
		if n == 0 {
			return a, ErrNameAddr
		}
		a.Display, rest = s[:n], trim(s[n:])
		if !strings.HasPrefix(rest, "<") {
			return a, ErrNameAddr
		}
	} else if i := strings.IndexByte(s, '<'); i >= 0 {
		a.Display, rest = trim(s[:i]), s[i:]
		for j := 0; j < len(a.Display); j++ {
			if c := a.Display[j]; charClass[c]&classToken == 0 && !isSpace(c) && c < 0x80 {
				return a, ErrNameAddr // RFC 4475 3.1.2.15: only tokens stand unquoted (and UTF-8, as phones do)
			}
		}
	}
	if strings.HasPrefix(rest, "<") {
		end := strings.IndexByte(rest, '>')
		if end < 0 {
			return a, ErrNameAddr
		}
		a.URI, a.Params = trim(rest[1:end]), Params(trim(rest[end+1:]))
	} else {
		end := strings.IndexByte(rest, ';')
		if end < 0 {
			end = len(rest)
		}
		a.URI, a.Params = trim(rest[:end]), Params(rest[end:])
		if strings.ContainsAny(a.URI, ",?") {
			return a, ErrNameAddr
		}
	}
	if !a.Params.valid() {
		return a, ErrNameAddr
	}
	if colon := strings.IndexByte(a.URI, ':'); colon <= 0 || !only(a.URI[:colon], classScheme) {
		return a, ErrNameAddr
	}
	for i := 0; i < len(a.URI); i++ {
		if c := a.URI[i]; c <= ' ' || c == '<' || c == '"' {
			return a, ErrNameAddr
		}
	}
	return a, nil
}

// Tag returns the tag parameter, "" when there is none.
func (a NameAddr) Tag() string {
	tag, _ := a.Params.Get("tag")
	return tag
}
