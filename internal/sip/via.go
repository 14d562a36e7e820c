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
}

// MagicCookie begins the branch of everyone who follows RFC 3261 8.1.1.7.
const MagicCookie = "z9hG4bK"

var errVia = errors.New("malformed Via")

// ParseVia reads one Via value.
func ParseVia(s string) (v ViaValue, err error) {
	// sent-protocol: "SIP" SLASH "2.0" SLASH transport, white space around slashes allowed
	for _, want := range [...]string{"SIP", "2.0"} {
		slash := strings.IndexByte(s, '/')
		if slash < 0 || !strings.EqualFold(trim(s[:slash]), want) {
			return v, errVia
		}
		s = s[slash+1:]
	}
	s = trim(s)
	n := 0
	for n < len(s) && charClass[s[n]]&classToken != 0 {
		n++
	}
	if n == 0 || n == len(s) || !isSpace(s[n]) {
		return v, errVia
	}
	v.Transport, s = s[:n], trim(s[n:])
	if i := strings.IndexByte(s, ';'); i >= 0 {
		s, v.Params = trim(s[:i]), Params(s[i:])
		if !v.Params.valid() {
			return v, errVia
		}
	}
	host := s
	if i := strings.LastIndexByte(s, ':'); i > 0 && strings.LastIndexByte(s, ']') < i {
		port := trim(s[i+1:])
		p, ok := number(port, 65535)
		if !ok {
			return v, errVia
		}
		host, v.Port = trim(s[:i]), uint16(p)
	}
	var ok bool
	if v.Host, _, ok = splitHostPort(host); !ok {
		return v, errVia
	}
	return v, nil
}

// Branch returns the branch parameter, "" when there is none.
func (v ViaValue) Branch() string {
	b, _ := v.Params.Get("branch")
	return b
}
