package sip

import "testing"

func TestParseNameAddr(t *testing.T) {
	for _, c := range []struct {
		in   string
		want NameAddr
	}{
		{"sip:a@b", NameAddr{"", "sip:a@b", ""}},
		{"<sip:a@b;lr>", NameAddr{"", "sip:a@b;lr", ""}},
		{" Ann Lee <sip:a@b>;tag=1 ", NameAddr{"Ann Lee", "sip:a@b", ";tag=1"}},
		{`"A, <B> \"C\""<sip:a@b?x=y>;q=0.5`, NameAddr{`"A, <B> \"C\""`, "sip:a@b?x=y", ";q=0.5"}},
		{`"" <sip:a@b>`, NameAddr{`""`, "sip:a@b", ""}},
		{"Zoë <sip:a@b>", NameAddr{"Zoë", "sip:a@b", ""}}, // phones write UTF-8 without quotes
		// RFC 3261 20.10: without brackets parameters are the header's
		{"sip:a@b;user=phone ; tag = 2", NameAddr{"", "sip:a@b", ";user=phone ; tag = 2"}},
		{"sip:a@b ;tag=2", NameAddr{"", "sip:a@b", ";tag=2"}},
		{`sip:a@b;+sip.instance="<urn:uuid:1>"`, NameAddr{"", "sip:a@b", `;+sip.instance="<urn:uuid:1>"`}},
		{"<tel:+1;ext=2>;x", NameAddr{"", "tel:+1;ext=2", ";x"}},
	} {
		a, err := ParseNameAddr(c.in)
		if err != nil {
			t.Errorf("%q: %v", c.in, err)
			continue
		}
		is(t, c.in, a, c.want)
	}
	for _, bad := range []string{
		"", "*", "a@b", "<>", "<a>", "<sip:>", "<sip:a@b", "sip:a@b>", "< sip:a@b>", "<sip:a@b >", "<sip:a b>", `"a <sip:a@b>`, `"a" sip:a@b`,
		"A, B <sip:a@b>", "A@B <sip:a@b>", "sip:a@b,sip:c@d", "sip:a@b?x=y", "<sip:a@b>x", "<sip:a@b>;", "<sip:a@b>;;x", "<sip:a@b>;x=",
		"<sip:a@b>;=x", "<sip:a@b>;x=\"y", "<sip:a@b>, <sip:c@d>", "<sip:a@b>;x=y z", "<sip:a@b>;x=<y>", "1sip:a", "\"a\x01\" <sip:a@b>",
	} {
		if a, err := ParseNameAddr(bad); err != ErrNameAddr {
			t.Errorf("%q: %+v, %v", bad, a, err)
		}
	}
}

// RFC 3261 20.10: a malformed expires counts as 3600.
func TestExpires(t *testing.T) {
	for in, want := range map[string]uint32{
		"60": 60, "0": 0, "4294967295": 1<<32 - 1, "4294967296": 1<<32 - 1, "99999999999999999999999": 1<<32 - 1, "soon": 3600, `"60"`: 3600, "-1": 3600,
	} {
		n, ok := mustAddr(t, "<sip:a@b>;Expires="+in).Expires()
		is(t, in, n, want)
		is(t, in, ok, true)
	}
	n, ok := mustAddr(t, "<sip:a@b>;expires").Expires()
	is(t, "empty", n == 3600 && ok, true)
	_, ok = mustAddr(t, "<sip:a@b;expires=1>").Expires()
	is(t, "of the URI", ok, false)
}

func TestParams(t *testing.T) {
	p := Params(`;a=1; B = "x;y,\"z" ;lr;c=d=e;`)
	var got []string
	for rest := p; ; {
		n, v, next, ok := rest.Next()
		if !ok {
			break
		}
		got = append(got, n+"|"+v)
		rest = next
	}
	want := []string{"a|1", `B|"x;y,\"z"`, "lr|", "c|d=e"}
	if len(got) != len(want) {
		t.Fatalf("got %q", got)
	}
	for i := range want {
		is(t, "parameter", got[i], want[i])
	}
	v, ok := p.Get("b")
	is(t, "b", Unquote(v), `x;y,"z`)
	is(t, "b there", ok, true)
	is(t, "lr", p.Has("LR"), true)
	is(t, "x", p.Has("x"), false)
	// The Kelvin sign is no k: SIP folds ASCII alone.
	is(t, "Kelvin", Params(";\u212a=1").Has("k"), false)
}

func TestParseVia(t *testing.T) {
	for _, c := range []struct {
		in   string
		want ViaValue
	}{
		{"SIP/2.0/UDP h", ViaValue{Transport: "UDP", Host: "h", Port: 0, Params: ""}},
		{"SIP/2.0/TLS 192.0.2.1:5061;branch=z9hG4bK1;rport", ViaValue{Transport: "TLS", Host: "192.0.2.1", Port: 5061, Params: ";branch=z9hG4bK1;rport", branch: "z9hG4bK1", rport: true}},
		{"sip / 2.0 / tcp  h : 5060 ; ttl = 3", ViaValue{Transport: "tcp", Host: "h", Port: 5060, Params: "; ttl = 3"}},
		{"SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bK2", ViaValue{Transport: "WSS", Host: "df7jal23ls0d.invalid", Port: 0, Params: ";branch=z9hG4bK2", branch: "z9hG4bK2"}},
		{"SIP/2.0/UDP [2001:db8::1]", ViaValue{Transport: "UDP", Host: "[2001:db8::1]", Port: 0, Params: ""}},
		{"SIP/2.0/UDP [2001:db8::1]:5070;received=2001:db8::9", ViaValue{Transport: "UDP", Host: "[2001:db8::1]", Port: 5070, Params: ";received=2001:db8::9", received: true}},
		{"SIP/2.0/UDP host_1:0", ViaValue{Transport: "UDP", Host: "host_1", Port: 0, Params: ""}},
	} {
		v, err := ParseVia(c.in)
		is(t, c.in, v, c.want)
		is(t, c.in, err, nil)
	}
	for _, bad := range []string{
		"", "SIP/2.0/UDP", "SIP/2.0/UDP ", "SIP/2.0/UDPh", "SIP/2.0 UDP h", "HTTP/2.0/UDP h", "SIP/3.0/UDP h", "SIP/2.0/UDP h:x", "SIP/2.0/UDP h:65536",
		"SIP/2.0/UDP h;", "SIP/2.0/UDP h;;branch=1", "SIP/2.0/UDP ::1", "SIP/2.0/UDP [::1", "SIP/2.0/UDP h i", "SIP/2.0/UDP ;branch=1", "SIP/2.0/UDP h:1:2", "SIP/2.0/U/P h",
	} {
		if v, err := ParseVia(bad); err != ErrVia {
			t.Errorf("%q: %+v, %v", bad, v, err)
		}
	}
	v, _ := ParseVia("SIP/7.0/UDP h:5;branch=1")
	is(t, "of another version", v, ViaValue{Transport: "UDP", Host: "h", Port: 5, Params: ";branch=1", branch: "1"})
	is(t, "branch", v.Branch(), "1")
}
