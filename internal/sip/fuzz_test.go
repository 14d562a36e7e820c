package sip

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"testing"
)

func addTorture(f *testing.F) {
	files, err := filepath.Glob(filepath.Join(tortureDir, "*.sip"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(register))
}

// rewrite writes a parsed message out again, field by field.
func rewrite(m *Message) []byte {
	var b []byte
	if m.IsRequest() {
		b = AppendRequestLine(b, m.Method, m.RequestURI)
	} else {
		b = AppendStatusLine(b, m.Status, m.Reason)
	}
	for _, h := range m.Headers {
		switch h.ID {
		case ContentLength:
		case OtherHeader:
			b = AppendField(b, h.Name, h.Value)
		default:
			b = AppendHeader(b, h.ID, h.Value)
		}
	}
	return AppendBody(b, m.Body)
}

// withoutLength returns the fields other than Content-Length as they compare.
func withoutLength(m *Message) (fields []Header) {
	for _, h := range m.Headers {
		if h.ID == OtherHeader {
			fields = append(fields, h)
		} else if h.ID != ContentLength {
			fields = append(fields, Header{ID: h.ID, Value: h.Value})
		}
	}
	return fields
}

// What parses is the same after it was written and parsed again.
func FuzzMessage(f *testing.F) {
	addTorture(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		var m, again Message
		if err := m.Parse(b); err != nil {
			var refused *Error
			if !errors.As(err, &refused) {
				t.Fatalf("%T is no *Error", err)
			}
			if m.Answerable() {
				AppendReply(nil, &m, testSource, refused.Status, refused.Reason, "tag")
			}
			return
		}
		if len(m.Headers) == MaxHeaders || len(m.Body) > MaxMessage {
			return // no room for Content-Length
		}
		for _, h := range m.Headers {
			if len(h.Value) > MaxHeader-64 {
				return // a canonical name may be longer than the one it came with
			}
		}
		out := rewrite(&m)
		if err := again.Parse(out); err != nil {
			t.Fatalf("%v: %q", err, out)
		}
		reason := m.Reason
		if reason == "" && m.Status != 0 {
			reason = ReasonPhrase(m.Status)
		}
		if m.Method != again.Method || m.RequestURI != again.RequestURI || m.Status != again.Status || reason != again.Reason ||
			m.Via != again.Via || m.From != again.From || m.To != again.To || m.CallID != again.CallID ||
			m.CSeq != again.CSeq || m.CSeqMethod != again.CSeqMethod || !bytes.Equal(m.Body, again.Body) {
			t.Fatalf("\n%+v\n%+v", m, again)
		}
		one, two := withoutLength(&m), withoutLength(&again)
		if len(one) != len(two) {
			t.Fatalf("\n%q\n%q", one, two)
		}
		for i := range one {
			if one[i] != two[i] {
				t.Fatalf("\n%q\n%q", one[i], two[i])
			}
		}
		cloneIsItsOwn(t, &m)
	})
}

func FuzzURI(f *testing.F) {
	for _, s := range []string{
		"sip:alice:secret@[2001:db8::1]:5060;transport=tcp;lr?Subject=a%20b&x=", "sips:%61@example.com", "tel:+1-555;phone-context=example.com",
		"urn:service:sos", "sip:a;b=c?d@host;%6C%72", "sip:[::ffff:192.0.2.1]", "sip:1.2.3.4:65535",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseURI(s)
		if err != nil {
			return
		}
		if u.String() != s || string(u.Append(nil)) != s {
			t.Fatalf("%q became %q", s, u.String())
		}
		if !u.Equal(u) {
			t.Fatalf("%q is not equal to itself", s)
		}
		u.Addr()
		u.Transport()
		if !u.IsSIP() {
			return
		}
		// Put together from its parts it is the same URI.
		b := append([]byte(nil), u.Scheme+":"...)
		if u.HasUser {
			b = AppendUser(b, Unescape(u.User))
			if u.Password != "" {
				b = append(b, ":"+u.Password...)
			}
			b = append(b, '@')
		}
		b = append(b, u.Host...)
		if u.Port != 0 {
			b = strconv.AppendUint(append(b, ':'), uint64(u.Port), 10)
		}
		b = append(b, u.Params...)
		if u.Headers != "" {
			b = append(b, "?"+u.Headers...)
		}
		v, err := ParseURI(string(b))
		if err != nil || Unescape(u.User) != Unescape(v.User) || u.HasUser != v.HasUser || u.Password != v.Password ||
			u.Host != v.Host || u.Port != v.Port || u.Params != v.Params || u.Headers != v.Headers || u.Equal(v) != v.Equal(u) {
			t.Fatalf("%q and %q: %v", s, b, err)
		}
	})
}

