package sipauth

import (
	"crypto/md5"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"onhook/internal/sip"
)

const realm = "example.com"

// users is a Credentials with passwords in the clear, that counts how often it
// is asked.
type users struct {
	passwords map[string]string
	noSHA256  map[string]bool
	previous  map[string]string
	md5Only   bool
	asked     int
}

func (u *users) HA1(realm, username string) (HA1, any, bool) {
	u.asked++
	password, ok := u.passwords[username]
	if !ok {
		return HA1{}, nil, false
	}
	return u.hash(username, password), username, true
}

func (u *users) Previous(user any) (HA1, bool) {
	username := user.(string)
	password, ok := u.previous[username]
	if !ok {
		return HA1{}, false
	}
	return u.hash(username, password), true
}

func (u *users) hash(username, password string) HA1 {
	a1 := []byte(username + ":" + realm + ":" + password)
	h := HA1{MD5: md5.Sum(a1)}
	if !u.noSHA256[username] {
		h.SHA256, h.HasSHA256 = sha256.Sum256(a1), true
	}
	return h
}

func (u *users) OffersSHA256(string) bool { return !u.md5Only }

// bench is an Authenticator with a clock of its own and a device to talk to it.
type bench struct {
	t     testing.TB
	a     *Authenticator
	users *users
	now   time.Time
	flow  sip.Flow
}

var (
	home    = sip.Flow{Transport: sip.UDP, Remote: netip.MustParseAddrPort("192.0.2.1:5060")}
	moved   = sip.Flow{Transport: sip.UDP, Remote: netip.MustParseAddrPort("192.0.2.1:61000")}
	away    = sip.Flow{Transport: sip.UDP, Remote: netip.MustParseAddrPort("192.0.2.2:5060")}
	mapped  = sip.Flow{Transport: sip.UDP, Remote: netip.MustParseAddrPort("[::ffff:192.0.2.1]:5060")}
	tlsHome = sip.Flow{Transport: sip.TLS, Conn: 1, Remote: netip.MustParseAddrPort("192.0.2.1:40000")}
	wssAway = sip.Flow{Transport: sip.WSS, Conn: 2, Remote: netip.MustParseAddrPort("192.0.2.2:40001")}
)

func newBench(t testing.TB, c Config) *bench {
	b := &bench{t: t, now: time.Unix(1_700_000_000, 0), flow: home, users: &users{passwords: map[string]string{
		"alice": "wonderland", "bob": `bui"lder`,
	}}}
	c.Now = func() time.Time { return b.now }
	if c.Key == nil {
		c.Key = []byte("a key that survives restarts")
	}
	b.a = New(c)
	return b
}

func parse(t testing.TB, text string) *sip.Message {
	t.Helper()
	m := new(sip.Message)
	if err := m.Parse([]byte(text)); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return m
}

// request makes a REGISTER with further header fields.
func request(t testing.TB, fields ...string) *sip.Message {
	return requestTo(t, "REGISTER", "sip:example.com", fields...)
}

func requestTo(t testing.TB, method, uri string, fields ...string) *sip.Message {
	t.Helper()
	all := ""
	for _, f := range fields {
		all += f + "\r\n"
	}
	return parse(t, method+" "+uri+" SIP/2.0\r\n"+
		"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1\r\n"+
		"From: <sip:alice@example.com>;tag=1\r\nTo: <sip:alice@example.com>\r\n"+
		"Call-ID: 1\r\nCSeq: 1 "+method+"\r\n"+all+"Content-Length: 0\r\n\r\n")
}

func (b *bench) challenge(m *sip.Message, stale bool) string {
	return string(b.a.AppendChallenge(nil, m, sip.WWWAuthenticate, realm, b.flow, stale, b.users))
}

var nonceIn = regexp.MustCompile(`nonce="([^"]*)"`)

// nonce asks for a challenge and takes the nonce out of it.
func (b *bench) nonce() string {
	b.t.Helper()
	match := nonceIn.FindStringSubmatch(b.challenge(request(b.t), false))
	if match == nil {
		b.t.Fatal("no nonce")
	}
	return match[1]
}

// device is what a device puts into its credentials.
type device struct {
	user, password, nonce, uri, alg, cnonce, nc, qop, method string
}

// response computes a digest with another code than the one under test.
func (d device) response() string {
	h := func(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }
	if d.alg == "SHA-256" {
		h = func(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }
	}
	ha1, ha2 := h(d.user+":"+realm+":"+d.password), h(d.method+":"+d.uri)
	if d.qop == "" {
		return h(ha1 + ":" + d.nonce + ":" + ha2)
	}
	return h(strings.Join([]string{ha1, d.nonce, d.nc, d.cnonce, d.qop, ha2}, ":"))
}

// field writes the credentials the way baresip does.
func (d device) field() string {
	s := fmt.Sprintf(`Authorization: Digest username="%s", realm="%s", nonce="%s", uri="%s", response="%s"`,
		strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(d.user), realm, d.nonce, d.uri, d.response())
	if d.qop != "" {
		s += fmt.Sprintf(`, cnonce="%s", qop=%s, nc=%s`, d.cnonce, d.qop, d.nc)
	}
	if d.alg != "" {
		s += ", algorithm=" + d.alg
	}
	return s
}

// alice is a device with the right password and a nonce of now.
func (b *bench) alice() device {
	return device{user: "alice", password: "wonderland", nonce: b.nonce(), uri: "sip:example.com", alg: "MD5",
		cnonce: "0a4f113b", nc: "00000001", qop: "auth", method: "REGISTER"}
}

func (b *bench) verify(m *sip.Message) Result {
	return b.a.Verify(m, sip.Authorization, realm, b.flow, b.users)
}

// try sends the device's credentials in a request of its method.
func (b *bench) try(d device, want Verdict) Result {
	b.t.Helper()
	r := b.verify(request(b.t, d.field()))
	if r.Verdict != want {
		b.t.Errorf("%v, want %v: %s", r.Verdict, want, d.field())
	}
	return r
}
