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
	sp := strings.IndexByte(value, ' ')
	if sp < 0 || !strings.EqualFold(value[:sp], "Digest") {
		return d, ErrScheme
	}
	for rest := trim(value[sp:]); rest != ""; {
		var one string
		var ok bool
		if one, rest, ok = nextParam(rest); !ok {
			return d, ErrDigest
		}
		if one == "" {
			continue
		}
		name, v, found := strings.Cut(one, "=")
		if !found {
			return d, ErrDigest
		}
		v = Unquote(trim(v))
		switch name = trim(name); {
		case strings.EqualFold(name, "username"):
			d.Username = v
		case strings.EqualFold(name, "realm"):
			d.Realm = v
		case strings.EqualFold(name, "nonce"):
			d.Nonce = v
		case strings.EqualFold(name, "uri"):
			d.URI = v
		case strings.EqualFold(name, "response"):
			d.Response = v
		case strings.EqualFold(name, "algorithm"):
			d.Algorithm = v
		case strings.EqualFold(name, "cnonce"):
			d.CNonce = v
		case strings.EqualFold(name, "qop"):
			d.QOP = v
		case strings.EqualFold(name, "nc"):
			d.NC = v
		case strings.EqualFold(name, "opaque"):
			d.Opaque = v
		}
	}
	if d.Username == "" || d.Realm == "" || d.Nonce == "" || d.URI == "" || d.Response == "" {
		return d, ErrDigest
	}
	return d, nil
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
