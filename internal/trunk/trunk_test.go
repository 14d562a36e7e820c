package trunk

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"onhook/internal/sip"
)

func table(t *testing.T, region string, trunks []Trunk, numbers ...Number) *Table {
	t.Helper()
	table, err := NewTable(region, "example.com")
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Set(trunks, numbers); err != nil {
		t.Fatal(err)
	}
	return table
}

// Numbers become E.164 where they are one; short codes and what is no number
// stay as dialled.
func TestNormal(t *testing.T) {
	for _, c := range []struct{ region, dialled, want string }{
		{"", "+49-30-123 456", "+4930123456"},
		{"", "+1 (415) 555-2671", "+14155552671"},
		{"", "030123456", "030123456"},
		{"DE", "030/123456", "+4930123456"},
		{"DE", "030 123456", "+4930123456"},
		{"DE", "0049 30 123456", "+4930123456"},
		{"DE", "0043.1.234567", "+431234567"},
		{"US", "4155552671", "+14155552671"},
		{"US", "0114930123456", "+4930123456"},
		{"DE", "110", "110"},
		{"US", "911", "911"},
		{"DE", "+", "+"},
		{"DE", "", ""},
	} {
		if got := table(t, c.region, nil).Normal(c.dialled); got != c.want {
			t.Errorf("%s in %q: %s, want %s", c.dialled, c.region, got, c.want)
		}
	}
	if _, err := NewTable("XX", ""); !errors.Is(err, ErrRegion) {
		t.Errorf("region XX: %v", err)
	}
}

// The trunks for a number: longest prefix, then priority, then weight; each gets
// the number in its own form.
func TestCandidates(t *testing.T) {
	table := table(t, "DE", []Trunk{
		{Name: "rest", URI: "sip:rest.example", Priority: 1},
		{Name: "spare", URI: "sip:spare.example", Priority: 9},
		{Name: "de", URI: "sip:de.example", Prefixes: []string{"+49"}, Strip: 3, Prepend: "0"},
		{Name: "berlin", URI: "sip:b.example:5070", Prefixes: []string{"+43", "+4930"}, Strip: 1},
	})
	for dialled, want := range map[string]string{
		"030 123456":    "berlin 4930123456, de 030123456, rest +4930123456, spare +4930123456",
		"+49 89 123456": "de 089123456, rest +4989123456, spare +4989123456",
		"+14155552671":  "rest +14155552671, spare +14155552671",
		"110":           "rest 110, spare 110",
	} {
		var got []string
		for _, c := range table.Candidates(dialled) {
			got = append(got, c.Line.Name+" "+c.Number)
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%s: %v, want %s", dialled, got, want)
		}
	}
	if got := table.Candidates("+49301")[0].Line.Address("1"); got != "sip:1@b.example:5070" {
		t.Errorf("address %s", got)
	}
}

// Within a priority, trunks share calls by their weights.
func TestWeights(t *testing.T) {
	table := table(t, "", []Trunk{
		{Name: "a", URI: "sip:a.example", Weight: 3}, {Name: "b", URI: "sip:b.example", Weight: 1}, {Name: "never", URI: "sip:c.example"},
	})
	first := map[string]int{}
	for n := range 4 {
		table.rand = func(sum int) int { return n % sum }
		first[table.Candidates("+1")[0].Line.Name]++
	}
	if first["a"] != 3 || first["b"] != 1 {
		t.Errorf("%v", first)
	}
}

// A limit of calls holds across a change of the configuration, and ends when it
// does.
func TestLimit(t *testing.T) {
	one := Trunk{Name: "a", URI: "sip:a.example", MaxCalls: 2}
	table := table(t, "", []Trunk{one})
	line := table.Lines()[0]
	if first, second := line.Take(false), line.Take(false); !first || !second || line.Take(false) {
		t.Error("two calls, and no third")
	}
	if one.Prepend = "0"; table.Set([]Trunk{one}, nil) != nil || table.Lines()[0].Calls() != 2 || table.Lines()[0].Take(false) {
		t.Errorf("after a change: %d calls", table.Lines()[0].Calls())
	}
	line.Leave()
	if !table.Lines()[0].Take(false) {
		t.Error("a line was left and is not free")
	}
	if table.Set(nil, nil); table.Line(line.ID) != nil {
		t.Error("a trunk that is gone is found")
	}
}

