package sip

import "testing"

// RFC 7616 3.4: the credentials of a client.
func TestParseDigest(t *testing.T) {
	d, err := ParseDigest(`dIgEsT  username="a\"b", realm = "r, s",nonce="n==",uri="sip:x;y,z",response=abc,ALGORITHM=SHA-256,` +
		`cnonce="c",nc=0000000a,qop="auth",opaque="",unknown="q" , `)
	is(t, "error", err, nil)
	is(t, "all", d, DigestCredentials{Username: `a"b`, Realm: "r, s", Nonce: "n==", URI: "sip:x;y,z", Response: "abc",
		Algorithm: "SHA-256", CNonce: "c", NC: "0000000a", QOP: "auth"})

	const whole = `username="u",realm="r",nonce="n",uri="sip:x",response="0"`
	if _, err := ParseDigest("Digest\t" + whole); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{
		`Digest username="u"`, `Digest ` + whole + `,x`, `Digest ` + whole + `,x="`, `Digest ` + whole + `,cnonce="a"b`, `Digest =1,` + whole,
		`Digest ` + whole + `,username="v"`, // RFC 7235 2.1: once only
		`Digest username="",realm="r",nonce="n",uri="sip:x",response="0"`,
	} {
		if d, err := ParseDigest(bad); err != ErrDigest {
			t.Errorf("%s: %+v, %v", bad, d, err)
		}
	}
	for _, other := range []string{"", "Digest", "Basic YTpi", "Digestive x=1", `"Digest" x`} {
		if _, err := ParseDigest(other); err != ErrScheme {
			t.Errorf("%q: %v", other, err)
		}
	}
}
