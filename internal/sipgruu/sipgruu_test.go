package sipgruu

import (
	"strings"
	"testing"

	"onhook/internal/location"
	"onhook/internal/sip"
)

func parse(t *testing.T, s string) sip.URI {
	t.Helper()
	u, err := sip.ParseURI(s)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return u
}

func newGRUUs(t *testing.T, key string) *GRUUs {
	t.Helper()
	g, err := New([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// RFC 5627 3.1: a public GRUU is the address-of-record with the instance, of
// whatever characters.
func TestPublic(t *testing.T) {
	g := newGRUUs(t, "key")
	for instance, want := range map[string]string{
		"urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6": "sip:alice@example.com;gr=urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
		`a;b="c\ d`: "sip:alice@example.com;gr=a%3Bb%3D%22c%5C%20d",
	} {
		got := string(AppendPublic(nil, "alice", "example.com", instance))
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
		d, ok := g.Read(parse(t, got))
		if !ok || d.Temporary || !d.Names(&location.Binding{InstanceID: strings.ToUpper(instance)}) ||
			d.Names(&location.Binding{InstanceID: instance + "0"}) || d.Names(&location.Binding{}) {
			t.Errorf("%s reads as %+v, %t", got, d, ok)
		}
	}
}

// RFC 5627 3.1: temporary GRUUs hold for one registration, show nothing, and
// are made by nobody else.
func TestTemporary(t *testing.T) {
	g := newGRUUs(t, "key")
	b := location.Binding{InstanceID: "urn:uuid:1", GRUUs: 1}
	one := string(g.AppendTemporary(nil, "example.com", 7, &b))
	two := string(g.AppendTemporary(nil, "example.com", 7, &b))
	if one == two || strings.Contains(one, "uuid") {
		t.Errorf("%s and %s", one, two)
	}
	same := 0
	for i := len("sip:" + prefix); i < len(one)-len("@example.com;gr"); i++ {
		if one[i] == two[i] {
			same++
		}
	}
	if same > 12 { // 75 characters of 64 kinds agree in about one
		t.Errorf("%d characters agree:\n%s\n%s", same, one, two)
	}
	for _, text := range []string{one, two} {
		d, ok := newGRUUs(t, "key").Read(parse(t, text)) // after a restart
		if !ok || !d.Temporary || d.Key != 7 || !d.Names(&b) {
			t.Fatalf("%s reads as %+v, %t", text, d, ok)
		}
		if d.Names(&location.Binding{InstanceID: b.InstanceID, GRUUs: 2}) || d.Names(&location.Binding{InstanceID: "urn:uuid:2", GRUUs: 1}) {
			t.Error("it names another registration")
		}
	}
	if _, ok := newGRUUs(t, "other").Read(parse(t, one)); ok {
		t.Error("another server's is read")
	}
	at := strings.IndexByte(one, '@')
	for _, forged := range []string{
		one[:at-3] + "AAA" + one[at:],
		one[:at-4] + one[at:],
		"sip:" + prefix + strings.Repeat("!", tokenSize) + "@example.com;gr",
		"sip:alice@example.com;gr",
		"sip:alice@example.com",
		"sip:example.com;gr=urn:uuid:1",
		"tel:+1555;gr=urn:uuid:1",
	} {
		if d, ok := g.Read(parse(t, forged)); ok {
			t.Errorf("%s reads as %+v", forged, d)
		}
	}
}

func FuzzRead(f *testing.F) {
	g, err := New([]byte("key"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(g.AppendTemporary(nil, "example.com", 7, &location.Binding{InstanceID: "urn:uuid:1", GRUUs: 1})))
	f.Add(string(AppendPublic(nil, "alice", "example.com", "urn:uuid:1")))
	f.Fuzz(func(t *testing.T, s string) {
		u, err := sip.ParseURI(s)
		if err != nil {
			return
		}
		d, ok := g.Read(u)
		if ok && !Is(u) {
			t.Errorf("%q is read and is none", s)
		}
		if ok && !d.Temporary { // what was read is written and read again alike
			again, _ := sip.ParseURI(string(AppendPublic(nil, "alice", "example.com", d.instance)))
			if e, ok := g.Read(again); !ok || e.instance != d.instance {
				t.Errorf("%q: %q, then %q", s, d.instance, e.instance)
			}
		}
	})
}
