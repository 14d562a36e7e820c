package sipauth

import (
	"crypto/md5"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strconv"
	"strings"

	"onhook/internal/sip"
)

// Verdict is what credentials are worth.
type Verdict uint8

// The verdicts. Missing, Stale and Wrong lead to a challenge (Stale with
// stale=true), Malformed to 400, Banned to 403.
const (
	Missing   Verdict = iota // none for this realm, or none this server can use
	OK                       // right
	Stale                    // the nonce is not good (any more), or its count was used; says nothing of the password
	Wrong                    // unknown user or wrong password, with a good nonce
	Malformed                // not Digest credentials as RFC 7616 3.4 wants them
	Banned                   // refused unseen (Config.Banned)
)

func (v Verdict) String() string {
	return [...]string{"missing", "ok", "stale", "wrong", "malformed", "banned"}[v]
}

// Algorithm is a digest algorithm.
type Algorithm uint8

// The algorithms (RFC 7616 3.3, RFC 8760).
const (
	MD5 Algorithm = iota + 1
	SHA256
)

func (a Algorithm) String() string {
	switch a {
	case MD5:
		return "MD5"
	case SHA256:
		return "SHA-256"
	}
	return ""
}

// Result is the outcome of Verify.
type Result struct {
	Verdict   Verdict
	Username  string    // as claimed, without @realm; a view of the message, "" when there were no credentials
	Algorithm Algorithm // of the credentials, 0 when there were none
	User      any       // what Credentials gave with the hash; nil unless the verdict is OK
	Previous  bool      // the password was the one before (Credentials.Previous)
}

// Verify judges the credentials of a request for a realm. header is
// Authorization or Proxy-Authorization.
func (a *Authenticator) Verify(m *sip.Message, header sip.HeaderID, realm string, flow sip.Flow, c Credentials) Result {
	d, alg, verdict := a.pick(m, header, realm)
	if verdict != OK {
		return Result{Verdict: verdict}
	}
	r := Result{Username: d.Username, Algorithm: alg}
	// Some devices write user@domain where the domain is the realm.
	if at := len(d.Username) - len(realm) - 1; at > 0 && d.Username[at] == '@' && strings.EqualFold(d.Username[at+1:], realm) {
		r.Username = d.Username[:at]
	}
	count, response, ok := a.check(m, &d, alg)
	if !ok {
		r.Verdict = Malformed
		return r
	}
	if a.config.Banned != nil && a.config.Banned(realm, r.Username, flow) {
		r.Verdict = Banned
		return r
	}
	id, ok := a.openNonce(d.Nonce, realm, flow)
	if !ok {
		r.Verdict = Stale
		return r
	}
	// An unknown user takes the very same way with a hash that nothing matches.
	ha1, user, known := c.HA1(realm, r.Username)
	if !known || alg == SHA256 && !ha1.HasSHA256 {
		known, ha1 = false, a.dummy
	}
	var want [sha256.Size]byte
	n := digest(&want, alg, &ha1, m.Method, &d)
	right := subtle.ConstantTimeCompare(want[:n], response[:n]) == 1
	if !right {
		// A wrong digest takes as long whether there is a password before or not.
		second, ok := a.dummy, false
		if known {
			if second, ok = c.Previous(user); !ok || alg == SHA256 && !second.HasSHA256 {
				second, ok = a.dummy, false
			}
		}
		n = digest(&want, alg, &second, m.Method, &d)
		r.Previous = subtle.ConstantTimeCompare(want[:n], response[:n]) == 1 && ok
		right = r.Previous
	}
	switch {
	case !right || !known:
		r.Verdict = Wrong
	case !a.nonces.use(id, count, a.config.Now().Add(-a.config.NonceTTL).UnixMilli()):
		r.Verdict = Stale
	default:
		r.Verdict, r.User = OK, user
	}
	return r
}

