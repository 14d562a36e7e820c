package sip

import (
	"errors"
	"strings"
)

// DigestCredentials is a view of an Authorization or Proxy-Authorization value
// of scheme Digest (RFC 7616 3.4). Quotes are removed.
type DigestCredentials struct {
	Username  string
	Realm     string
	Nonce     string
	URI       string
	Response  string
	Algorithm string // "" means MD5
	CNonce    string
	QOP       string
	NC        string
	Opaque    string
}

// ErrDigest is what malformed Digest credentials come back with.
var ErrDigest = errors.New("malformed digest credentials")

// ErrScheme is what credentials of another scheme come back with.
var ErrScheme = errors.New("authentication scheme is not Digest")

// ParseDigest reads the value of an Authorization or Proxy-Authorization field.
func ParseDigest(value string) (d DigestCredentials, err error) {
	value = trim(value)
	n := span(value, 0, classToken)
	if !equalFold(value[:n], "Digest") || n == len(value) || !isSpace(value[n]) {
		return d, ErrScheme
	}
	for rest := trim(value[n:]); rest != ""; {
		var one string
		var ok bool
		if one, rest, ok = nextParam(rest); !ok {
			return d, ErrDigest
		}
		if one == "" {
			continue // phones end the list with a comma
		}
		name, v, found := strings.Cut(one, "=")
		if name, v = trim(name), trim(v); !found || !isToken(name) {
			return d, ErrDigest
		}
		if v != "" && v[0] == '"' {
			if quoted(v) != len(v) {
				return d, ErrDigest
			}
			v = Unquote(v)
		}
		if field := d.field(name); field != nil {
			if *field != "" { // RFC 7235 2.1: once each; two would be read two ways
				return d, ErrDigest
			}
			*field = v
		}
	}
	if d.Username == "" || d.Realm == "" || d.Nonce == "" || d.URI == "" || d.Response == "" {
		return d, ErrDigest
	}
	return d, nil
}

func (d *DigestCredentials) field(name string) *string {
	switch {
	case equalFold(name, "username"):
		return &d.Username
	case equalFold(name, "realm"):
		return &d.Realm
	case equalFold(name, "nonce"):
		return &d.Nonce
	case equalFold(name, "uri"):
		return &d.URI
	case equalFold(name, "response"):
		return &d.Response
	case equalFold(name, "algorithm"):
		return &d.Algorithm
	case equalFold(name, "cnonce"):
		return &d.CNonce
	case equalFold(name, "qop"):
		return &d.QOP
	case equalFold(name, "nc"):
		return &d.NC
	case equalFold(name, "opaque"):
		return &d.Opaque
	}
	return nil
}

// nextParam cuts the first auth-param off a comma-separated list. Unlike
// nextValue it gives < and > no meaning, which may stand in an unquoted nonce.
func nextParam(s string) (param, rest string, ok bool) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			n := quoted(s[i:])
			if n == 0 {
				return "", "", false
			}
			i += n - 1
		case ',':
			return trim(s[:i]), trim(s[i+1:]), true
		}
	}
	return trim(s), "", true
}
