package sip

import (
	"errors"
	"strconv"
	"strings"
	"testing"
)

// request builds an OPTIONS that is whole, with lines of the caller's added;
// a line that begins with '-' takes the field of that name away.
func request(lines ...string) string {
	fields := []string{
		"Via: SIP/2.0/UDP 192.0.2.9:5062;branch=z9hG4bKr", "Max-Forwards: 70", "From: <sip:a@example.com>;tag=1", "To: <sip:b@example.com>",
		"Call-ID: c1@192.0.2.9", "CSeq: 2 OPTIONS",
	}
	start := "OPTIONS sip:b@example.com SIP/2.0"
	for _, l := range lines {
		switch {
		case strings.HasPrefix(l, "-"):
			for i, f := range fields {
				if strings.HasPrefix(f, l[1:]+":") {
					fields = append(fields[:i], fields[i+1:]...)
					break
				}
			}
		case strings.Contains(strings.ToUpper(l), " SIP/") && !strings.Contains(l, ": "):
			start = l
		default:
			fields = append(fields, l)
		}
	}
	return start + "\r\n" + strings.Join(fields, "\r\n") + "\r\n\r\n"
}

func parse(s string) (*Message, *Error) {
	m := new(Message)
	var refused *Error
	errors.As(m.Parse([]byte(s)), &refused)
	return m, refused
}

