package sipauth

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"

	"onhook/internal/sip"
)

// ErrChallenge is what a challenge that cannot be answered comes back with:
// none is there, or none in an algorithm and with a quality of protection that
// this package knows.
var ErrChallenge = errors.New("no digest challenge that can be answered")

// Answer appends the credentials for a 401 or 407 to a request of ours, as a
// whole header field. method and uri are the request's. Of several challenges
// the first that can be answered counts (RFC 8760 2.4). stale tells that the one
// before was answered rightly with a nonce that was too old.
//
// RFC 7616 3.4: with qop the answer is good for one request, nonce count 1; what
// is offered without qop is answered as RFC 2069 says.
func Answer(dst []byte, resp *sip.Message, method, uri, username, password string) (_ []byte, stale bool, err error) {
	challenge, credentials := sip.WWWAuthenticate, sip.Authorization
	if resp.Status == 407 {
		challenge, credentials = sip.ProxyAuthenticate, sip.ProxyAuthorization
	}
	for i := range resp.Headers {
		h := &resp.Headers[i]
		if h.ID != challenge {
			continue
		}
		c, err := sip.ParseChallenge(h.Value)
		if err != nil {
			continue
		}
		alg, qop, ok := answerable(c)
		if !ok {
			continue
		}
		d := sip.DigestCredentials{Username: username, Realm: c.Realm, Nonce: c.Nonce, URI: uri, Algorithm: c.Algorithm, Opaque: c.Opaque, QOP: qop}
		if qop != "" {
			d.NC, d.CNonce = "00000001", strings.ToLower(rand.Text()[:16])
		}
		ha1 := hashPassword(username, c.Realm, password)
		var sum [sha256.Size]byte
		n := digest(&sum, alg, &ha1, method, &d)
		d.Response = hex.EncodeToString(sum[:n])
		return appendCredentials(dst, credentials, &d), c.Stale, nil
	}
	return dst, false, ErrChallenge
}

// answerable says how a challenge is answered.
func answerable(c sip.DigestChallenge) (alg Algorithm, qop string, ok bool) {
	switch {
	case c.Algorithm == "" || strings.EqualFold(c.Algorithm, "MD5"):
		alg = MD5
	case strings.EqualFold(c.Algorithm, "SHA-256"):
		alg = SHA256
	default:
		return 0, "", false
	}
	if c.QOP == "" {
		return alg, "", true
	}
	for one := range strings.SplitSeq(c.QOP, ",") {
		if strings.EqualFold(strings.TrimSpace(one), "auth") {
			return alg, "auth", true
		}
	}
	return 0, "", false
}

func hashPassword(username, realm, password string) HA1 {
	text := []byte(username + ":" + realm + ":" + password)
	return HA1{MD5: md5.Sum(text), SHA256: sha256.Sum256(text), HasSHA256: true}
}

// appendQuoted writes a quoted string (RFC 3261 25.1).
func appendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); i++ {
		if s[i] == '"' || s[i] == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '"')
}

func appendCredentials(dst []byte, header sip.HeaderID, d *sip.DigestCredentials) []byte {
	dst = append(dst, header.String()...)
	dst = append(dst, ": Digest "...)
	quotedParam := func(name, value string) {
		dst = append(dst, name...)
		dst = append(dst, '=')
		dst = appendQuoted(dst, value)
		dst = append(dst, ", "...)
	}
	quotedParam("username", d.Username)
	quotedParam("realm", d.Realm)
	quotedParam("nonce", d.Nonce)
	quotedParam("uri", d.URI)
	if d.Opaque != "" {
		quotedParam("opaque", d.Opaque)
	}
	if d.Algorithm != "" {
		dst = append(dst, "algorithm="...)
		dst = append(dst, d.Algorithm...)
		dst = append(dst, ", "...)
	}
	if d.QOP != "" { // RFC 7616 3.4: qop and nc without quotes
		dst = append(dst, "qop="...)
		dst = append(dst, d.QOP...)
		dst = append(dst, ", nc="...)
		dst = append(dst, d.NC...)
		dst = append(dst, ", "...)
		quotedParam("cnonce", d.CNonce)
	}
	dst = append(dst, "response=\""...)
	dst = append(dst, d.Response...)
	return append(dst, "\"\r\n"...)
}
