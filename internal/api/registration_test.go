package api

import (
	"net/netip"
	"testing"

	"onhook/internal/account"
	"onhook/internal/location"
	"onhook/internal/sip"
)

// sip_contact is the host:port of the Contact, or where it came from.
func TestSIPContact(t *testing.T) {
	for _, c := range []struct {
		contact string
		via     sip.Transport
		from    string
		want    string
	}{
		{"sip:john@192.168.1.100:5060", sip.UDP, "203.0.113.9:40212", "192.168.1.100:5060"},
		{"sip:192.168.1.100:5070", sip.UDP, "203.0.113.9:40212", "192.168.1.100:5070"},
		{"sip:john@phone.example.com", sip.TCP, "203.0.113.9:40212", "phone.example.com:5060"},
		// RFC 3261 19.1.2: the default port depends on transport and scheme.
		{"sip:john@192.168.1.100;transport=tls", sip.TLS, "203.0.113.9:40212", "192.168.1.100:5061"},
		{"sips:john@192.168.1.100", sip.TLS, "203.0.113.9:40212", "192.168.1.100:5061"},
		{"sip:john@192.168.1.100", sip.TLS, "203.0.113.9:40212", "192.168.1.100:5061"},
		{"sip:john@192.168.1.100;transport=ws", sip.WS, "203.0.113.9:40212", "192.168.1.100:80"},
		{"sip:john@192.168.1.100", sip.WSS, "203.0.113.9:40212", "192.168.1.100:443"},
		{"sip:john@[2001:db8::1]", sip.UDP, "[2001:db8::1]:5060", "[2001:db8::1]:5060"},
		{"sip:john@[2001:db8::1]:5070;ob", sip.UDP, "[2001:db8::1]:5070", "[2001:db8::1]:5070"},
		// RFC 7118 5: a browser's host under .invalid names nothing.
		{"sip:x@df7jal23ls0d.invalid;transport=ws", sip.WSS, "203.0.113.9:40212", "203.0.113.9:40212"},
		{"sip:x@DF7JAL23LS0D.INVALID.;transport=ws", sip.WSS, "[::ffff:203.0.113.9]:40212", "203.0.113.9:40212"},
		{"sip:x@invalid", sip.WSS, "[2001:db8::7]:40212", "[2001:db8::7]:40212"},
		{"sip:x@notinvalid", sip.UDP, "203.0.113.9:40212", "notinvalid:5060"},
		{"tel:+4930123456", sip.UDP, "203.0.113.9:40212", "203.0.113.9:40212"},
	} {
		b := location.Binding{Contact: c.contact, Flow: sip.Flow{Transport: c.via, Remote: netip.MustParseAddrPort(c.from)}}
		got := fullEndpoint(account.Endpoint{}, nil, []location.Binding{b}).SIPContact
		if got == nil || *got != c.want {
			t.Errorf("%s over %s from %s: %v, want %s", c.contact, c.via, c.from, got, c.want)
		}
	}
}
