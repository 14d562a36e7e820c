package sippeer

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// Challenge is one WWW-Authenticate or Proxy-Authenticate header.
type Challenge map[string]string

// ParseChallenge reads the parameters of a Digest challenge.
func ParseChallenge(value string) Challenge {
	c := Challenge{}
	rest, ok := strings.CutPrefix(value, "Digest ")
	if !ok {
		return c
	}
	for _, part := range splitList(rest) {
		key, val, _ := strings.Cut(part, "=")
		c[strings.ToLower(strings.TrimSpace(key))] = strings.Trim(strings.TrimSpace(val), `"`)
	}
	return c
}

// Credentials are what a phone answers challenges with.
type Credentials struct {
	Username, Password string
	Algorithm          string // the one to answer: "MD5" or "SHA-256"; "" is the first offered
}

// Answer returns the Authorization value for a request (RFC 7616 3.4); nc is
// how often this nonce has been used, this time included.
func (c Credentials) Answer(challenges []string, method, uri string, nc int) (string, error) {
	for _, value := range challenges {
		ch := ParseChallenge(value)
		algorithm := ch["algorithm"]
		if algorithm == "" {
			algorithm = "MD5"
		}
		if c.Algorithm != "" && !strings.EqualFold(c.Algorithm, algorithm) {
			continue
		}
		if hash := hashOf(algorithm); hash != nil {
			return c.answer(ch, algorithm, hash, method, uri, nc), nil
		}
	}
	return "", fmt.Errorf("no challenge for %q among %q", c.Algorithm, challenges)
}

func (c Credentials) answer(ch Challenge, algorithm string, hash func(string) string, method, uri string, nc int) string {
	ha1 := hash(c.Username + ":" + ch["realm"] + ":" + c.Password)
	ha2 := hash(method + ":" + uri)
	out := fmt.Sprintf(`Digest username="%s", realm="%s", nonce="%s", uri="%s", algorithm=%s`,
		c.Username, ch["realm"], ch["nonce"], uri, algorithm)
	if strings.Contains(ch["qop"], "auth") {
		cnonce := Token()
		count := fmt.Sprintf("%08x", nc)
		response := hash(strings.Join([]string{ha1, ch["nonce"], count, cnonce, "auth", ha2}, ":"))
		out += fmt.Sprintf(`, qop=auth, nc=%s, cnonce="%s", response="%s"`, count, cnonce, response)
	} else {
		out += fmt.Sprintf(`, response="%s"`, hash(ha1+":"+ch["nonce"]+":"+ha2))
	}
	if opaque, ok := ch["opaque"]; ok {
		out += fmt.Sprintf(`, opaque="%s"`, opaque)
	}
	return out
}

func hashOf(algorithm string) func(string) string {
	switch strings.ToUpper(algorithm) {
	case "MD5":
		return func(s string) string { sum := md5.Sum([]byte(s)); return hex.EncodeToString(sum[:]) }
	case "SHA-256":
		return func(s string) string { sum := sha256.Sum256([]byte(s)); return hex.EncodeToString(sum[:]) }
	}
	return nil
}

// Token returns a random token for tags, branches and Call-IDs.
func Token() string { return strings.ToLower(rand.Text()[:16]) }
