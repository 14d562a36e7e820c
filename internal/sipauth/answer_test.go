package sipauth

import (
	"fmt"
	"strings"
	"testing"

	"onhook/internal/sip"
)

// Whatever this package challenges with, Answer answers so that Verify takes it.
func TestAnswerSatisfiesVerify(t *testing.T) {
	for _, c := range []struct {
		name   string
		config Config
		realm  string
	}{
		{"MD5 and SHA-256", Config{}, "example.com"},
		{"SHA-256 alone", Config{DisableMD5: true}, "example.com"},
		{"a realm to be quoted", Config{}, `odd "realm" \ here`},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := New(c.config)
			secrets := fixedSecret{hashPassword("trunk", c.realm, "secret")}
			flow := sip.Flow{Transport: sip.UDP}
			request := parseMessage(t, "INVITE sip:+49301234@carrier.example SIP/2.0\n", "")
			challenge := a.AppendChallenge(nil, request, sip.ProxyAuthenticate, c.realm, flow, false, secrets)
			refused := parseMessage(t, "SIP/2.0 407 Proxy Authentication Required\n", string(challenge))
			field, stale, err := Answer(nil, refused, "INVITE", "sip:+49301234@carrier.example", "trunk", "secret")
			if err != nil || stale {
				t.Fatal(stale, err)
			}
			again := parseMessage(t, "INVITE sip:+49301234@carrier.example SIP/2.0\n", string(field))
			if r := a.Verify(again, sip.ProxyAuthorization, c.realm, flow, secrets); r.Verdict != OK {
				t.Errorf("%s for\n%s", r.Verdict, field)
			}
			field, _, _ = Answer(nil, refused, "INVITE", "sip:+49301234@carrier.example", "trunk", "wrong")
			again = parseMessage(t, "INVITE sip:+49301234@carrier.example SIP/2.0\n", string(field))
			if r := a.Verify(again, sip.ProxyAuthorization, c.realm, flow, secrets); r.Verdict != Wrong {
				t.Errorf("%s for a wrong password", r.Verdict)
			}
		})
	}
}

// RFC 7616 3.4 and RFC 2069 2.4: which challenges are answered, and how.
func TestAnswerChoosesChallenge(t *testing.T) {
	for _, c := range []struct{ name, challenges, want string }{
		{"RFC 2069", `Digest realm="r", nonce="n"`, `username="u", realm="r", nonce="n", uri="sip:x", response=`},
		{"opaque", `Digest realm="r", nonce="n", opaque="o"`, `opaque="o"`},
		{"qop", `Digest realm="r", nonce="n", qop="auth-int, auth"`, `qop=auth, nc=00000001, cnonce="`},
		{"auth-int alone", `Digest realm="r", nonce="n", qop="auth-int"`, ""},
		{"the first known", `Digest realm="r", nonce="1", algorithm=SHA-512-256|Digest realm="r", nonce="2", algorithm=SHA-256|Digest realm="r", nonce="3"`, `nonce="2"`},
		{"another scheme", `Basic realm="r"`, ""},
		{"no nonce", `Digest realm="r"`, ""},
		{"none", ``, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			fields := ""
			for one := range strings.SplitSeq(c.challenges, "|") {
				if one != "" {
					fields += "WWW-Authenticate: " + one + "\r\n"
				}
			}
			got, _, err := Answer(nil, parseMessage(t, "SIP/2.0 401 Unauthorized\n", fields), "REGISTER", "sip:x", "u", "p")
			if c.want == "" {
				if err != ErrChallenge {
					t.Errorf("%v: %s", err, got)
				}
				return
			}
			if err != nil || !strings.HasPrefix(string(got), "Authorization: Digest ") || !strings.Contains(string(got), c.want) {
				t.Errorf("%v\n%s\nwant %s", err, got, c.want)
			}
		})
	}
	if _, stale, err := Answer(nil, parseMessage(t, "SIP/2.0 401 Unauthorized\n", "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", stale=TRUE\r\n"), "REGISTER", "sip:x", "u", "p"); err != nil || !stale {
		t.Errorf("stale: %v, %v", stale, err)
	}
}

type fixedSecret struct{ ha1 HA1 }

func (f fixedSecret) HA1(_, username string) (HA1, any, bool) {
	return f.ha1, nil, username == "trunk"
}
func (fixedSecret) Previous(any) (HA1, bool) { return HA1{}, false }
func (fixedSecret) OffersSHA256(string) bool { return true }

func parseMessage(t *testing.T, start, fields string) *sip.Message {
	t.Helper()
	method := "INVITE"
	m := &sip.Message{}
	text := strings.ReplaceAll(fmt.Sprintf("%sVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\nMax-Forwards: 70\nFrom: <sip:a@example.com>;tag=a\nTo: <sip:b@example.com>\nCall-ID: c\nCSeq: 1 %s\n", start, method), "\n", "\r\n") + fields + "Content-Length: 0\r\n\r\n"
	if err := m.Parse([]byte(text)); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return m
}