func FuzzNameAddr(f *testing.F) {
	for _, s := range []string{
		`"A \"B\" C" <sip:a@example.com;lr>;tag=1`, "sip:a@b;tag=2;x=\"<y>\"", "Ann <tel:+1>", "<sip:a>", "a b c<sip:d>;e;f = g ; h=\"i;j,\\\"\"",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseNameAddr(s)
		if err != nil {
			return
		}
		var b []byte
		if a.Display != "" {
			b = append(AppendQuoted(b, Unquote(a.Display)), ' ')
		}
		b = append(b, '<')
		b = append(b, a.URI...)
		b = append(b, '>')
		for p := a.Params; ; {
			name, value, rest, ok := p.Next()
			if !ok {
				break
			}
			b = append(append(b, ';'), name...)
			if value != "" {
				b = append(append(b, '='), value...)
			}
			p = rest
		}
		again, err := ParseNameAddr(string(b))
		if err != nil || again.URI != a.URI || Unquote(again.Display) != Unquote(a.Display) || again.Tag() != a.Tag() {
			t.Fatalf("%q became %q: %+v, %v", s, b, again, err)
		}
		if n, ok := a.Expires(); !ok && n != 0 {
			t.Fatalf("%q: expires %d", s, n)
		}
		if one, rest, more, ok := nextValue(string(b) + ", <sip:next>"); !ok || !more || one != string(b) || rest != "<sip:next>" {
			t.Fatalf("%q in a list: %q, %q", b, one, rest)
		}
	})
}

// A stream cut anywhere gives the messages it gives in one piece.
func FuzzFrame(f *testing.F) {
	for _, name := range []string{"dblreq", "wsinv", "mpart01", "clerr", "ncl", "mcl01", "longreq", "inv2543"} {
		b, err := os.ReadFile(filepath.Join(tortureDir, name+".sip"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, uint16(7))
	}
	f.Add([]byte("A: b\r\nl:\r\n 3\r\n\r\nabcA: b\r\nl: 0\r\n\r\n"), uint16(1))
	f.Fuzz(func(t *testing.T, stream []byte, step uint16) {
		var want []int
		var wantErr error
		for rest := stream; ; {
			n, err := Frame(rest)
			if wantErr = err; n == 0 {
				break
			}
			want = append(want, n)
			rest = rest[n:]
		}
		var got []int
		var framer Framer
		begin, end := 0, 0
		for {
			n, err := framer.Next(stream[begin:end])
			if err != nil {
				if err != wantErr {
					t.Fatalf("cut: %v, whole: %v", err, wantErr)
				}
				break
			}
			if n > 0 {
				got = append(got, n)
				begin += n
				continue
			}
			if end == len(stream) {
				if wantErr != nil {
					t.Fatalf("cut: no error, whole: %v", wantErr)
				}
				break
			}
			end = min(len(stream), end+int(step%61)+1)
		}
		if len(got) != len(want) {
			t.Fatalf("cut: %v, whole: %v", got, want)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("cut: %v, whole: %v", got, want)
			}
		}
	})
}

func FuzzDigest(f *testing.F) {
	f.Add(`Digest username="alice",realm="example.com",nonce="n",uri="sip:example.com",response="r",algorithm=MD5,cnonce="c",nc=00000001,qop=auth,opaque="o"`)
	f.Add(`digest username = "a\"b" , realm="r,s",nonce=<x>, uri="sip:a;b=c", response="" ,`)
	f.Add(`Basic YTpi`)
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDigest(s)
		if err != nil {
			return
		}
		b := []byte("Digest ")
		for i, p := range []struct{ name, value string }{
			{"username", d.Username}, {"realm", d.Realm}, {"nonce", d.Nonce}, {"uri", d.URI}, {"response", d.Response},
			{"algorithm", d.Algorithm}, {"cnonce", d.CNonce}, {"qop", d.QOP}, {"nc", d.NC}, {"opaque", d.Opaque},
		} {
			if p.value == "" {
				continue
			}
			if i > 0 {
				b = append(b, ", "...)
			}
			b = AppendQuoted(append(append(b, p.name...), '='), p.value)
		}
		if again, err := ParseDigest(string(b)); err != nil || again != d {
			t.Fatalf("%q became %q: %+v, %v", s, b, again, err)
		}
	})
}

// cloneIsItsOwn checks that a clone is what parsing its bytes gives, also when
// the original's are overwritten.
func cloneIsItsOwn(t *testing.T, m *Message) {
	t.Helper()
	var want Message
	if err := want.Parse(bytes.Clone(m.Bytes())); err != nil {
		t.Fatal(err)
	}
	c := m.Clone()
	clear(m.raw)
	if !reflect.DeepEqual(*c, want) {
		t.Fatalf("clone differs:\n%+v\n%+v", *c, want)
	}
}
