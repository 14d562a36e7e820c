package sip

import (
	"errors"
	"strings"
)

// ViaValue is a view of one Via value (RFC 3261 20.42).
type ViaValue struct {
	Transport string // as written, such as "UDP" or one we do not speak
	Host      string // sent-by host, IPv6 in brackets
	Port      uint16 // sent-by port, 0 when absent
	Params    Params

	branch          string // what a transaction and a response ask for each time
	rport, received bool
}

// MagicCookie begins the branch of everyone who follows RFC 3261 8.1.1.7.
const MagicCookie = "z9hG4bK"

// ErrVia is what every malformed Via value comes back with.
var ErrVia = errors.New("malformed Via")

// ParseVia reads one Via value. When only its version or its parameters are
// wrong, the other fields are filled in, so that the request can be answered.
func ParseVia(s string) (v ViaValue, err error) {
	ok := true
	if strings.HasPrefix(s, "SIP/2.0/") {
		s = s[len("SIP/2.0/"):]
	} else if s, ok = sentProtocol(s); s == "" {
		return v, ErrVia
	}
	s = trim(s)
	n := span(s, 0, classToken)
	if n == 0 || n == len(s) || !isSpace(s[n]) {
		return v, ErrVia
	}
	v.Transport, s = s[:n], trim(s[n:])
	if i := strings.IndexByte(s, ';'); i >= 0 {
		s, v.Params = trim(s[:i]), Params(s[i:])
		ok = v.readParams() && ok
	}
	host := s
	if i := strings.LastIndexByte(s, ':'); i > 0 && s[len(s)-1] != ']' {
		p, numeric := number(trim(s[i+1:]), 65535)
		if !numeric {
			return v, ErrVia
		}
		host, v.Port = trim(s[:i]), uint16(p)
	}
	h, port, valid := splitHostPort(host)
	if !valid || port != 0 {
		return v, ErrVia
	}
	v.Host = h
	if !ok {
		return v, ErrVia
	}
	return v, nil
}

// sentProtocol reads "SIP" SLASH version SLASH where white space may stand
// around the slashes (RFC 3261 25.1). ok is false for another version than 2.0,
// rest is empty when it is no sent-protocol at all.
func sentProtocol(s string) (rest string, ok bool) {
	name, s, _ := strings.Cut(s, "/")
	version, s, _ := strings.Cut(s, "/")
	if !equalFold(trim(name), "SIP") {
		return "", false
	}
	return s, trim(version) == "2.0"
}

// readParams checks the parameters and notes those that are asked for more than
// once. A repeated one counts where it stands first, as with Params.Get.
func (v *ViaValue) readParams() bool {
	for i := 0; i < len(v.Params); {
		var name, value string
		if name, value, i = v.Params.strict(i); i < 0 {
			return false
		}
		switch n := len(name); {
		case n == 6 && v.branch == "" && equalFold(name, "branch"):
			v.branch = value
		case n == 5 && equalFold(name, "rport"):
			v.rport = true
		case n == 8 && equalFold(name, "received"):
			v.received = true
		}
	}
	return true
}

// Branch returns the branch parameter, "" when there is none.
func (v ViaValue) Branch() string { return v.branch }

// WantsPort reports whether responses are to go to the port that the request
// came from (RFC 3581 4: rport).
func (v ViaValue) WantsPort() bool { return v.rport }
