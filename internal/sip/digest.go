package sip

import "errors"

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
	for rest := value[n:]; rest != ""; {
		var ok bool
		if rest, ok = d.param(rest); !ok {
			return d, ErrDigest
		}
	}
	if d.Username == "" || d.Realm == "" || d.Nonce == "" || d.URI == "" || d.Response == "" {
		return d, ErrDigest
	}
	return d, nil
}

// param reads the first auth-param of a comma-separated list and returns what
// follows its comma. It looks at each character once: credentials are the
// longest field of a REGISTER.
func (d *DigestCredentials) param(s string) (rest string, ok bool) {
	name, value, rest, ok := authParam(s)
	if !ok || name == "" {
		return rest, ok
	}
	if field := d.field(name); field != nil {
		if *field != "" { // RFC 7235 2.1: once each; two would be read two ways
			return "", false
		}
		*field = value
	}
	return rest, true
}

// authParam cuts the first auth-param (RFC 7235 2.1) off a list; the name of an
// empty element is "".
func authParam(s string) (name, value, rest string, ok bool) {
	start := skipSpace(s, 0)
	end := span(s, start, classToken)
	i := skipSpace(s, end)
	if end == start && (i == len(s) || s[i] == ',') {
		return "", "", s[min(i+1, len(s)):], true // phones end the list with a comma
	}
	if end == start || i == len(s) || s[i] != '=' {
		return "", "", "", false
	}
	name = s[start:end]
	i = skipSpace(s, i+1)
	if i < len(s) && s[i] == '"' {
		n := quoted(s[i:])
		if n == 0 {
			return "", "", "", false
		}
		value = Unquote(s[i : i+n])
		if i = skipSpace(s, i+n); i < len(s) && s[i] != ',' {
			return "", "", "", false
		}
	} else {
		begin := i
		for i < len(s) && s[i] != ',' {
			if s[i] != '"' {
				i++
				continue
			}
			n := quoted(s[i:])
			if n == 0 {
				return "", "", "", false
			}
			i += n
		}
		value = trim(s[begin:i])
	}
	return name, value, s[min(i+1, len(s)):], true
}

// field finds the place of a parameter by the length of its name first.
func (d *DigestCredentials) field(name string) *string {
	switch n := len(name); {
	case n == 8 && equalFold(name, "username"):
		return &d.Username
	case n == 5 && equalFold(name, "realm"):
		return &d.Realm
	case n == 5 && equalFold(name, "nonce"):
		return &d.Nonce
	case n == 3 && equalFold(name, "uri"):
		return &d.URI
	case n == 8 && equalFold(name, "response"):
		return &d.Response
	case n == 9 && equalFold(name, "algorithm"):
		return &d.Algorithm
	case n == 6 && equalFold(name, "cnonce"):
		return &d.CNonce
	case n == 3 && equalFold(name, "qop"):
		return &d.QOP
	case n == 2 && equalFold(name, "nc"):
		return &d.NC
	case n == 6 && equalFold(name, "opaque"):
		return &d.Opaque
	}
	return nil
}
