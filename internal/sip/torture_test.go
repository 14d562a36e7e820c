package sip

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const tortureDir = "testdata/torture"

// testSource is where the requests of the tests come from.
var testSource = netip.MustParseAddrPort("203.0.113.5:40000")

// tortureVerdict is one line of verdicts.txt, which says what the words mean.
type tortureVerdict struct {
	section string
	verdict string // accept, refuse, drop, server
	status  int    // 0 where it is dropped
}

func tortureVerdicts(t testing.TB) map[string]tortureVerdict {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(tortureDir, "verdicts.txt"))
	if err != nil {
		t.Fatal(err)
	}
	verdicts := map[string]tortureVerdict{}
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if _, twice := verdicts[f[0]]; twice || len(f) < 3 {
			t.Fatalf("verdicts.txt: %q", line)
		}
		v := tortureVerdict{section: f[1], verdict: f[2]}
		want := 3
		if v.verdict == "refuse" || v.verdict == "server" {
			want = 4
		}
		if len(f) != want {
			t.Fatalf("verdicts.txt: %q: want %d words", line, want)
		}
		if want == 4 && f[3] != "drop" {
			if v.status, err = strconv.Atoi(f[3]); err != nil {
				t.Fatalf("verdicts.txt: %q: %v", line, err)
			}
		}
		verdicts[f[0]] = v
	}
	return verdicts
}

func tortureFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(tortureDir, name+".sip"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// RFC 4475 3: every message it names gets its verdict.
func TestTorture(t *testing.T) {
	verdicts := tortureVerdicts(t)
	files, err := filepath.Glob(filepath.Join(tortureDir, "*.sip"))
	if err != nil || len(files) != 49 {
		t.Fatalf("%d files, want the 49 of RFC 4475: %v", len(files), err)
	}
	for _, file := range files {
		if _, ok := verdicts[strings.TrimSuffix(filepath.Base(file), ".sip")]; !ok {
			t.Errorf("%s has no verdict", file)
		}
	}
	for name, want := range verdicts {
		t.Run(name, func(t *testing.T) {
			var m Message
			err := m.Parse(tortureFile(t, name))
			var refused *Error
			if err != nil && !errors.As(err, &refused) {
				t.Fatalf("error %T is no *Error", err)
			}
			switch want.verdict {
			case "accept", "server":
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
			case "refuse":
				if err == nil {
					t.Fatal("accepted")
				}
				if refused.Status != want.status || !m.Answerable() {
					t.Fatalf("%d %v, answerable %v; want %d", refused.Status, err, m.Answerable(), want.status)
				}
				checkRefusal(t, &m, refused)
			case "drop":
				if err == nil || m.Answerable() {
					t.Fatalf("error %v, answerable %v", err, m.Answerable())
				}
			default:
				t.Fatalf("verdict %q", want.verdict)
			}
		})
	}
}

// checkRefusal writes the answer to a refused request: its Via, and every
// other field a response copies that the request has, are in it.
func checkRefusal(t *testing.T, m *Message, refused *Error) {
	t.Helper()
	reply := string(AppendReply(nil, m, testSource, refused.Status, refused.Reason, "t1"))
	for _, id := range []HeaderID{Via, From, To, CallID, CSeq} {
		if m.Has(id) != strings.Contains(reply, "\r\n"+id.String()+": ") {
			t.Errorf("%v: in the request %v, but the reply is\n%s", id, m.Has(id), reply)
		}
	}
	if !strings.Contains(reply, ";received=203.0.113.5") {
		t.Errorf("no received in\n%s", reply)
	}
}

func parseTorture(t *testing.T, name string) *Message {
	t.Helper()
	m := new(Message)
	if err := m.Parse(tortureFile(t, name)); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return m
}

func values(m *Message, id HeaderID) (all []string) {
	for c := m.Values(id); c.Next(); {
		all = append(all, c.Value)
	}
	return all
}

func is[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %#v, want %#v", what, got, want)
	}
}

func mustURI(t *testing.T, s string) URI {
	t.Helper()
	u, err := ParseURI(s)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return u
}

func mustAddr(t *testing.T, s string) NameAddr {
	t.Helper()
	a, err := ParseNameAddr(s)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return a
}

