package sip

import (
	"net/netip"
	"testing"
)

// The way of a REGISTER through this package allocates nothing.
func TestAllocations(t *testing.T) {
	buf := []byte(register)
	invite := tortureFile(t, "wsinv")
	var m, w Message
	if m.Parse(buf) != nil || w.Parse(invite) != nil {
		t.Fatal("the messages do not parse")
	}
	out := make([]byte, 0, 2048)
	auth, _ := m.Value(Authorization)
	contact, _ := m.Value(Contact)
	other := mustURI(t, "sip:%61lice@[2001:db8::1]:5060;transport=UDP")
	var f Framer
	var sink int
	for what, do := range map[string]func(){
		"Parse":         func() { _ = m.Parse(buf) },
		"Parse, folded": func() { _ = w.Parse(invite) },
		"ParseURI":      func() { u, _ := ParseURI("sip:alice@[2001:db8::1]:5060;transport=udp?x=y"); sink += len(u.Host) },
		"ParseHostAddr": func() { _, ok := ParseHostAddr("host1"); sink += len(contact); _ = ok },
		"Equal":         func() { u, _ := ParseURI("sip:alice@[2001:DB8::1]:5060;transport=udp"); _ = u.Equal(other) },
		"ParseNameAddr": func() { a, _ := ParseNameAddr(contact); n, _ := a.Expires(); sink += int(n) },
		"ParseVia":      func() { v, _ := ParseVia("SIP / 2.0 / UDP [::1]:5060;branch=z9hG4bK1;rport"); sink += len(v.Branch()) },
		"ParseDigest":   func() { d, _ := ParseDigest(auth); sink += len(d.Nonce) },
		"Values": func() {
			for c := m.Values(Contact); c.Next(); {
				sink += len(c.Value)
			}
		},
		"HasOption":      func() { _ = w.HasOption(Supported, "path") },
		"Frame":          func() { n, _ := Frame(buf); sink += n },
		"Framer":         func() { n, _ := f.Next(buf); sink += n },
		"AppendReply":    func() { out = AppendBody(AppendReply(out[:0], &m, testSource, 200, "", "tag"), nil) },
		"AppendAddrPort": func() { out = AppendAddrPort(out[:0], netip.MustParseAddrPort("192.0.2.1:5060")) },
		"AppendUser":     func() { out = AppendQuoted(AppendUser(out[:0], "a b"), "c\"d") },
	} {
		if n := testing.AllocsPerRun(100, do); n != 0 {
			t.Errorf("%s allocates %v times", what, n)
		}
	}
	if sink == 0 {
		t.Error("nothing was read")
	}
}
