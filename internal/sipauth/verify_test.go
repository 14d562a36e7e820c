package sipauth

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"onhook/internal/sip"
)

// RFC 7616 3.9.1, and RFC 2069 2.4 as its erratum 749 corrects it.
func TestDigestVectors(t *testing.T) {
	d := sip.DigestCredentials{
		Nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", CNonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
		NC: "00000001", QOP: "auth", URI: "/dir/index.html",
	}
	const a1 = "Mufasa:http-auth@example.org:Circle of Life"
	old := sip.DigestCredentials{Nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093", URI: "/dir/index.html"}
	for _, c := range []struct {
		alg  Algorithm
		a1   string
		d    sip.DigestCredentials
		want string
	}{
		{MD5, a1, d, "8ca523f5e9506fed4657c9700eebdbec"},
		{SHA256, a1, d, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"},
		{MD5, "Mufasa:testrealm@host.com:CircleOfLife", old, "1949323746fe6a43ef61f9606e7febea"},
	} {
		ha1 := HA1{MD5: md5.Sum([]byte(c.a1)), SHA256: sha256.Sum256([]byte(c.a1))}
		var out [sha256.Size]byte
		n := digest(&out, c.alg, &ha1, "GET", &c.d)
		if got := hex.EncodeToString(out[:n]); got != c.want {
			t.Errorf("%v: %s, want %s", c.alg, got, c.want)
		}
	}
}

// RFC 4493 4: the code is AES-CMAC.
func TestCMAC(t *testing.T) {
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	k := newMACKey(unhex("2b7e151628aed2a6abf7158809cf4f3c"))
	msg := unhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710")
	for n, want := range map[int]string{
		0:  "bb1d6929e95937287fa37d129b756746",
		16: "070a16b46b4d4144f79bdd9dd04a287c",
		40: "dfa66747de9ae63030ca32611497c827",
		64: "51f0bebf7e3b9d92fc49741779363cfe",
	} {
		sum := k.sum(msg[:n])
		if got := hex.EncodeToString(sum[:]); got != want {
			t.Errorf("%d bytes: %s, want %s", n, got, want)
		}
	}
}

// The way devices really write their credentials.
func TestDevices(t *testing.T) {
	for name, format := range map[string]string{
		"baresip":   `Authorization: Digest username="alice", realm="example.com", nonce="NONCE", uri="URI", response="RESPONSE", cnonce="0a4f113b", qop=auth, nc=00000001, algorithm=MD5`,
		"SIPp":      `Authorization: Digest username="alice",realm="example.com",cnonce="0a4f113b",nc=00000001,qop=auth,uri="URI",nonce="NONCE",response="RESPONSE",algorithm=MD5`,
		"JsSIP":     `Authorization: Digest algorithm=MD5, username="alice", realm="example.com", nonce="NONCE", uri="URI", response="RESPONSE", qop=auth, cnonce="0a4f113b", nc=00000001`,
		"quoted":    `authorization : DIGEST username="alice",realm="example.com",nonce="NONCE",uri="URI",qop="auth",algorithm="md5",nc=00000001,cnonce="0a4f113b",response="RESPONSE",opaque=""`,
		"none":      `Authorization: Digest username="alice", realm="example.com", nonce="NONCE", uri="URI", response="RESPONSE", cnonce="0a4f113b", qop=auth, nc=00000001`,
		"uppercase": `Authorization: Digest username="alice", realm="example.com", nonce="NONCE", uri="URI", response="UPPER", cnonce="0a4f113b", qop=auth, nc=00000001`,
		"folded":    "Authorization: Digest username=\"alice\",\r\n realm=\"example.com\", nonce=\"NONCE\",\r\n\turi=\"URI\", response=\"RESPONSE\", cnonce=\"0a4f113b\", qop=auth, nc=00000001",
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, Config{})
			d := b.alice()
			if name == "SIPp" {
				d.uri = "sip:127.0.0.1:5060"
			}
			field := strings.NewReplacer("NONCE", d.nonce, "URI", d.uri, "RESPONSE", d.response(), "UPPER", strings.ToUpper(d.response())).Replace(format)
			want := Result{Verdict: OK, Username: "alice", Algorithm: MD5, User: "alice"}
			if got := b.verify(request(t, field)); got != want {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestAlgorithms(t *testing.T) {
	b := newBench(t, Config{})
	d := b.alice()
	d.alg = "SHA-256"
	if r := b.try(d, OK); r.Algorithm != SHA256 {
		t.Errorf("%+v", r)
	}
	for _, alg := range []string{"SHA-512-256", "MD5-sess", "SHA-256-sess", "AKAv1-MD5"} {
		d.alg = alg
		b.try(d, Missing) // never offered: challenged anew
	}
	b.users.noSHA256 = map[string]bool{"alice": true}
	d = b.alice()
	d.alg = "SHA-256"
	b.try(d, Wrong)

	b = newBench(t, Config{DisableMD5: true})
	d = b.alice()
	b.try(d, Missing)
	d.alg = "SHA-256"
	b.try(d, OK)
}

// Beside the present password the one before works, and is told apart; neither
// of another user does.
func TestPrevious(t *testing.T) {
	for _, alg := range []string{"MD5", "SHA-256"} {
		b := newBench(t, Config{})
		b.users.previous = map[string]string{"alice": "looking-glass"}
		for password, previous := range map[string]bool{"wonderland": false, "looking-glass": true} {
			d := b.alice()
			d.alg, d.password = alg, password
			if r := b.try(d, OK); r.Previous != previous || r.User != "alice" {
				t.Errorf("%s %s: %+v", alg, password, r)
			}
			b.try(d, Stale) // a count is used up by the one as by the other
		}
		d := b.alice()
		d.alg, d.password = alg, "rabbit-hole"
		if r := b.try(d, Wrong); r.Previous {
			t.Errorf("%+v", r)
		}
		b.users.noSHA256 = map[string]bool{"alice": true}
		d.password, d.alg, d.nonce = "looking-glass", "SHA-256", b.nonce()
		b.try(d, Wrong)
	}
}

func TestWrong(t *testing.T) {
	for name, edit := range map[string]func(d *device){
		"password":        func(d *device) { d.password = "Wonderland" },
		"other's":         func(d *device) { d.password = `bui"lder` },
		"unknown user":    func(d *device) { d.user = "nobody" },
		"spelling":        func(d *device) { d.user = "Alice" },
		"method":          func(d *device) { d.method = "INVITE" },
		"SHA-256 unknown": func(d *device) { d.user, d.alg = "nobody", "SHA-256" },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, Config{})
			d := b.alice()
			edit(&d)
			r := b.try(d, Wrong)
			if r.Username != d.user {
				t.Errorf("%+v", r)
			}
			// Unknown or not, the user is asked for once, and nothing is stored.
			if b.users.asked != 1 || b.a.Stats().Nonces != 0 {
				t.Errorf("asked %d times, %+v", b.users.asked, b.a.Stats())
			}
			d = device{user: "alice", password: "wonderland", nonce: d.nonce, uri: d.uri, cnonce: d.cnonce, nc: d.nc, qop: "auth", method: "REGISTER"}
			b.try(d, OK) // a failed attempt uses nothing up
		})
	}
}

// The hash of users that do not exist matches nothing, not even itself.
func TestDummyNeverMatches(t *testing.T) {
	b := newBench(t, Config{})
	d := b.alice()
	d.user = "nobody"
	credentials, err := sip.ParseDigest(strings.TrimPrefix(d.field(), "Authorization: "))
	if err != nil {
		t.Fatal(err)
	}
	var out [sha256.Size]byte
	n := digest(&out, MD5, &b.a.dummy, "REGISTER", &credentials)
	field := strings.Replace(d.field(), d.response(), hex.EncodeToString(out[:n]), 1)
	if b.verify(request(t, field)).Verdict != Wrong {
		t.Error("the dummy let somebody in")
	}
}

func TestMissingAndMalformed(t *testing.T) {
	b := newBench(t, Config{})
	right := b.alice().field()
	cut := func(old, with string) string {
		if !strings.Contains(right, old) {
			t.Fatalf("%q is not in %s", old, right)
		}
		return strings.Replace(right, old, with, 1)
	}
	for _, c := range []struct {
		name  string
		field string
		want  Verdict
	}{
		{"none", "X-Other: 1", Missing},
		{"for a proxy", strings.Replace(right, "Authorization", "Proxy-Authorization", 1), Missing},
		{"other realm", cut(`realm="example.com"`, `realm="example.org"`), Missing},
		{"realm in another case", cut(`realm="example.com"`, `realm="Example.com"`), Missing},
		{"Basic", "Authorization: Basic YWxpY2U6d29uZGVybGFuZA==", Missing},
		{"Bearer beside", right + "\r\nAuthorization: Bearer x", OK},
		{"no username", cut(`username="alice", `, ``), Malformed},
		{"no response", cut(`response="`, `other="`), Malformed},
		{"short response", cut(`response="`, `response="0`), Malformed},
		{"response of SHA-256 length", cut(`response="`, `response="`+strings.Repeat("0", 32)), Malformed},
		{"response not hex", notHex(right), Malformed},
		{"nc without 8 digits", cut("nc=00000001", "nc=1"), Malformed},
		{"nc zero", cut("nc=00000001", "nc=00000000"), Malformed},
		{"nc not hex", cut("nc=00000001", "nc=0000000x"), Malformed},
		{"nc with a sign", cut("nc=00000001", "nc=+0000001"), Malformed},
		{"no nc", cut(", nc=00000001", ""), Malformed},
		{"no cnonce", cut(`cnonce="0a4f113b", `, ""), Malformed},
		{"nc without qop", cut("qop=auth, ", ""), Malformed},
		{"auth-int", cut("qop=auth", "qop=auth-int"), Malformed},
		{"open quote", `Authorization: Digest username="alice`, Malformed},
		{"malformed beside the right one", right + "\r\n" + `Authorization: Digest username=`, OK},
		{"another realm beside", strings.Replace(right, `"example.com"`, `"example.org"`, 1) + "\r\n" + right, OK},
	} {
		b := newBench(t, Config{})
		field := strings.ReplaceAll(c.field, nonceIn.FindString(right), `nonce="`+b.nonce()+`"`)
		if c.want == OK { // the digest covers the nonce
			d := b.alice()
			field = strings.ReplaceAll(c.field, right, d.field())
		}
		got := b.verify(request(t, field)).Verdict
		if got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func notHex(field string) string {
	i := strings.Index(field, `response="`) + len(`response="`)
	return field[:i] + "g" + field[i+1:]
}

// RFC 3261 22.3 and some devices: user@realm instead of user.
func TestUsernameWithRealm(t *testing.T) {
	for _, c := range []struct {
		user, name string
		want       Verdict
	}{
		{"alice@example.com", "alice", OK},
		{"alice@EXAMPLE.com", "alice", OK},
		{"alice@example.org", "alice@example.org", Wrong},
		{"nobody@example.com", "nobody", Wrong},
		{"@example.com", "@example.com", Wrong},
	} {
		b := newBench(t, Config{})
		d := b.alice()
		field := strings.Replace(d.field(), `"alice"`, `"`+c.user+`"`, 1)
		if r := b.verify(request(t, field)); r.Verdict != c.want || r.Username != c.name {
			t.Errorf("%s: %+v", c.user, r)
		}
	}
}

// RFC 7616 3.4.6: the uri of the credentials and the Request-URI.
func TestTarget(t *testing.T) {
	for _, c := range []struct {
		request, credentials string
		want                 Verdict
	}{
		{"sip:bob@example.com", "sip:bob@example.com", OK},
		{"sip:bob@example.com;transport=tcp", "sip:bob@example.com:5060", OK},
		{"sip:b%6Fb@example.com", "sip:bob@192.0.2.9", OK},
		{"sip:bob@example.com", "sip:127.0.0.1:5060", OK}, // SIPp
		{"sip:bob@example.com", "example.com", OK},
		{"sip:example.com", "sip:alice@example.com", OK},
		{"sip:bob@example.com", "sip:carol@example.com", Malformed},
		{"sip:+4930123@example.com;user=phone", "sip:bob@example.com", Malformed},
		{"tel:+4930123", "sip:+4930123@example.com", OK},
		{"tel:+4930123", "sip:bob@example.com", Malformed},
	} {
		b := newBench(t, Config{})
		d := b.alice()
		d.method, d.uri = "INVITE", c.credentials
		m := requestTo(t, "INVITE", c.request, d.field())
		if r := b.verify(m); r.Verdict != c.want {
			t.Errorf("%s with %s: %v, want %v", c.request, c.credentials, r.Verdict, c.want)
		}
	}
}

func TestProxyAuthorization(t *testing.T) {
	b := newBench(t, Config{})
	m := request(t, strings.Replace(b.alice().field(), "Authorization", "Proxy-Authorization", 1))
	if r := b.a.Verify(m, sip.ProxyAuthorization, realm, home, b.users); r.Verdict != OK {
		t.Errorf("%+v", r)
	}
}

// RFC 7616 3.4: without qop a nonce is good for one request.
func TestWithoutQOP(t *testing.T) {
	b := newBench(t, Config{})
	d := b.alice()
	d.qop = ""
	b.try(d, OK)
	b.try(d, Stale)
	d.qop = "auth"
	b.try(d, Stale)
	d.nonce = b.nonce()
	b.try(d, OK)
	d.qop = ""
	b.try(d, Stale)
	d.nonce, d.alg = b.nonce(), "SHA-256"
	b.try(d, Malformed)

	b = newBench(t, Config{RequireQOP: true})
	d = b.alice()
	d.qop = ""
	b.try(d, Malformed)
}

// RFC 7616 5.12, contract: a window of 64 nonce counts.
func TestNonceCounts(t *testing.T) {
	b := newBench(t, Config{})
	d := b.alice()
	for _, c := range []struct {
		nc   uint32
		want Verdict
	}{
		{5, OK}, {5, Stale}, {1, OK}, {1, Stale}, {6, OK}, {4, OK}, {4, Stale}, {6, Stale},
		{69, OK}, {5, Stale}, {6, Stale}, {7, OK}, {7, Stale}, {69, Stale},
		{70, OK}, {6, Stale}, {133, OK}, {134, OK}, {70, Stale}, {71, OK},
		{10000, OK}, {9937, OK}, {9936, Stale}, {9937, Stale}, {134, Stale},
		{0xffffffff, OK}, {0xffffffff, Stale}, {0xffffffc0, OK}, {0xffffffbf, Stale},
	} {
		d.nc = fmt.Sprintf("%08x", c.nc)
		b.try(d, c.want)
	}
	d.nc, d.password = "0000ffff", "wrong"
	b.try(d, Wrong)
	if st := b.a.Stats(); st.Nonces != 1 {
		t.Errorf("%+v", st)
	}
}

func TestNonceAge(t *testing.T) {
	b := newBench(t, Config{NonceTTL: time.Minute})
	d := b.alice()
	b.now = b.now.Add(time.Minute)
	b.try(d, OK)
	b.now = b.now.Add(time.Millisecond)
	d.nc = "00000002"
	b.try(d, Stale)
	b.now = b.now.Add(-time.Hour) // the clock was set back
	b.try(d, Stale)
}

// On UDP a nonce belongs to the address it was sent to; on connections to none.
func TestNonceSource(t *testing.T) {
	for _, c := range []struct {
		name   string
		issued sip.Flow
		used   sip.Flow
		want   Verdict
	}{
		{"same address", home, home, OK},
		{"other port", home, moved, OK},
		{"same address, mapped", home, mapped, OK},
		{"other address", home, away, Stale},
		{"UDP, then TLS", home, tlsHome, Stale},
		{"TLS, then UDP", tlsHome, home, Stale},
		{"other connection", tlsHome, wssAway, OK},
	} {
		b := newBench(t, Config{})
		b.flow = c.issued
		d := b.alice()
		b.flow = c.used
		if r := b.try(d, c.want); r.Verdict != c.want {
			t.Errorf("%s", c.name)
		}
		if d.password = "wrong"; c.want == Stale {
			b.try(d, Stale) // says nothing of the password
		}
	}
}

func TestForeignNonces(t *testing.T) {
	b := newBench(t, Config{})
	d := b.alice()
	good := d.nonce
	other := byte('A')
	if good[0] == other {
		other = 'B'
	}
	elsewhere := nonceIn.FindStringSubmatch(string(b.a.AppendChallenge(nil, request(t), sip.WWWAuthenticate, "example.org", home, false, b.users)))[1]
	for _, nonce := range []string{"x", good + "A", good[:len(good)-1], string(other) + good[1:], good[:len(good)-1] + "*", strings.Repeat("A", len(good)), elsewhere} {
		d.nonce = nonce
		b.try(d, Stale)
	}
	d.nonce = newBench(t, Config{Key: []byte("another key")}).nonce()
	b.try(d, Stale)
	if b.users.asked != 0 || b.a.Stats().Nonces != 0 {
		t.Error("a foreign nonce cost more than its check")
	}
}

// After a restart the counts are lost, so nonces from before are stale.
func TestRestart(t *testing.T) {
	b := newBench(t, Config{})
	d := b.alice()
	b.try(d, OK)
	after := newBench(t, Config{})
	after.try(d, Stale)
	d.nc = "00000002"
	after.try(d, Stale)
}

// A window that had to go makes its nonce stale; no count is accepted again.
func TestEviction(t *testing.T) {
	b := newBench(t, Config{MaxNonces: 2 * nonceShards})
	var devices []device
	for range 200 {
		d := b.alice()
		b.try(d, OK)
		devices = append(devices, d)
		b.now = b.now.Add(time.Millisecond)
	}
	for _, d := range devices {
		b.try(d, Stale)
	}
	alive := 0
	for _, d := range devices {
		d.nc = "00000002"
		if b.verify(request(t, d.field())).Verdict == OK {
			alive++
		}
	}
	st := b.a.Stats()
	if st.Nonces > 2*nonceShards || alive != st.Nonces || int(st.Evicted) != len(devices)-st.Nonces {
		t.Errorf("%+v, %d alive", st, alive)
	}
	b.now = b.now.Add(time.Second)
	b.try(b.alice(), OK)
}

// Windows of expired nonces make room without being counted as evicted.
func TestExpiredWindowsGo(t *testing.T) {
	b := newBench(t, Config{NonceTTL: time.Minute})
	for range 3000 {
		b.try(b.alice(), OK)
		b.now = b.now.Add(100 * time.Millisecond)
	}
	if st := b.a.Stats(); st.Nonces > 700 || st.Evicted != 0 {
		t.Errorf("%+v", st)
	}
}