// pick finds the credentials for the realm among those of a request (RFC 3261
// 22.3: there may be several, each in its own field): the first in an algorithm
// this server takes. Its verdict is OK when there are some.
func (a *Authenticator) pick(m *sip.Message, header sip.HeaderID, realm string) (d sip.DigestCredentials, alg Algorithm, v Verdict) {
	malformed := false
	for i := range m.Headers {
		h := &m.Headers[i]
		if h.ID != header {
			continue
		}
		one, err := sip.ParseDigest(h.Value)
		if err != nil {
			malformed = malformed || err == sip.ErrDigest
			continue
		}
		if one.Realm != realm {
			continue
		}
		switch {
		case (one.Algorithm == "" || strings.EqualFold(one.Algorithm, "MD5")) && !a.config.DisableMD5:
			return one, MD5, OK
		case strings.EqualFold(one.Algorithm, "SHA-256"):
			return one, SHA256, OK
		}
	}
	if malformed {
		return d, 0, Malformed
	}
	return d, 0, Missing
}

// check tests the form of credentials and returns their nonce count (noCount
// without qop) and their response in binary.
func (a *Authenticator) check(m *sip.Message, d *sip.DigestCredentials, alg Algorithm) (count uint32, response [sha256.Size]byte, ok bool) {
	size := md5.Size
	if alg == SHA256 {
		size = sha256.Size
	}
	if len(d.Response) != 2*size {
		return 0, response, false
	}
	for i := range size {
		hi, lo := hexValues[d.Response[2*i]], hexValues[d.Response[2*i+1]]
		if hi|lo > 15 {
			return 0, response, false
		}
		response[i] = hi<<4 | lo
	}
	switch {
	case d.QOP == "":
		// RFC 7616 3.4: qop must be there when it was offered; RFC 2069 devices
		// know only MD5 without.
		if alg != MD5 || a.config.RequireQOP || d.NC != "" {
			return 0, response, false
		}
	case strings.EqualFold(d.QOP, "auth") && d.CNonce != "" && len(d.NC) == 8:
		n, err := strconv.ParseUint(d.NC, 16, 32)
		if err != nil || n == noCount {
			return 0, response, false
		}
		count = uint32(n)
	default:
		return 0, response, false
	}
	return count, response, sameTarget(d.URI, m.RequestURI)
}

// sameTarget reports whether the uri of credentials fits the Request-URI. RFC
// 7616 3.4.6 wants the same resource; RFC 3261 22.4 knows that proxies and
// devices make them differ: SIPp puts the address of the server alone, others
// add or leave out port and parameters, or name another of the server's hosts.
// What decides whom a request reaches is the user. Where both name one, it must
// be the same, so that credentials caught on the way do not serve for a call to
// somebody else.
func sameTarget(credentials, request string) bool {
	if credentials == request {
		return true
	}
	c, err := sip.ParseURI(credentials)
	if err != nil || c.User == "" {
		return true
	}
	r, err := sip.ParseURI(request)
	if err != nil || r.User == "" {
		return true
	}
	return c.User == r.User || sip.Unescape(c.User) == sip.Unescape(r.User)
}

// digest computes the response that is right (RFC 7616 3.4.1) into out and
// returns its length.
func digest(out *[sha256.Size]byte, alg Algorithm, ha1 *HA1, method string, d *sip.DigestCredentials) int {
	var stack [1024]byte
	buf := append(stack[:0], method...)
	buf = append(buf, ':')
	buf = append(buf, d.URI...)
	var ha2 [sha256.Size]byte
	n := hash(&ha2, alg, buf)

	secret := ha1.MD5[:]
	if alg == SHA256 {
		secret = ha1.SHA256[:]
	}
	buf = hex.AppendEncode(buf[:0], secret)
	buf = append(buf, ':')
	buf = append(buf, d.Nonce...)
	buf = append(buf, ':')
	if d.QOP != "" {
		buf = append(buf, d.NC...)
		buf = append(buf, ':')
		buf = append(buf, d.CNonce...)
		buf = append(buf, ':')
		buf = append(buf, d.QOP...)
		buf = append(buf, ':')
	}
	buf = hex.AppendEncode(buf, ha2[:n])
	return hash(out, alg, buf)
}

func hash(out *[sha256.Size]byte, alg Algorithm, b []byte) int {
	if alg == SHA256 {
		*out = sha256.Sum256(b)
		return sha256.Size
	}
	sum := md5.Sum(b)
	return copy(out[:], sum[:])
}

// hexValues holds the values of hex digits, 255 for anything else.
var hexValues = func() (table [256]byte) {
	for i := range table {
		table[i] = 255
	}
	for i, c := range []byte("0123456789abcdef") {
		table[c] = byte(i)
	}
	for i, c := range []byte("ABCDEF") {
		table[c] = byte(10 + i)
	}
	return table
}()
