package sippeer

import (
	"bufio"
	"strings"
	"testing"
)

// RFC 7616 3.9.1: the example exchange has a known answer, but for the cnonce,
// which is ours; so the same arithmetic is checked without qop, where RFC 2617's
// rule H(H(A1):nonce:H(A2)) leaves nothing random.
func TestDigestArithmetic(t *testing.T) {
	challenge := `Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"`
	c := Credentials{Username: "Mufasa", Password: "Circle Of Life"}
	got, err := c.Answer([]string{challenge}, "GET", "/dir/index.html", 1)
	if err != nil || !strings.Contains(got, `response="670fd8c2df070c60b045671b8b24ff02"`) {
		t.Fatalf("got %s, %v", got, err)
	}
}

func TestParseKeepsListsAndFolding(t *testing.T) {
	m, err := Parse([]byte("SIP/2.0 200 OK\r\nv: SIP/2.0/UDP a;branch=z9hG4bK1,\r\n SIP/2.0/TCP b\r\nt: \"x, y\" <sip:a@b>;tag=7\r\nCSeq: 1 INVITE\r\nl: 2\r\n\r\nhi"))
	if err != nil {
		t.Fatal(err)
	}
	if got := m.All("Via"); len(got) != 2 || m.Branch() != "z9hG4bK1" {
		t.Fatalf("Via %q, branch %q", got, m.Branch())
	}
	if Param(m.Get("To"), "tag") != "7" || Address(m.Get("To")) != "sip:a@b" || m.Status() != 200 || m.Method() != "INVITE" || m.Body != "hi" {
		t.Fatalf("read wrongly: %+v", m)
	}
}

func TestStreamIsCutByContentLength(t *testing.T) {
	r := bufio.NewReader(strings.NewReader("\r\n\r\nMESSAGE sip:a SIP/2.0\r\nl: 3\r\n\r\nabcSIP/2.0 200 OK\r\n\r\n"))
	first, err := readMessage(r)
	if err != nil || !strings.HasSuffix(string(first), "\r\n\r\nabc") {
		t.Fatalf("first %q, %v", first, err)
	}
	second, err := readMessage(r)
	if err != nil || string(second) != "SIP/2.0 200 OK\r\n\r\n" {
		t.Fatalf("second %q, %v", second, err)
	}
}
