package sip

import (
	"strings"
	"testing"
)

// register is a refresh as a desk phone sends it, with digest credentials.
var register = strings.ReplaceAll(`REGISTER sip:sip.example.com SIP/2.0
Via: SIP/2.0/UDP 192.0.2.17:5060;branch=z9hG4bK1d2c3b4a59;rport
Max-Forwards: 70
From: "Alice" <sip:alice@sip.example.com>;tag=a6c85cf3b1
To: "Alice" <sip:alice@sip.example.com>
Call-ID: 4fde34a1b2c3@192.0.2.17
CSeq: 43 REGISTER
Contact: <sip:alice@192.0.2.17:5060;transport=udp>;expires=600
Authorization: Digest username="alice",realm="sip.example.com",nonce="0f1e2d3c4b5a69788796a5b4c3d2e1f0",uri="sip:sip.example.com",response="00112233445566778899aabbccddeeff",algorithm=MD5,cnonce="6b8b4567",nc=00000002,qop=auth
User-Agent: Deskphone 4.1.2
Content-Length: 0

`, "\n", "\r\n")

func BenchmarkParse(b *testing.B) {
	buf := []byte(register)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	var m Message
	for b.Loop() {
		if err := m.Parse(buf); err != nil {
			b.Fatal(err)
		}
	}
}