// RFC 4475 3.1.1.1: folds, compact forms, odd spacing, escapes in quotes.
func TestTortureWsinv(t *testing.T) {
	m := parseTorture(t, "wsinv")
	is(t, "display", Unquote(m.From.Display), `Q \"Inner\"`)
	is(t, "from tag", m.From.Tag(), "77fa3")
	is(t, "to tag", m.To.Tag(), "42x42n")
	is(t, "to", m.To.URI, "sip:conference@room.example.com")
	n, ok := m.Number(MaxForwards)
	is(t, "max-forwards", n, 70)
	is(t, "max-forwards there", ok, true)
	is(t, "cseq", m.CSeq, 12)
	is(t, "cseq method", m.CSeqMethod, INVITE)
	vias := values(m, Via)
	is(t, "vias", len(vias), 3)
	is(t, "top via", m.Via.Host+" "+m.Via.Branch()+" "+m.Via.Transport, "198.51.100.20 48fjq2 UDP")
	second, err := ParseVia(vias[1])
	is(t, "second via", second.Host+" "+second.Branch()+" "+second.Transport, "hop2.example.com z9hG4bKwsinv2 TCP")
	is(t, "second via error", err, nil)
	third, err := ParseVia(vias[2])
	is(t, "third via", third.Branch(), "z9hG4bKwsinv3")
	is(t, "third via error", err, nil)
	subject, ok := m.Value(Subject)
	is(t, "subject", subject, "")
	is(t, "subject there", ok, true)
	contact, _ := m.Value(Contact)
	c := mustAddr(t, contact)
	is(t, "contact display", Unquote(c.Display), `Nothing "" here`)
	q, _ := c.Params.Get("Q")
	is(t, "q", q, "0.33")
	for _, h := range m.Headers {
		if h.Name == "MadeUpField" {
			is(t, "folded words", strings.Join(strings.Fields(h.Value), " "), "a value folded over three lines ; with = things")
		}
		if h.Name == "FieldOfSeparators" {
			is(t, "separators", h.Value, ";;,,;;,;")
		}
	}
	route, _ := m.Value(Route)
	u := mustURI(t, mustAddr(t, route).URI)
	is(t, "lr", u.Params.Has("lr") && u.Params.Has("bare"), true)
	is(t, "body", strings.HasPrefix(string(m.Body), "v=0\r\n"), true)
}

// RFC 4475 3.1.1.2: every character that may stand in a token, user or quoted string.
func TestTortureIntmeth(t *testing.T) {
	m := parseTorture(t, "intmeth01")
	is(t, "method", m.Method, "!odd-Method9876543210_*+`.%token'~")
	u := mustURI(t, m.RequestURI)
	is(t, "user", u.User, "9_strange.user~(as-it!is)&won't+end$/soon?,/;;*")
	is(t, "password", u.Password, "&pw+is=2,silly!*but$le~gal_too.(it's-so)")
	is(t, "host", u.Host, "example.com")
	is(t, "to", Unquote(m.To.Display), "BEL:\x07 NUL:\x00 DEL:\x7f")
	is(t, "from display", m.From.Display, "word1~` word2'+_ word3*%!.-")
	v, _ := m.From.Params.Get("paramFrom''~+*_!.-%")
	is(t, "from param", Unquote(v), "пример")
	is(t, "from tag", m.From.Tag(), "_mark~7'+`*%!-.")
	is(t, "call-id", m.CallID, "odd.word%XY-!.*_+'@word`~)(><:\\/\"][?}{")
	n, _ := m.Number(MaxForwards)
	is(t, "max-forwards", n, 255)
	is(t, "last field", m.Headers[len(m.Headers)-2], Header{Name: "fieldName-!.%*_+`'~", Value: "値"})
}

// RFC 4475 3.1.1.3, 3.1.1.4, 3.1.1.5 and 3.1.1.9: escapes count in URIs alone.
func TestTortureEscapes(t *testing.T) {
	m := parseTorture(t, "esc01")
	u := mustURI(t, m.RequestURI)
	is(t, "scheme", u.Scheme, "sip")
	is(t, "user", Unescape(u.User), "tel:room@example.com")
	is(t, "host", u.Host, "example.net")
	is(t, "to", mustURI(t, m.To.URI).Equal(mustURI(t, "sip:alice@example.com")), true)
	is(t, "from", Unescape(mustURI(t, m.From.URI).User), "Has some blanks")
	contact, _ := m.Value(Contact)
	c := mustURI(t, mustAddr(t, contact).URI)
	is(t, "contact user", Unescape(c.User), "bob")
	_, lr := c.Param("lr")
	is(t, "escaped lr", lr, true)
	v, _ := c.Param("key")
	is(t, "escaped value", Unescape(v), "foo%42")

	m = parseTorture(t, "escnull")
	is(t, "nul in To", Unescape(mustURI(t, m.To.URI).User), "nul-\x00-inside")
	var users []string
	for _, c := range values(m, Contact) {
		users = append(users, Unescape(mustURI(t, mustAddr(t, c).URI).User))
	}
	is(t, "contacts", strings.Join(users, "|"), "\x00|\x00\x00")

	m = parseTorture(t, "esc02")
	is(t, "method", m.Method, "RE%47IST%45R")
	is(t, "display", Unquote(m.To.Display), "%Q%41")
	is(t, "contacts", len(values(m, Contact)), 2)

	m = parseTorture(t, "semiuri")
	u = mustURI(t, m.RequestURI)
	is(t, "user", Unescape(u.User), "clerk;grade=b@example.org")
	is(t, "params", u.Params, Params(""))
	is(t, "accept", strings.Join(values(m, Accept), "|"), "application/sdp|application/pkcs7-mime|multipart/mixed|message/sip")
}

