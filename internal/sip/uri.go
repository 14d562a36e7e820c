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
	colon := strings.IndexByte(s, ':')
	if colon <= 0 || !only(s[:colon], classScheme) || s[0] < 'A' {
		return u, ErrURI
	}
	u.Scheme, u.Opaque = s[:colon], s[colon+1:]
	for i := 0; i < len(u.Opaque); i++ {
		if c := u.Opaque[i]; c <= ' ' || c == '<' || c == '>' || c == '"' || c == 0x7f {
			return u, ErrURI
		}
	}
	if u.Opaque == "" {
		return u, ErrURI
	}
	switch {
	case u.IsSIP():
		return u.parseSIP()
	case u.Is("tel"):
		rest := u.Opaque
		if i := strings.IndexByte(rest, ';'); i >= 0 {
			rest, u.Params = rest[:i], Params(rest[i:])
		}
		if rest == "" {
			return u, ErrURI
		}
		u.User, u.HasUser = rest, true
	}
	return u, nil
}

func (u URI) parseSIP() (URI, error) {
	rest := u.Opaque
	if at := strings.IndexByte(rest, '@'); at >= 0 {
		user := rest[:at]
		if user == "" || !only(user, classUser) || !escapesValid(user) {
			return u, ErrURI
		}
		u.User, u.HasUser, rest = user, true, rest[at+1:]
		if i := strings.IndexByte(user, ':'); i >= 0 {
			u.User, u.Password = user[:i], user[i+1:]
			if u.User == "" {
				return u, ErrURI
			}
		}
	}
	if i := strings.IndexByte(rest, '?'); i >= 0 {
		rest, u.Headers = rest[:i], rest[i+1:]
		if u.Headers == "" || !escapesValid(u.Headers) {
			return u, ErrURI
		}
	}
	if i := strings.IndexByte(rest, ';'); i >= 0 {
		rest, u.Params = rest[:i], Params(rest[i:])
		if !uriParamsValid(string(u.Params)) {
			return u, ErrURI
		}
	}
	var ok bool
	u.Host, u.Port, ok = splitHostPort(rest)
	if !ok {
		return u, ErrURI
	}
	return u, nil
}

// uriParamsValid checks *( ";" pname [ "=" pvalue ] ).
func uriParamsValid(s string) bool {
	for s != "" {
		s = s[1:]
		end := strings.IndexByte(s, ';')
		if end < 0 {
			end = len(s)
		}
		name, value, _ := strings.Cut(s[:end], "=")
		if name == "" || !only(name, classParam) || !only(value, classParam) || !escapesValid(s[:end]) {
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
		addr, err := netip.ParseAddr(s[1:i])
		if err != nil || !addr.Is6() {
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
		i := strings.IndexByte(s, ':')
		if i < 0 {
			return host, 0, validHostname(host)
		}
		host, s = s[:i], s[i+1:]
		if !validHostname(host) {
			return "", 0, false
		}
	}
	n, ok := number(s, 65535)
	return host, uint16(n), ok && n > 0
}

func validHostname(s string) bool {
	if s == "" || len(s) > 255 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; charClass[c]&classHost == 0 || c == ':' || c == '[' || c == ']' {
			return false
		}
	}
	return s[0] != '.' && s[0] != '-'
}

// Is reports whether the URI has this scheme, in any case.
func (u URI) Is(scheme string) bool { return strings.EqualFold(u.Scheme, scheme) }

// IsSIP reports whether the scheme is sip or sips.
func (u URI) IsSIP() bool { return u.Is("sip") || u.Is("sips") }

// Addr returns the host as an IP address; ok is false for a name.
func (u URI) Addr() (addr netip.Addr, ok bool) { return ParseHostAddr(u.Host) }

// ParseHostAddr reads a URI's or Via's host as an IP address, with or without
// brackets; ok is false for a name.
func ParseHostAddr(host string) (addr netip.Addr, ok bool) {
	if host == "" {
		return netip.Addr{}, false
	}
	if host[0] == '[' {
		host = host[1 : len(host)-1]
	} else if last := host[len(host)-1]; last < '0' || last > '9' {
		return netip.Addr{}, false // no name's last label is all digits; saves the error's allocation
	}
	a, err := netip.ParseAddr(host)
	return a, err == nil
}

// Transport returns the transport the URI asks for: its transport parameter,
// else TLS for sips and the zero Transport for sip.
func (u URI) Transport() Transport {
	t := Transport(0)
	if v, ok := u.Params.Get("transport"); ok {
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
		return strings.EqualFold(u.Scheme, v.Scheme) && u.Opaque == v.Opaque
	}
	return strings.EqualFold(u.Scheme, v.Scheme) &&
		u.HasUser == v.HasUser && Unescape(u.User) == Unescape(v.User) &&
		Unescape(u.Password) == Unescape(v.Password) &&
		strings.EqualFold(u.Host, v.Host) && u.Port == v.Port &&
		uriParamsMatch(u.Params, v.Params) && uriParamsMatch(v.Params, u.Params) &&
		uriHeadersMatch(u.Headers, v.Headers) && uriHeadersMatch(v.Headers, u.Headers)
}

// uriParamsMatch checks a's parameters against b's: one that both have must be
// equal; user, ttl, method, maddr and transport may not stand in one alone.
func uriParamsMatch(a, b Params) bool {
	for {
		name, value, rest, ok := a.Next()
		if !ok {
			return true
		}
		other, there := b.Get(name)
		if there && !strings.EqualFold(Unescape(value), Unescape(other)) {
			return false
		}
		if !there {
			for _, must := range [...]string{"user", "ttl", "method", "maddr", "transport"} {
				if strings.EqualFold(name, must) {
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
			found = strings.EqualFold(n, name) && Unescape(v) == Unescape(value)
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
