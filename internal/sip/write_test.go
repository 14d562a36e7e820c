package sip

import (
	"net/netip"
	"strings"
	"testing"
)

// RFC 3261 8.2.6 and 18.2.1, RFC 3581 4: what a response copies.
func TestAppendReply(t *testing.T) {
	m, err := parse(request("-Via", "v: SIP/2.0/UDP 192.0.2.9:5062;rport;branch=z9hG4bKr , SIP/2.0/TCP h2;branch=z9hG4bK2", "Via: SIP/2.0/UDP h3", "Timestamp: 54", "Subject: x"))
	if err != nil {
		t.Fatal(err)
	}
	const vias = "Via: SIP/2.0/UDP 192.0.2.9:5062;branch=z9hG4bKr;received=203.0.113.5;rport=40000, SIP/2.0/TCP h2;branch=z9hG4bK2\r\nVia: SIP/2.0/UDP h3\r\n"
	const rest = "Call-ID: c1@192.0.2.9\r\nCSeq: 2 OPTIONS\r\n"
	is(t, "200", string(AppendReply(nil, m, testSource, 200, "", "t9")),
		"SIP/2.0 200 OK\r\n"+vias+"From: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>;tag=t9\r\n"+rest)
	is(t, "100", string(AppendReply(nil, m, testSource, 100, "Trying Hard", "")),
		"SIP/2.0 100 Trying Hard\r\n"+vias+"From: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>\r\n"+rest+"Timestamp: 54\r\n")

	m, err = parse(request("-To", "t: <sip:b@example.com>;tag=there"))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(AppendReply(nil, m, testSource, 404, "", "t9")); !strings.Contains(got, "To: <sip:b@example.com>;tag=there\r\n") {
		t.Errorf("a tag that is there stays:\n%s", got)
	}
}

func TestAppendViaReceived(t *testing.T) {
	for _, c := range []struct{ via, source, want string }{
		// RFC 3261 18.2.1: received only where the source differs
		{"SIP/2.0/UDP 192.0.2.9;branch=b", "192.0.2.9:5060", "SIP/2.0/UDP 192.0.2.9;branch=b"},
		{"SIP/2.0/UDP 192.0.2.9;branch=b", "192.0.2.8:5060", "SIP/2.0/UDP 192.0.2.9;branch=b;received=192.0.2.8"},
		{"SIP/2.0/UDP host1;branch=b", "192.0.2.8:5060", "SIP/2.0/UDP host1;branch=b;received=192.0.2.8"},
		{"SIP/2.0/UDP 192.0.2.9", "[::ffff:192.0.2.9]:5060", "SIP/2.0/UDP 192.0.2.9"},
		{"SIP/2.0/UDP [2001:db8::1]:5070", "[2001:db8::1]:7", "SIP/2.0/UDP [2001:db8::1]:5070"},
		{"SIP/2.0/UDP [2001:db8::1]:5070", "[2001:db8::2]:7", "SIP/2.0/UDP [2001:db8::1]:5070;received=2001:db8::2"},
		{"SIP/2.0/UDP [2001:db8::1];rport", "[fe80::2%eth0]:7", "SIP/2.0/UDP [2001:db8::1];received=fe80::2;rport=7"},
		// RFC 3581 4: rport is filled in, and received is there with it
		{"SIP/2.0/UDP 192.0.2.9 ;rport;branch=b;x=\"y;z\"", "192.0.2.9:61", "SIP/2.0/UDP 192.0.2.9;branch=b;x=\"y;z\";received=192.0.2.9;rport=61"},
		// what a client wrote there itself does not count
		{"SIP/2.0/UDP 192.0.2.9;received=10.0.0.1;rport=1;branch=b", "192.0.2.8:61", "SIP/2.0/UDP 192.0.2.9;branch=b;received=192.0.2.8;rport=61"},
		{"SIP/2.0/UDP 192.0.2.9;received=10.0.0.1", "192.0.2.9:61", "SIP/2.0/UDP 192.0.2.9;received=192.0.2.9"},
	} {
		m, err := parse(request("-Via", "Via: "+c.via))
		if err != nil {
			t.Errorf("%s: %v", c.via, err)
			continue
		}
		is(t, c.via+" from "+c.source, string(AppendViaReceived(nil, m, netip.MustParseAddrPort(c.source))), "Via: "+c.want+"\r\n")
	}
	m, _ := parse(request())
	is(t, "no source", string(AppendViaReceived(nil, m, netip.AddrPort{})), "Via: SIP/2.0/UDP 192.0.2.9:5062;branch=z9hG4bKr\r\n")
}

func TestAppend(t *testing.T) {
	b := AppendRequestLine(nil, INVITE, "sip:a@b")
	b = AppendHeader(b, MaxForwards, "70")
	b = AppendField(b, "X-Y", "z")
	b = AppendNumber(b, Expires, 1<<32-1)
	b = AppendBody(b, []byte("hi"))
	is(t, "request", string(b), "INVITE sip:a@b SIP/2.0\r\nMax-Forwards: 70\r\nX-Y: z\r\nExpires: 4294967295\r\nContent-Length: 2\r\n\r\nhi")
	is(t, "empty body", string(AppendBody(nil, nil)), "Content-Length: 0\r\n\r\n")
	is(t, "IPv6", string(AppendAddrPort(nil, netip.MustParseAddrPort("[fe80::1%x]:5"))), "[fe80::1]:5")
	is(t, "mapped", string(AppendAddrPort(nil, netip.MustParseAddrPort("[::ffff:1.2.3.4]:5"))), "1.2.3.4:5")
	is(t, "status", string(AppendStatusLine(nil, 486, "")), "SIP/2.0 486 Busy Here\r\n")
	is(t, "class", ReasonPhrase(499), "Bad Request")
	is(t, "no class", ReasonPhrase(799), "")
}

func TestTransport(t *testing.T) {
	for _, c := range []struct {
		tr               Transport
		via, param       string
		port             uint16
		reliable, secure bool
		websocket        bool
	}{
		{UDP, "UDP", "udp", 5060, false, false, false}, {TCP, "TCP", "tcp", 5060, true, false, false}, {TLS, "TLS", "tls", 5061, true, true, false},
		{WS, "WS", "ws", 80, true, false, true}, {WSS, "WSS", "wss", 443, true, true, true},
	} {
		for _, s := range []string{c.via, c.param} {
			got, ok := ParseTransport(s)
			is(t, s, got, c.tr)
			is(t, s, ok, true)
		}
		is(t, c.via, c.tr.String()+c.tr.Param(), c.via+c.param)
		is(t, c.via, c.tr.DefaultPort(), c.port)
		is(t, c.via, c.tr.Reliable(), c.reliable)
		is(t, c.via, c.tr.Secure(), c.secure)
		is(t, c.via, c.tr.WebSocket(), c.websocket)
	}
	_, ok := ParseTransport("SCTP")
	is(t, "SCTP", ok, false)
	is(t, "none", Transport(0).String()+Transport(99).Param(), "")
	is(t, "zero flow", Flow{}.IsZero() && !(Flow{Transport: UDP}).IsZero(), true)
}
