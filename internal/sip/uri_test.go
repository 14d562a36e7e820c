package sip

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParseURI(t *testing.T) {
	for _, c := range []struct {
		in   string
		want URI // without Opaque
	}{
		{"sip:example.com", URI{Scheme: "sip", Host: "example.com"}},
		{"SIPS:alice@example.com", URI{Scheme: "SIPS", User: "alice", HasUser: true, Host: "example.com"}},
		{"sip:alice:secret@example.com:5070;transport=tcp;lr?a=b&c=", URI{Scheme: "sip", User: "alice", Password: "secret", HasUser: true,
			Host: "example.com", Port: 5070, Params: ";transport=tcp;lr", Headers: "a=b&c="}},
		{"sip:[2001:db8::1]", URI{Scheme: "sip", Host: "[2001:db8::1]"}},
		{"sip:a@[::1]:5060;ob", URI{Scheme: "sip", User: "a", HasUser: true, Host: "[::1]", Port: 5060, Params: ";ob"}},
		{"sip:*97#@192.0.2.1", URI{Scheme: "sip", User: "*97#", HasUser: true, Host: "192.0.2.1"}}, // dialled on real phones
		{"sip:a@df7jal23ls0d.invalid;transport=ws", URI{Scheme: "sip", User: "a", HasUser: true, Host: "df7jal23ls0d.invalid", Params: ";transport=ws"}},
		{"sip:a@h;x=Zm9v==", URI{Scheme: "sip", User: "a", HasUser: true, Host: "h", Params: ";x=Zm9v=="}},
		// RFC 3966 5.1.1: the number, then its parameters
		{"tel:+1-201-555-0123;ext=5", URI{Scheme: "tel", User: "+1-201-555-0123", HasUser: true, Params: ";ext=5"}},
		{"urn:service:sos", URI{Scheme: "urn"}},
	} {
		u, err := ParseURI(c.in)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		_, c.want.Opaque, _ = strings.Cut(c.in, ":")
		is(t, c.in, u, c.want)
		is(t, "written", u.String(), c.in)
		is(t, "appended", string(u.Append([]byte("x"))), "x"+c.in)
	}
	for _, bad := range []string{
		"", "sip", "sip:", ":a", "1sip:a", "sip:@h", "sip::p@h", "sip:a@", "sip:a@h:", "sip:a@h:0", "sip:a@h:65536", "sip:a@h:1x",
		"sip:a b@h", "sip:a@h;", "sip:a@h;;x", "sip:a@h;=x", "sip:a@h?", "sip:a%2@h", "sip:a%zz@h", "sip:a@h;p=%4", "sip:a@h?x=%4",
		"sip:[::1", "sip:[::1]x", "sip:[1.2.3.4]", "sip:[::1%25eth0]", "sip:[]", "sip:2001:db8::1", "sip:.h", "sip:-h", "sip:h_é",
		"<sip:a@h>", "sip:a@h>", "urn:a b", "urn:\"", "tel:", "tel:;x", "tel:+1;;", "sip:" + strings.Repeat("a", 256),
	} {
		if u, err := ParseURI(bad); err != ErrURI {
			t.Errorf("%q: %+v, %v", bad, u, err)
		}
	}
}

// RFC 3261 19.1.4: its own examples, and IPv6 by RFC 5954 4.2.
func TestURIEqual(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp", true},
		{"sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", true},
		{"sip:carol@chicago.com", "sip:carol@chicago.com;security=on", true},
		{"sip:carol@chicago.com;security=on", "sip:carol@chicago.com;newparam=5", true},
		{"sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com", "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com", true},
		{"sip:alice@atlanta.com?subject=project%20x&priority=urgent", "sip:alice@atlanta.com?priority=urgent&subject=project%20x", true},
		{"SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP", false},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", false},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp", false},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp", false},
		{"sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting", false},
		{"sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4", false},
		{"sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off", false},
		{"sip:a@h;user=phone", "sip:a@h", false},
		{"sip:a@h;tt%6C=1", "sip:a@h", false},
		{"sip:a@h;maddr=1.2.3.4", "sip:a@h;MADDR=1.2.3.4", true},
		{"sip:a@h;%6Cr", "sip:a@h;lr", true},
		{"sip:a@h;x=%41", "sip:a@h;x=a", true},
		{"sips:a@h", "sip:a@h", false},
		{"sip:a@h", "sip:h", false},
		{"sip:a:p@h", "sip:a@h", false},
		{"sip:a:p@h", "sip:a:P@h", false},
		{"sip:a@[2001:DB8:0::1]", "sip:a@[2001:db8::1]", true},
		{"sip:a@[2001:db8::1]", "sip:a@[2001:db8::2]", false},
		{"tel:+1", "TEL:+1", true},
		{"tel:+1", "sip:+1@h", false},
		{"urn:a:b", "urn:a:B", false},
	} {
		a, b := mustURI(t, c.a), mustURI(t, c.b)
		if a.Equal(b) != c.want || b.Equal(a) != c.want {
			t.Errorf("%s and %s: %v, %v; want %v", c.a, c.b, a.Equal(b), b.Equal(a), c.want)
		}
	}
}

func TestURITransport(t *testing.T) {
	for in, want := range map[string]Transport{
		"sip:h": 0, "sip:h;transport=udp": UDP, "sip:h;Transport=TCP": TCP, "sip:h;transport=sctp": 0, "sip:h;tr%61nsport=ws": WS,
		"sips:h": TLS, "sips:h;transport=tcp": TLS, "sips:h;transport=ws": WSS, "sip:h;transport=wss": WSS,
	} {
		is(t, in, mustURI(t, in).Transport(), want)
	}
}

func TestParseHostAddr(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "[2001:db8::1]": "2001:db8::1", "2001:db8::1": "2001:db8::1", "::1": "::1", "fe80::a": "fe80::a",
		"": "", "[": "", "[]": "", "[1.2.3.4]": "", "host1": "", "1.2.3": "", "example.com": "", "fe80::1%eth0": "", "[fe80::1%1]": "", "abc.de": "",
	} {
		a, ok := ParseHostAddr(in)
		if want == "" {
			is(t, in, ok, false)
		} else {
			is(t, in, a, netip.MustParseAddr(want))
		}
	}
	a, ok := mustURI(t, "sip:a@[::1]:5060").Addr()
	is(t, "addr", a.String(), "::1")
	is(t, "addr", ok, true)
}

// RFC 3261 19.1.2: what may not stand in a user part is escaped.
func TestEscapes(t *testing.T) {
	is(t, "user", string(AppendUser(nil, "a b@ü;/#%:")), "a%20b%40%C3%BC;/%23%25%3A")
	is(t, "unescape", Unescape("a%20b%4%zz%41"), "a b%4%zzA")
	is(t, "quoted", string(AppendQuoted(nil, "a\"b\\\r\n\x01")), "\"a\\\"b\\\\  \\\x01\"")
	is(t, "unquote", Unquote(`"a\"b\\c"`), `a"b\c`)
	is(t, "unquote nothing", Unquote(`a"b"`), `a"b"`)
	is(t, "unquote a quote", Unquote(`"`), `"`)
}
