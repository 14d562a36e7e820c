package sip

// DigestChallenge is a view of a WWW-Authenticate or Proxy-Authenticate value of
// scheme Digest (RFC 7616 3.3). Quotes are removed.
type DigestChallenge struct {
	Realm     string
	Nonce     string
	Opaque    string
	Algorithm string // "" means MD5
	QOP       string // list of what is offered, "" for none
	Stale     bool
}

// ParseChallenge reads the value of a WWW-Authenticate or Proxy-Authenticate
// field.
func ParseChallenge(value string) (c DigestChallenge, err error) {
	value = trim(value)
	n := span(value, 0, classToken)
	if !equalFold(value[:n], "Digest") || n == len(value) || !isSpace(value[n]) {
		return c, ErrScheme
	}
	for rest := value[n:]; rest != ""; {
		var name, v string
		var ok bool
		if name, v, rest, ok = authParam(rest); !ok {
			return c, ErrDigest
		}
		switch {
		case equalFold(name, "realm"):
			c.Realm = v
		case equalFold(name, "nonce"):
			c.Nonce = v
		case equalFold(name, "opaque"):
			c.Opaque = v
		case equalFold(name, "algorithm"):
			c.Algorithm = v
		case equalFold(name, "qop"):
			c.QOP = v
		case equalFold(name, "stale"):
			c.Stale = equalFold(v, "true")
		}
	}
	if c.Nonce == "" {
		return c, ErrDigest
	}
	return c, nil
}
