package sip

import (
	"errors"
	"net/netip"
	"strings"
)

// URI is a parsed view of a URI. For sip: and sips: (RFC 3261 19.1) all
// fields count; for any other scheme only Scheme and Opaque, and for tel:
// (RFC 3966) User holds the number and Params its parameters.
type URI struct {
	Scheme   string // as written; compare with Is
	User     string // as written, escapes and all; Unescape decodes it
	Password string
	Host     string // as written; IPv6 keeps its brackets
	Port     uint16 // 0 when absent
	Params   Params
	Headers  string // after '?'
	Opaque   string // everything after the scheme's colon
	HasUser  bool   // tells "sip:@host" and "sip:host" apart
}

// ErrURI is what every URI that breaks its grammar comes back with.
var ErrURI = errors.New("malformed URI")

// ParseURI reads a URI of any scheme. Only sip, sips and tel are looked into.
func ParseURI(s string) (u URI, err error) {
	if !schemeValid(s) {
		return u, ErrURI
	}
	colon := strings.IndexByte(s, ':')
	u.Scheme, u.Opaque = s[:colon], s[colon+1:]
	if u.isSIP() {
		if !u.parseSIP() {
			return u, ErrURI
		}
		return u, nil
	}
	if !only(u.Opaque, classURI) {
		return u, ErrURI
	}
	if u.Is("tel") {
		rest := u.Opaque
		if i := strings.IndexByte(rest, ';'); i >= 0 {
			rest, u.Params = rest[:i], Params(rest[i:])
		}
		if rest == "" || !uriParamsValid(string(u.Params)) {
			return u, ErrURI
		}
		u.User, u.HasUser = rest, true
	}
	return u, nil
}

func (u *URI) parseSIP() bool {
	rest := u.Opaque
	// Nearly every user is of plain characters: one look at each, then, is enough.
	if n := span(rest, 0, classPlain); n > 0 && n < len(rest) && rest[n] == '@' {
		u.User, u.HasUser, rest = rest[:n], true, rest[n+1:]
	} else if at := strings.IndexByte(rest, '@'); at >= 0 {
		user := rest[:at]
		if user == "" || !only(user, classUser) || !escapesValid(user) {
			return false
		}
		u.User, u.HasUser, rest = user, true, rest[at+1:]
		if i := strings.IndexByte(user, ':'); i >= 0 {
			u.User, u.Password = user[:i], user[i+1:]
			if u.User == "" {
				return false
			}
		}
	}
	end := 0
	for end < len(rest) && rest[end] != ';' && rest[end] != '?' {
		end++
	}
	if end < len(rest) && !u.parseTail(rest[end:]) {
		return false
	}
	var ok bool
	u.Host, u.Port, ok = splitHostPort(rest[:end])
	return ok
}

// parseTail reads what follows host and port: parameters, headers, or both.
func (u *URI) parseTail(s string) bool {
	if i := strings.IndexByte(s, '?'); i >= 0 {
		s, u.Headers = s[:i], s[i+1:]
		if u.Headers == "" || !only(u.Headers, classHeaders) || !escapesValid(u.Headers) {
			return false
		}
	}
	u.Params = Params(s)
	return uriParamsValid(s)
}

// uriParamsValid checks *( ";" pname [ "=" pvalue ] ).
func uriParamsValid(s string) bool {
	for s != "" {
		s = s[1:]
		end := strings.IndexByte(s, ';')
		if end < 0 {
			end = len(s)
		}
		if end == 0 || s[0] == '=' || !only(s[:end], classParam) || !escapesValid(s[:end]) {
			return false
		}
		s = s[end:]
	}
	return true
}

// splitHostPort reads host [":" port] with an IPv6 host in brackets.
func splitHostPort(s string) (host string, port uint16, ok bool) {
	host = s
	if strings.HasPrefix(s, "[") {
		i := strings.IndexByte(s, ']')
		if i < 0 {
			return "", 0, false
		}
		if _, ok := ParseHostAddr(s[:i+1]); !ok {
			return "", 0, false
		}
		host, s = s[:i+1], s[i+1:]
		if s == "" {
			return host, 0, true
		}
		if s[0] != ':' {
			return "", 0, false
		}
		s = s[1:]
	} else {
		i := span(s, 0, classHost)
		if host = s[:i]; !validHost(host) {
			return "", 0, false
		}
		if i == len(s) {
			return host, 0, true
		}
		if s[i] != ':' {
			return "", 0, false
		}
		s = s[i+1:]
	}
	n, ok := number(s, 65535)
	return host, uint16(n), ok && n > 0
}

// validHost checks length and beginning of a host name of host characters.
func validHost(s string) bool {
	return s != "" && len(s) <= 255 && s[0] != '.' && s[0] != '-'
}

// Is reports whether the URI has this scheme, in any case.
func (u URI) Is(scheme string) bool { return equalFold(u.Scheme, scheme) }

func (u *URI) isSIP() bool {
	return u.Scheme == "sip" || equalFold(u.Scheme, "sip") || equalFold(u.Scheme, "sips")
}

