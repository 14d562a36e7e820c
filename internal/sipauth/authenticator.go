package sipauth

import (
	"crypto/rand"
	"encoding/binary"
	"strings"
	"time"

	"onhook/internal/sip"
)

// HA1 is what is stored of a password: the hash of username:realm:password.
type HA1 struct {
	MD5       [16]byte
	SHA256    [32]byte
	HasSHA256 bool
}

// Credentials is where passwords' hashes come from. It is asked on the request
// path and must be as fast for an unknown name as for a known one.
type Credentials interface {
	// user is whatever the caller of Verify wants to find in Result.User.
	HA1(realm, username string) (ha1 HA1, user any, ok bool)
	// Previous gives the hash of a password that works beside the present one.
	Previous(user any) (ha1 HA1, ok bool)
	// OffersSHA256 reports whether every user of the realm has a SHA-256 hash.
	OffersSHA256(realm string) bool
}

// Config is what an Authenticator is made of.
type Config struct {
	Key      []byte        // makes nonces; the same after a restart. Empty: a random one
	NonceTTL time.Duration // 0 means 1 hour: a phone refreshes with the nonce it has

	// MD5OnlyUserAgents are prefixes of User-Agent values, in any case, of
	// devices that fail when SHA-256 is on offer beside MD5. They are added to
	// the built-in ones.
	MD5OnlyUserAgents []string
	DisableMD5        bool
	// RequireQOP refuses MD5 credentials without qop (RFC 2069), which some old
	// devices send. Such a nonce is good for one request only.
	RequireQOP bool

	// Banned, where set, says who is refused without a look at nonce and digest.
	// It is asked for every well-formed credentials, whether there is such a user
	// or not.
	Banned func(realm, username string, flow sip.Flow) bool

	MaxNonces int // nonces in use at the same time; 0 means 1,048,576
	Now       func() time.Time
}

// md5OnlyUserAgents fail on a 401 or 407 that contains SHA-256 at all.
var md5OnlyUserAgents = [...]string{"baresip v0", "baresip v1", "JsSIP "}

// Authenticator challenges and verifies.
type Authenticator struct {
	config   Config
	key      *macKey
	instance uint32 // of this process, in every nonce
	dummy    HA1    // of users that do not exist
	nonces   nonceTable
}

// New makes an Authenticator.
func New(c Config) *Authenticator {
	if c.NonceTTL == 0 {
		c.NonceTTL = time.Hour
	}
	if c.MaxNonces == 0 {
		c.MaxNonces = 1 << 20
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	a := &Authenticator{config: c}
	key := c.Key
	if len(key) == 0 {
		key = make([]byte, 32)
		rand.Read(key)
	}
	a.key = newMACKey(key)
	var b [4]byte
	rand.Read(b[:])
	a.instance = binary.BigEndian.Uint32(b[:])
	rand.Read(a.dummy.MD5[:])
	rand.Read(a.dummy.SHA256[:])
	a.dummy.HasSHA256 = true
	a.nonces.init(c.MaxNonces)
	return a
}

// Stats is a snapshot.
type Stats struct {
	Nonces  int    // in use: verified with a right password and not expired
	Evicted uint64 // nonces made stale early because there were too many
}

// Stats returns a snapshot.
func (a *Authenticator) Stats() Stats { return a.nonces.stats() }

// AppendChallenge appends the challenges for a request as whole header fields:
// one per algorithm, MD5 first, since some devices read only the first and
// others fail when SHA-256 is it (RFC 8760 2.4 lets the server order them). Who
// is offered what depends on realm and User-Agent, never on the user.
func (a *Authenticator) AppendChallenge(dst []byte, m *sip.Message, header sip.HeaderID, realm string, flow sip.Flow, stale bool, c Credentials) []byte {
	md5, sha256 := a.offers(m, realm, c)
	var buf [nonceText]byte
	nonce := a.appendNonce(buf[:0], realm, flow)
	if md5 {
		dst = appendChallenge(dst, header, realm, nonce, MD5, stale)
	}
	if sha256 {
		dst = appendChallenge(dst, header, realm, nonce, SHA256, stale)
	}
	return dst
}

// offers says which algorithms a request is challenged with.
func (a *Authenticator) offers(m *sip.Message, realm string, c Credentials) (md5, sha256 bool) {
	if a.config.DisableMD5 {
		return false, true
	}
	return true, c.OffersSHA256(realm) && !a.md5Only(m)
}

func (a *Authenticator) md5Only(m *sip.Message) bool {
	agent, _ := m.Value(sip.UserAgent)
	for _, prefix := range md5OnlyUserAgents {
		if hasPrefixFold(agent, prefix) {
			return true
		}
	}
	for _, prefix := range a.config.MD5OnlyUserAgents {
		if hasPrefixFold(agent, prefix) {
			return true
		}
	}
	return false
}

func hasPrefixFold(s, prefix string) bool {
	return prefix != "" && len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

func appendChallenge(dst []byte, header sip.HeaderID, realm string, nonce []byte, alg Algorithm, stale bool) []byte {
	dst = append(dst, header.String()...)
	dst = append(dst, `: Digest realm=`...)
	dst = appendQuoted(dst, realm)
	dst = append(dst, `, nonce="`...)
	dst = append(dst, nonce...)
	dst = append(dst, '"')
	if stale {
		dst = append(dst, ", stale=true"...)
	}
	dst = append(dst, ", algorithm="...)
	dst = append(dst, alg.String()...)
	return append(dst, ", qop=\"auth\"\r\n"...) // RFC 7616 3.3, RFC 3261 22.4: qop is always offered, quoted
}