// RFC 4475 3.1.1.6 to 3.1.1.13: the rest of the valid ones.
func TestTortureValid(t *testing.T) {
	m := parseTorture(t, "lwsdisp")
	is(t, "display", m.From.Display, "asker")
	is(t, "uri", m.From.URI, "sip:asker@example.com")

	m = parseTorture(t, "longreq")
	is(t, "vias", len(values(m, Via)), 24)
	is(t, "tag", len(m.From.Tag()), 64)
	is(t, "method", m.Method, INVITE)

	m = parseTorture(t, "dblreq")
	is(t, "call-id", m.CallID, "dblreq.first")
	is(t, "body", len(m.Body), 0)
	is(t, "bytes", bytes.HasSuffix(m.Bytes(), []byte("\r\n\r\n")), true)
	is(t, "rest of the datagram is gone", bytes.Contains(m.Bytes(), []byte("dblreq.second")), false)

	m = parseTorture(t, "transports")
	var names []string
	for _, v := range values(m, Via) {
		via, err := ParseVia(v)
		is(t, v, err, nil)
		names = append(names, via.Transport)
	}
	is(t, "transports", strings.Join(names, " "), "UDP SCTP TLS PIGEON TCP")

	m = parseTorture(t, "mpart01")
	is(t, "binary body", bytes.Contains(m.Body, []byte{0xfe, 0xff, '\r', '\n'}), true)
	is(t, "end of body", bytes.HasSuffix(m.Body, []byte("--cut-here--\r\n")), true)

	m = parseTorture(t, "unreason")
	is(t, "status", m.Status, 200)
	is(t, "reason", m.Reason, "= 5**2 * 2**3, то есть двести; почти OK")

	m = parseTorture(t, "noreason")
	is(t, "status", m.Status, 100)
	is(t, "reason", m.Reason, "")
}

// RFC 4475 3.3 and 3.4: what the server decides is left readable for it.
func TestTortureApplication(t *testing.T) {
	m := parseTorture(t, "unkscm")
	is(t, "scheme", mustURI(t, m.RequestURI).Is("WhoKnowsThisScheme"), true)
	is(t, "novelsc", mustURI(t, parseTorture(t, "novelsc").RequestURI).Scheme, "soap.beep")

	m = parseTorture(t, "unksm2")
	is(t, "to", mustURI(t, m.To.URI).Scheme, "isbn")
	is(t, "from", mustURI(t, m.From.URI).Scheme, "http")

	m = parseTorture(t, "bext01")
	is(t, "require", strings.Join(values(m, Require), "|"), "nobodyHasThis|norThat")
	is(t, "proxy-require", m.HasOption(ProxyRequire, "NORTHISONE"), true)

	auth, _ := parseTorture(t, "regaut01").Value(Authorization)
	_, err := ParseDigest(auth)
	is(t, "regaut01", err, ErrScheme)

	second, err := ParseVia(values(parseTorture(t, "bcast"), Via)[1])
	is(t, "bcast", second.Host, "255.255.255.255")
	is(t, "bcast", err, nil)

	n, ok := parseTorture(t, "zeromf").Number(MaxForwards)
	is(t, "zeromf", n == 0 && ok, true)

	contact, _ := parseTorture(t, "cparam01").Value(Contact)
	c := mustAddr(t, contact)
	is(t, "cparam01", c.URI+" "+string(c.Params), "sip:+15555550100@gw1.example.net ;unheardof")

	contact, _ = parseTorture(t, "cparam02").Value(Contact)
	c = mustAddr(t, contact)
	is(t, "cparam02", mustURI(t, c.URI).Params, Params(";unheardof"))
	is(t, "cparam02 header parameters", c.Params, "")

	contact, _ = parseTorture(t, "regescrt").Value(Contact)
	is(t, "regescrt", mustURI(t, mustAddr(t, contact).URI).Headers, "Route=%3Csip:edge.example.com%3E")

	m = parseTorture(t, "inv2543")
	is(t, "branch", m.Via.Branch(), "")
	is(t, "tag", m.From.Tag(), "")
	is(t, "content-length", m.Has(ContentLength), false)
	is(t, "body", bytes.HasSuffix(m.Body, []byte("PCMU/8000\r\n")), true)
}
