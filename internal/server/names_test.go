package server

import (
	"net/netip"
	"testing"

	"onhook/internal/directory"
)

func TestNames(t *testing.T) {
	n := newNames([]string{"example.com", "192.0.2.1"}, directory.New())
	n.listen(netip.MustParseAddrPort("192.0.2.1:5060"), "sip.example.net:5080")
	n.listen(netip.MustParseAddrPort("[2001:db8::1]:5061"), "")
	for _, c := range []struct {
		host   string
		port   uint16
		domain string
	}{
		{"example.com", 0, "example.com"},
		{"EXAMPLE.com", 5060, "example.com"},
		{"example.com", 9999, "example.com"},
		{"192.0.2.1", 0, "192.0.2.1"},
		{"192.0.2.1", 5060, "192.0.2.1"},
		{"192.0.2.1", 9999, ""}, // somebody else's port
		{"sip.example.net", 5080, "example.com"},
		{"[2001:db8::1]", 5061, "example.com"},
		{"[2001:db8::2]", 5061, ""},
		{"elsewhere.example", 0, ""},
		{"app.example.com", 0, ""},
	} {
		if domain, ok := n.Domain(c.host, c.port); domain != c.domain || ok != (c.domain != "") {
			t.Errorf("%s:%d is %q, %v, wants %q", c.host, c.port, domain, ok, c.domain)
		}
	}
	if !n.AppDomain("App.Example.com") || n.AppDomain("example.com") || n.AppDomain("app.elsewhere.example") {
		t.Error("application domain")
	}
}