// IsSIP reports whether the scheme is sip or sips.
func (u URI) IsSIP() bool { return u.isSIP() }

// Param returns the value of a URI parameter, as written; ok tells an empty
// value from an absent parameter. Other than in header parameters, escapes
// count in the name (RFC 3261 19.1.2).
func (u URI) Param(name string) (value string, ok bool) { return uriParam(u.Params, name) }

func uriParam(p Params, name string) (value string, ok bool) {
	for {
		n, v, rest, more := p.Next()
		if !more {
			return "", false
		}
		if equalUnescaped(n, name, true) {
			return v, true
		}
		p = rest
	}
}

// Addr returns the host as an IP address; ok is false for a name.
func (u URI) Addr() (addr netip.Addr, ok bool) { return ParseHostAddr(u.Host) }

// ParseHostAddr reads a URI's or Via's host as an IP address, with or without
// brackets; ok is false for a name.
func ParseHostAddr(host string) (addr netip.Addr, ok bool) {
	if host == "" {
		return netip.Addr{}, false
	}
	if strings.IndexByte(host, '%') >= 0 { // a zone means nothing to the far end
		return netip.Addr{}, false
	}
	if host[0] == '[' {
		if host[len(host)-1] != ']' {
			return netip.Addr{}, false
		}
		a, err := netip.ParseAddr(host[1 : len(host)-1])
		return a, err == nil && a.Is6()
	}
	// ParseAddr's error is an allocation: names do not get that far.
	if host[0] > '9' && strings.IndexByte(host, ':') < 0 {
		return netip.Addr{}, false
	}
	for i := 0; i < len(host); i++ {
		if c := host[i]; c != '.' && c != ':' && charClass[c]&classHex == 0 {
			return netip.Addr{}, false
		}
	}
	a, err := netip.ParseAddr(host)
	return a, err == nil
}

// Transport returns the transport the URI asks for: its transport parameter,
// else TLS for sips and the zero Transport for sip.
func (u URI) Transport() Transport {
	t := Transport(0)
	if v, ok := u.Param("transport"); ok {
		t, _ = ParseTransport(v)
	}
	if u.Is("sips") {
		switch t {
		case WS, WSS:
			return WSS
		default:
			return TLS
		}
	}
	return t
}

// Equal compares two SIP or SIPS URIs as RFC 3261 19.1.4 says.
func (u URI) Equal(v URI) bool {
	if !u.IsSIP() || !v.IsSIP() {
		return equalFold(u.Scheme, v.Scheme) && u.Opaque == v.Opaque
	}
	if u.Opaque == v.Opaque {
		return equalFold(u.Scheme, v.Scheme)
	}
	return equalFold(u.Scheme, v.Scheme) && u.HasUser == v.HasUser &&
		equalUnescaped(u.User, v.User, false) && equalUnescaped(u.Password, v.Password, false) &&
		equalHost(u.Host, v.Host) && u.Port == v.Port &&
		uriParamsMatch(u.Params, v.Params) && uriParamsMatch(v.Params, u.Params) &&
		uriHeadersMatch(u.Headers, v.Headers) && uriHeadersMatch(v.Headers, u.Headers)
}

// equalHost compares hosts: RFC 5954 4.2: IPv6 addresses by value.
func equalHost(a, b string) bool {
	if equalFold(a, b) {
		return true
	}
	if a == "" || b == "" || a[0] != '[' || b[0] != '[' {
		return false
	}
	x, ok1 := ParseHostAddr(a)
	y, ok2 := ParseHostAddr(b)
	return ok1 && ok2 && x == y
}

// uriParamsMatch checks a's parameters against b's: one that both have must be
// equal; user, ttl, method, maddr and transport may not stand in one alone.
func uriParamsMatch(a, b Params) bool {
	for {
		name, value, rest, ok := a.Next()
		if !ok {
			return true
		}
		other, there := uriParam(b, name)
		if there && !equalUnescaped(value, other, true) {
			return false
		}
		if !there {
			for _, must := range [...]string{"user", "ttl", "method", "maddr", "transport"} {
				if equalUnescaped(name, must, true) {
					return false
				}
			}
		}
		a = rest
	}
}

// uriHeadersMatch checks that every header of a is in b with the same value.
func uriHeadersMatch(a, b string) bool {
	for a != "" {
		var field string
		field, a, _ = strings.Cut(a, "&")
		name, value, _ := strings.Cut(field, "=")
		found := false
		for rest := b; rest != "" && !found; {
			var other string
			other, rest, _ = strings.Cut(rest, "&")
			n, v, _ := strings.Cut(other, "=")
			found = equalUnescaped(n, name, true) && equalUnescaped(v, value, false)
		}
		if !found {
			return false
		}
	}
	return true
}

// Append writes the URI as it was parsed.
func (u URI) Append(dst []byte) []byte {
	dst = append(dst, u.Scheme...)
	dst = append(dst, ':')
	return append(dst, u.Opaque...)
}

func (u URI) String() string { return u.Scheme + ":" + u.Opaque }