// What comes from a trunk's networks, or from where we are registered, is the
// trunk's.
func TestFrom(t *testing.T) {
	table := table(t, "", []Trunk{
		{Name: "a", URI: "sip:a.example", Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/28")}},
		{Name: "b", URI: "sip:b.example"},
	})
	registered := netip.MustParseAddr("198.51.100.7")
	table.Lines()[1].SetRegistration(&Registration{State: Registered, Address: netip.AddrPortFrom(registered, 5060)})
	for addr, want := range map[string]string{"192.0.2.3": "a", "::ffff:192.0.2.3": "a", "192.0.2.16": "", "198.51.100.7": "b", "198.51.100.8": ""} {
		if got := from(table, addr, ""); got != want {
			t.Errorf("%s: %q, want %q", addr, got, want)
		}
	}
	if table.Lines()[1].SetRegistration(nil); from(table, "198.51.100.7", "") != "" {
		t.Error("no longer registered, and still trusted")
	}
}

// A trunk over TLS is known by the name in its certificate, too.
func TestFromTLS(t *testing.T) {
	networks := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/28")}
	for _, c := range []struct {
		uri, transport, name string
		want                 string // who it must be, "" where the address is enough
	}{
		{"sip:carrier.example", "", "", ""},
		{"sip:carrier.example", "udp", "", ""},
		{"sip:carrier.example", "tls", "", "carrier.example"},
		{"sip:carrier.example;transport=TLS", "", "", "carrier.example"},
		{"sips:carrier.example", "", "", "carrier.example"},
		{"sips:[2001:db8::1]:5061", "", "", "2001:db8::1"},
		{"sips:carrier.example", "", "sbc.carrier.example", "sbc.carrier.example"},
		{"sip:carrier.example", "", "carrier.example", "carrier.example"},
		{"sips:carrier.example", "", AnyName, ""},
	} {
		table := table(t, "", []Trunk{{Name: "a", URI: c.uri, Transport: c.transport, TLSName: c.name, Networks: networks}})
		for _, shown := range []string{"", "carrier.example", "sbc.carrier.example", "other.example", "2001:db8::1"} {
			want := ""
			if c.want == "" || shown == c.want {
				want = "a"
			}
			if got := from(table, "192.0.2.3", shown); got != want {
				t.Errorf("%+v: one who shows to be %q is %q", c, shown, got)
			}
			if got := from(table, "192.0.2.99", shown); got != "" {
				t.Errorf("%+v: from another address it is %q", c, got)
			}
		}
		if asked := table.Identifies(networks[0].Addr()); asked != (c.want != "") || table.Identifies(netip.MustParseAddr("192.0.2.99")) {
			t.Errorf("%+v: asked for a certificate: %t", c, asked)
		}
	}
}

// peer is somebody who has shown to be a domain.
type peer string

func (p peer) Certified(_ sip.Flow, domain string) bool { return string(p) == domain }

// from names the trunk that somebody at an address is.
func from(table *Table, addr, shown string) string {
	if l := table.From(sip.Flow{Remote: netip.AddrPortFrom(netip.MustParseAddr(addr), 5060)}, peer(shown)); l != nil {
		return l.Name
	}
	return ""
}

func TestNumbers(t *testing.T) {
	table := table(t, "DE", nil, Number{Number: "+4930103", Application: "app"}, Number{Number: "+4930100", Endpoint: "Bob"},
		Number{Number: "+4930101", Endpoint: "bob"}, Number{Number: "+4930102", Endpoint: "carol@other.example"})
	for dialled, want := range map[string]string{"+4930100": "bob@example.com", "030 101": "bob@example.com", "+49-30-102": "carol@other.example", "+4930103": "@app", "+4930104": "@"} {
		c, ok := table.Callee(dialled)
		if got := c.User + "@" + c.Domain + c.Application; got != want || ok != (want != "@") {
			t.Errorf("%s rings %s, %t, want %s", dialled, got, ok, want)
		}
	}
	if got := table.NumberOf("BOB", "Example.com"); got != "+4930100" {
		t.Errorf("bob's number is %s", got)
	}
	if got := table.NumberOf("bob", "other.example"); got != "" {
		t.Errorf("another bob's number is %s", got)
	}
}

// Everything wrong is said at once, and changes nothing.
func TestValidate(t *testing.T) {
	bad := Trunk{Name: "a b", URI: "sip:user@x", Transport: "ws", Username: "u", Register: true, RegisterExpires: 1, Prefixes: []string{"x"},
		Strip: -1, Prepend: "a", CallerID: "me", CallerIDIn: "to", Priority: -1, Weight: -1, MaxCalls: -1, TLSName: "-"}
	fields := map[string]bool{}
	for _, p := range bad.Validate() {
		fields[p.Field] = true
	}
	for _, f := range strings.Fields("name uri password register_expires prefixes strip prepend caller_id caller_id_in priority weight max_calls tls_name") {
		if !fields[f] {
			t.Errorf("nothing is wrong with %s", f)
		}
	}
	table := table(t, "", []Trunk{{Name: "a", URI: "sip:a.example"}})
	for _, set := range [][]Trunk{{bad}, {{Name: "b", URI: "sip:b"}, {Name: "b", URI: "sip:c"}}} {
		var problem *Error
		if err := table.Set(set, nil); !errors.As(err, &problem) || len(table.Lines()) != 1 || table.Lines()[0].Name != "a" {
			t.Errorf("%v", err)
		}
	}
	for _, n := range []Number{{Number: "030", Endpoint: "bob"}, {Number: "+4930100"}, {Number: "+4930100", Endpoint: "@x"},
		{Number: "+4930100", Endpoint: "bob", Application: "app"}, {Number: "+4930100", Application: "a b"}} {
		if err := table.Set(nil, []Number{n}); err == nil {
			t.Errorf("%+v is taken", n)
		}
	}
}