func TestParseRefuses(t *testing.T) {
	many := make([]string, MaxHeaders)
	for i := range many {
		many[i] = "X-" + strconv.Itoa(i) + ": y"
	}
	for _, c := range []struct {
		what, in   string
		status     int // 0: dropped
		answerable bool
	}{
		{"nothing", "", 0, false},
		{"keepalive", "\r\n\r\n", 0, false},
		{"HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 0, false},
		{"LF alone", strings.ReplaceAll(request(), "\r\n", "\n"), 0, false},
		{"garbage method", request("O(PTIONS sip:b@example.com SIP/2.0"), 0, false},
		{"no URI", request("OPTIONS SIP/2.0"), 400, true},
		{"version", request("OPTIONS sip:b@example.com SIP/3.0"), 505, true},
		{"URI", request("OPTIONS b@example.com SIP/2.0"), 400, true},
		{"status 99", "SIP/2.0 099 x\r\n\r\n", 0, false},
		{"status 700", strings.Replace(request(), "OPTIONS sip:b@example.com SIP/2.0", "SIP/2.0 700 x", 1), 0, false},
		{"status 2000", strings.Replace(request(), "OPTIONS sip:b@example.com SIP/2.0", "SIP/2.0 2000 x", 1), 0, false},
		{"response of another version", strings.Replace(request(), "OPTIONS sip:b@example.com SIP/2.0", "SIP/3.0 200 OK", 1), 0, false},
		{"no Via", request("-Via"), 400, false},
		{"no From", request("-From"), 400, true},
		{"no To", request("-To"), 400, true},
		{"no Call-ID", request("-Call-ID"), 400, true},
		{"no CSeq", request("-CSeq"), 400, true},
		{"ACK", strings.ReplaceAll(request("-To"), "OPTIONS", "ACK"), 400, false},
		{"Via", request("-Via", "Via: UDP h"), 400, false},
		{"second Via", request("Via: SIP/2.0/UDP"), 400, true},
		{"empty Via element", request("Via: SIP/2.0/UDP h,"), 400, true},
		{"From", request("-From", "From: nobody"), 400, true},
		{"From URI", request("-From", "From: <sip:@>;tag=1"), 400, true},
		{"two From values", request("-From", "From: <sip:a@b>, <sip:c@d>"), 400, true},
		{"To", request("-To", "To: \"x <sip:a@b>"), 400, true},
		{"Call-ID", request("-Call-ID", "Call-ID: a b"), 400, true},
		{"empty Call-ID", request("-Call-ID", "Call-ID:"), 400, true},
		{"CSeq without method", request("-CSeq", "CSeq: 1"), 400, true},
		{"CSeq 2**31", request("-CSeq", "CSeq: 2147483648 OPTIONS"), 400, true},
		{"CSeq sign", request("-CSeq", "CSeq: +1 OPTIONS"), 400, true},
		{"repeated", request("f: <sip:x@y>"), 400, true},
		{"no colon", request("Subject"), 400, true},
		{"name with space", request("Sub ject: x"), 400, true},
		{"empty name", request(": x"), 400, true},
		{"CR in a value", request("Subject: a\rVia: b"), 400, true},
		{"no end", strings.TrimSuffix(request(), "\r\n"), 400, true},
		{"too many", request(many...), 400, true},
		{"too long", request("Subject: " + strings.Repeat("x", MaxHeader)), 400, true},
		{"too long folded", request("Subject: x" + strings.Repeat("\r\n xxxxxxxxxxxxxxx", MaxHeader/16)), 400, true},
		{"Content-Length text", request("Content-Length: ten"), 400, true},
		{"Content-Length too large", request("Content-Length: 1"), 400, true},
		{"Max-Forwards 256", request("-Max-Forwards", "Max-Forwards: 256"), 400, true},
		{"Expires", request("Expires: soon"), 400, true},
		{"Contact", request("Contact: nobody"), 400, true},
		{"empty Contact", request("Contact:"), 400, true},
		{"empty Contact element", request("Contact: <sip:a@b>,"), 400, true},
		{"Contact star and more", request("Contact: *, <sip:a@b>"), 400, true},
		{"Route without brackets", request("Route: sip:a@b;lr"), 400, true},
		{"Route URI", request("Route: <sip:a@b:x>"), 400, true},
		{"empty Route element", request("Route: <sip:a;lr>,, <sip:b;lr>"), 400, true},
		{"fold before the first field", "OPTIONS sip:b@example.com SIP/2.0\r\n x\r\n" + strings.SplitN(request(), "\r\n", 2)[1], 400, true},
	} {
		m, err := parse(c.in)
		if err == nil {
			t.Errorf("%s: accepted", c.what)
			continue
		}
		if err.Status != c.status || m.Answerable() != c.answerable || c.status != 0 && err.Error() == "" {
			t.Errorf("%s: %d %q, answerable %v; want %d, %v", c.what, err.Status, err.Reason, m.Answerable(), c.status, c.answerable)
		}
	}
}

func TestParseAccepts(t *testing.T) {
	for what, in := range map[string]string{
		"small version":               request("OPTIONS sip:b@example.com sip/2.0"),
		"Contact star":                request("Contact: *"),
		"empty Supported element":     request("Supported: 100rel,"),
		"Contact expires as a date":   request(`Contact: <sip:a@b>;expires="Thu, 01 Dec 1994 16:00:00 GMT"`),
		"malformed Date":              request("Date: yesterday"),
		"empty value":                 request("Subject:"),
		"Require repeated":            request("Require: a", "Require: b"),
		"response without reason":     strings.Replace(request(), "OPTIONS sip:b@example.com SIP/2.0", "SIP/2.0 200", 1),
		"response, Contact malformed": strings.Replace(request("Contact: nobody", "Expires: soon"), "OPTIONS sip:b@example.com SIP/2.0", "SIP/2.0 200 OK", 1),
		"response, its CSeq differs":  strings.Replace(request("-CSeq", "CSeq: 1 INVITE"), "OPTIONS sip:b@example.com SIP/2.0", "SIP/2.0 200 OK", 1),
	} {
		if _, err := parse(in); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// RFC 3261 7.3.3: compact forms are the same fields, in any case.
func TestCompactForms(t *testing.T) {
	m, err := parse("MESSAGE sip:b SIP/2.0\r\nv: SIP/2.0/TCP h\r\nF: <sip:a@b>\r\nT:<sip:b>\r\ni : x\r\nCSEQ: 1 MESSAGE\r\nk: a\r\nK: b, c\r\nm: <sip:d>\r\nl:\r\n\t2\r\nc: text/plain\r\n\r\nhi!!")
	if err != nil {
		t.Fatal(err)
	}
	is(t, "supported", strings.Join(values(m, Supported), "|"), "a|b|c")
	is(t, "body", string(m.Body), "hi")
	is(t, "call-id", m.CallID, "x")
	is(t, "name as written", m.Headers[3].Name, "i")
	is(t, "option", m.HasOption(Supported, "B"), true)
	is(t, "no option", m.HasOption(Supported, "d"), false)
	is(t, "request", m.IsRequest(), true)
	is(t, "content-type", m.Has(ContentType), true)
}

// Every known field is found by its name in any case, and by its compact form.
func TestLookupHeader(t *testing.T) {
	for id := OtherHeader + 1; id < numHeaders; id++ {
		name, compact := headerNames[id].name, headerNames[id].compact
		for _, n := range []string{name, strings.ToUpper(name), strings.ToLower(name)} {
			is(t, n, LookupHeader(n), id)
		}
		is(t, "canonical", id.String(), name)
		if compact != 0 {
			is(t, name, LookupHeader(string(compact)), id)
			is(t, name, LookupHeader(strings.ToUpper(string(compact))), id)
		}
	}
	for _, n := range []string{"", "z", "X-Unknown", "Vi\u0251", "Fro", "From ", strings.Repeat("x", 300)} {
		is(t, n, LookupHeader(n), OtherHeader)
	}
}

// RFC 3261 7.3.1: a list over several lines is one list; commas in quotes and
// brackets do not cut.
func TestValues(t *testing.T) {
	m, err := parse(request(`Contact: "A, \"B" <sip:a@b?x=1,2>;p="c,d" , <sip:e>`, "X: y", "m: sip:f", "Allow: ,INVITE,, ACK ,"))
	if err != nil {
		t.Fatal(err)
	}
	is(t, "contacts", strings.Join(values(m, Contact), "|"), `"A, \"B" <sip:a@b?x=1,2>;p="c,d"|<sip:e>|sip:f`)
	is(t, "empty elements", strings.Join(values(m, Allow), "|"), "INVITE|ACK")
	is(t, "absent", len(values(m, Route)), 0)
	_, ok := m.Value(Route)
	is(t, "absent", ok, false)
	n, ok := m.Number(MaxForwards)
	is(t, "number", n == 70 && ok, true)
	_, ok = m.Number(Expires)
	is(t, "no number", ok, false)
	_, ok = m.Number(CallID)
	is(t, "not a number", ok, false)
}

// A clone lives on when the buffer it came from is used again, and a Message
// that is parsed into again remembers nothing.
func TestCloneAndReuse(t *testing.T) {
	buf := []byte(request("Subject: folded\r\n value", "Content-Length: 2") + "hi")
	var m Message
	if err := m.Parse(buf); err != nil {
		t.Fatal(err)
	}
	c := m.Clone()
	clear(buf)
	is(t, "call-id", c.CallID, "c1@192.0.2.9")
	subject, _ := c.Value(Subject)
	is(t, "subject", subject, "folded   value")
	is(t, "body", string(c.Body), "hi")
	is(t, "via", c.Via.Branch(), "z9hG4bKr")

	if err := m.Parse([]byte(strings.Replace(request("-Max-Forwards"), "OPTIONS sip:b@example.com SIP/2.0", "SIP/2.0 180 Ringing", 1))); err != nil {
		t.Fatal(err)
	}
	is(t, "method", m.Method, "")
	is(t, "request", m.IsRequest(), false)
	is(t, "max-forwards", m.Has(MaxForwards), false)
	m.Reset()
	is(t, "bytes", len(m.Bytes()), 0)
	is(t, "headers", len(m.Headers), 0)
}

// Known methods are constants that outlive the buffer.
func TestMethodsAreConstants(t *testing.T) {
	for _, method := range []Method{ACK, BYE, CANCEL, INFO, INVITE, MESSAGE, NOTIFY, OPTIONS, PRACK, PUBLISH, REFER, REGISTER, SUBSCRIBE, UPDATE} {
		buf := []byte(strings.ReplaceAll(request(), "OPTIONS", method))
		var m Message
		if err := m.Parse(buf); err != nil {
			t.Fatal(err)
		}
		clear(buf)
		is(t, "method", m.Method, method)
		is(t, "CSeq method", m.CSeqMethod, method)
	}
}
