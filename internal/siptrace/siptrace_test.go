package siptrace

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"onhook/internal/sip"
)

const alice, bob = 1, 2

var (
	phone  = sip.Flow{Transport: sip.UDP, Remote: netip.MustParseAddrPort("192.0.2.1:5060")}
	callee = sip.Flow{Transport: sip.TCP, Conn: 7, Remote: netip.MustParseAddrPort("[2001:db8::2]:5061")}
)

func newRecorder(c Config) *Recorder {
	c.Owners = func(m *sip.Message, dst []uint64) []uint64 {
		for text, key := range map[string]uint64{"alice": alice, "bob": bob} {
			if strings.Contains(m.From.URI+m.RequestURI, text) {
				dst = append(dst, key)
			}
		}
		return dst
	}
	c.Local = func(sip.Flow) netip.AddrPort { return netip.MustParseAddrPort("192.0.2.9:5060") }
	return New(c)
}

// wire writes a message: a start line, "name: value" lines, Call-ID and CSeq.
func wire(start, call, cseq string, more ...string) []byte {
	head := []string{start, "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx", "From: <sip:alice@example.org>;tag=a", "To: <sip:bob@example.org>", "Call-ID: " + call, "CSeq: " + cseq, "Max-Forwards: 70"}
	body := ""
	for _, l := range more {
		if rest, ok := strings.CutPrefix(l, "body:"); ok {
			body = rest
			continue
		}
		head = append(head, l)
	}
	head = append(head, fmt.Sprintf("Content-Length: %d", len(body)), "", body)
	return []byte(strings.Join(head, "\r\n"))
}

func in(t *testing.T, r *Recorder, flow sip.Flow, msg []byte) {
	t.Helper()
	var m sip.Message
	if err := m.Parse(msg); err != nil {
		t.Fatalf("%v\n%s", err, msg)
	}
	r.In(&m, flow)
}

func register(t *testing.T, r *Recorder, call string, n int, authorization string, status string, more ...string) {
	t.Helper()
	cseq := fmt.Sprintf("%d REGISTER", n)
	var fields []string
	if authorization != "" {
		fields = append(fields, authorization)
	}
	in(t, r, phone, wire("REGISTER sip:example.org SIP/2.0", call, cseq, fields...))
	r.Out(wire("SIP/2.0 "+status, call, cseq, more...), phone)
}

const credentials = `Authorization: Digest username="alice", realm="example.org", nonce="n", uri="sip:example.org", response="0123456789abcdef0123456789abcdef", cnonce="secretive", qop=auth, nc=00000001`

func one(t *testing.T, r *Recorder, endpoint uint64) Attempt {
	t.Helper()
	all := r.Attempts(endpoint)
	if len(all) != 1 {
		t.Fatalf("%d attempts: %+v", len(all), all)
	}
	return all[0]
}

func TestVerdicts(t *testing.T) {
	invite := func(t *testing.T, r *Recorder, status string, more ...string) {
		in(t, r, phone, wire("INVITE sip:bob@example.org SIP/2.0", "c", "1 INVITE"))
		r.Out(wire("SIP/2.0 "+status, "c", "1 INVITE", more...), phone)
	}
	for name, c := range map[string]struct {
		play func(t *testing.T, r *Recorder)
		want string
	}{
		"registered": {func(t *testing.T, r *Recorder) {
			register(t, r, "c", 1, "", "401 Unauthorized")
			register(t, r, "c", 2, credentials, "200 OK")
		}, "register succeeded  4"},
		"wrong password": {func(t *testing.T, r *Recorder) {
			register(t, r, "c", 1, "", "401 Unauthorized")
			register(t, r, "c", 2, credentials, "401 Unauthorized")
		}, "register failed bad_digest 4"},
		"stale": {func(t *testing.T, r *Recorder) {
			register(t, r, "c", 2, credentials, "401 Unauthorized", `WWW-Authenticate: Digest nonce="x", stale=true`)
		}, "register failed nonce_stale 2"},
		"challenged": {func(t *testing.T, r *Recorder) {
			register(t, r, "c", 1, "", "401 Unauthorized")
		}, "register pending  2"},
		"challenged and gone": {func(t *testing.T, r *Recorder) {
			register(t, r, "c", 1, "", "401 Unauthorized")
			time.Sleep(time.Minute)
		}, "register failed challenge_unanswered 2"},
		"no answer": {func(t *testing.T, r *Recorder) {
			in(t, r, phone, wire("REGISTER sip:example.org SIP/2.0", "c", "1 REGISTER"))
			time.Sleep(time.Minute)
		}, "register failed timeout 1"},
		"permission": {func(t *testing.T, r *Recorder) {
			invite(t, r, "403 Forbidden", "X-Onhook-Reason: permission.allow_phones", `Warning: 399 example.org "This endpoint may not call phone numbers"`)
		}, "call failed permission.allow_phones 2"},
		"unregistered": {func(t *testing.T, r *Recorder) {
			invite(t, r, "480 Temporarily Unavailable", "X-Onhook-Reason: endpoint.unregistered", `Warning: 399 example.org "Said so"`)
		}, "call failed unregistered 2"},
		"no route": {func(t *testing.T, r *Recorder) {
			invite(t, r, "404 Not Found", "X-Onhook-Reason: phones.no_route", `Warning: 399 example.org "Said so"`)
		}, "call failed no_route 2"},
		"flow lost": {func(t *testing.T, r *Recorder) {
			invite(t, r, "480 Gone", "X-Onhook-Reason: flow.lost", `Warning: 399 example.org "Said so"`)
		}, "call failed flow_lost 2"},
		"codecs":    {func(t *testing.T, r *Recorder) { invite(t, r, "488 Not Acceptable Here") }, "call failed codec_mismatch 2"},
		"busy":      {func(t *testing.T, r *Recorder) { invite(t, r, "486 Busy Here") }, "call failed status.486 2"},
		"cancelled": {func(t *testing.T, r *Recorder) { invite(t, r, "487 Request Terminated") }, "call failed cancelled 2"},
		"rings":     {func(t *testing.T, r *Recorder) { invite(t, r, "180 Ringing"); time.Sleep(time.Minute) }, "call pending  2"},
		"no ACK": {func(t *testing.T, r *Recorder) {
			invite(t, r, "200 OK", "Contact: <sip:10.0.0.1>")
			time.Sleep(6 * time.Second)
		}, "call failed ack_timeout 2"},
		"no ACK at the callee": {func(t *testing.T, r *Recorder) {
			invite(t, r, "200 OK")
			for range 6 {
				in(t, r, phone, wire("ACK sip:bob@10.0.0.1 SIP/2.0", "c", "1 ACK"))
				r.Out(wire("ACK sip:bob@10.0.0.1 SIP/2.0", "c", "1 ACK"), callee)
				time.Sleep(time.Second)
				in(t, r, callee, wire("SIP/2.0 200 OK", "c", "1 INVITE"))
			}
		}, "call failed ack_timeout 20"},
		"late ACK": {func(t *testing.T, r *Recorder) {
			invite(t, r, "200 OK")
			time.Sleep(time.Second)
			in(t, r, callee, wire("SIP/2.0 200 OK", "c", "1 INVITE"))
			in(t, r, phone, wire("ACK sip:bob@192.0.2.2 SIP/2.0", "c", "1 ACK"))
			time.Sleep(time.Minute)
		}, "call succeeded  4"},
		"refused within the call": {func(t *testing.T, r *Recorder) {
			invite(t, r, "200 OK")
			in(t, r, phone, wire("ACK sip:bob@192.0.2.2 SIP/2.0", "c", "1 ACK"))
			in(t, r, phone, wire("INVITE sip:bob@192.0.2.2 SIP/2.0", "c", "2 INVITE"))
			r.Out(wire("SIP/2.0 488 Not Acceptable Here", "c", "2 INVITE"), phone)
		}, "call succeeded  5"},
		"not told": {func(t *testing.T, r *Recorder) {
			var m sip.Message
			text := wire("INVITE sip:bob@example.org SIP/2.0", "c", "1 INVITE")
			if err := m.Parse(text); err != nil {
				t.Fatal(err)
			}
			r.In(&m, phone)
			r.Out(wire("SIP/2.0 480 Temporarily Unavailable", "c", "1 INVITE"), phone)
			r.Untold(&m, "endpoint.unregistered")
		}, "call failed unregistered 2"},
		"ACK to come": {func(t *testing.T, r *Recorder) { invite(t, r, "200 OK") }, "call pending  2"},
		"whole call": {func(t *testing.T, r *Recorder) {
			invite(t, r, "200 OK")
			in(t, r, phone, wire("ACK sip:bob@192.0.2.2 SIP/2.0", "c", "1 ACK"))
			r.Out(wire("ACK sip:bob@192.0.2.2 SIP/2.0", "c", "1 ACK"), callee)
			in(t, r, callee, wire("BYE sip:alice@192.0.2.1 SIP/2.0", "c", "9 BYE"))
			time.Sleep(time.Minute)
		}, "call succeeded  5"},
		"message": {func(t *testing.T, r *Recorder) {
			in(t, r, phone, wire("MESSAGE sip:bob@example.org SIP/2.0", "c", "1 MESSAGE"))
			r.Out(wire("SIP/2.0 200 OK", "c", "1 MESSAGE"), phone)
		}, "message succeeded  2"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRecorder(Config{})
				c.play(t, r)
				a := one(t, r, alice)
				if got := fmt.Sprintf("%s %s %s %d", a.Kind, a.Outcome, a.Reason, len(a.Messages)); got != c.want {
					t.Errorf("%s (%s), want %s", got, a.Sentence, c.want)
				}
				if a.Outcome == Failed && a.Sentence == "" {
					t.Error("no sentence")
				}
			})
		})
	}
}

func TestAckTimeoutNamesTheContact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder(Config{})
		in(t, r, phone, wire("INVITE sip:bob@example.org SIP/2.0", "c", "1 INVITE"))
		r.Out(wire("SIP/2.0 200 OK", "c", "1 INVITE", "Contact: <sip:bob@10.1.2.3:5060>"), phone)
		time.Sleep(10 * time.Second)
		if a := one(t, r, bob); !strings.Contains(a.Sentence, "sip:bob@10.1.2.3:5060") {
			t.Errorf("%+v", a.Verdict)
		}
	})
}

// Nothing that helps to guess a password or to listen in is kept.
func TestMasked(t *testing.T) {
	r := newRecorder(Config{})
	sdp := "v=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj\r\nk=clear:topsecret\r\nm=audio 1 RTP/SAVP 0\r\n"
	in(t, r, phone, wire("INVITE sip:bob@example.org SIP/2.0", "c", "1 INVITE", strings.Replace(credentials, "Authorization", "proxy-authorization", 1), "Content-Type: application/sdp", "body:"+sdp))
	a := one(t, r, alice)
	text := string(a.Messages[0].Text)
	for _, secret := range []string{"0123456789abcdef", "secretive", "d0Rmdm", "topsecret"} {
		if strings.Contains(text, secret) {
			t.Errorf("%s is shown:\n%s", secret, text)
		}
	}
	for _, kept := range []string{`username="alice"`, `response="***"`, `cnonce="***"`, `nonce="n"`, "nc=00000001", "inline:***\r\n", "k=***\r\n", "m=audio 1 RTP/SAVP 0\r\n"} {
		if !strings.Contains(text, kept) {
			t.Errorf("%s is not shown:\n%s", kept, text)
		}
	}
}

func TestMaskOddCredentials(t *testing.T) {
	for in, want := range map[string]string{
		"Authorization: Digest response=abc, cnonce=\"x\",RESPONSE=\"y\r\n": "Authorization: Digest response=***, cnonce=\"***\",RESPONSE=\"***",
		"Authorization: Digest xresponse=\"kept\"\r\n":                      "Authorization: Digest xresponse=\"kept\"\r\n",
		"a=crypto:1 odd\r\n": "a=***\r\n",
	} {
		if got := string(masked([]byte(in))); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

// The last attempts are kept, scanners' knocking is given up first, and memory
// is bounded.
func TestBounds(t *testing.T) {
	r := newRecorder(Config{PerEndpoint: 3, Rate: 1e6})
	register(t, r, "honest", 1, credentials, "403 Forbidden")
	for i := range 10 {
		register(t, r, fmt.Sprint("scan", i), 1, "", "401 Unauthorized")
	}
	all := r.Attempts(alice)
	if len(all) != 3 || !strings.Contains(string(all[2].Messages[0].Text), "honest") {
		t.Errorf("%d attempts, the oldest:\n%s", len(all), all[len(all)-1].Messages[0].Text)
	}
	for i := range 10 {
		register(t, r, fmt.Sprint("real", i), 1, credentials, "200 OK")
	}
	if all = r.Attempts(alice); len(all) != 3 || !strings.Contains(string(all[2].Messages[0].Text), "real7") {
		t.Errorf("%d attempts, the oldest:\n%s", len(all), all[len(all)-1].Messages[0].Text)
	}

	const most = 20_000
	r = newRecorder(Config{MaxBytes: most, PerEndpoint: 1000, Rate: 1e6})
	for i := range 200 {
		register(t, r, fmt.Sprint("c", i), 1, credentials, "200 OK")
		if n := r.Stats().Bytes; n > most {
			t.Fatalf("%d bytes after %d attempts", n, i)
		}
	}
	all = r.Attempts(alice)
	if len(all) < 5 || !strings.Contains(string(all[0].Messages[0].Text), "c199") {
		t.Errorf("%d attempts", len(all))
	}
	r.Forget(alice)
	r.Forget(bob)
	if s := r.Stats(); s != (Stats{}) || r.oldest != nil || r.newest != nil {
		t.Errorf("left: %+v", s)
	}
	for i := range r.table {
		if n := len(r.table[i].byCall); n != 0 {
			t.Errorf("%d attempts are still looked up", n)
		}
	}
}

// What is dropped from an endpoint's room is gone, although somebody's older
// attempt stays.
func TestDroppedAttemptsAreGone(t *testing.T) {
	r := newRecorder(Config{PerEndpoint: 3, Rate: 1e6})
	in(t, r, phone, bytes.ReplaceAll(wire("MESSAGE sip:bob@example.org SIP/2.0", "old", "1 MESSAGE"), []byte("alice"), []byte("mallory")))
	for i := range 100 {
		register(t, r, fmt.Sprint("c", i), 1, credentials, "200 OK")
	}
	n, last := 0, (*attempt)(nil)
	for a := r.oldest; a != nil; last, a = a, a.next {
		if n++; a.previous != last {
			t.Fatal("the order is broken")
		}
	}
	if n != 4 || r.newest != last {
		t.Errorf("%d attempts in memory, 4 on record", n)
	}
}

// A name that nobody has costs what a known one does, but not the known ones'
// room and rate.
func TestNamesOfNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder(Config{PerEndpoint: 3, Rate: 5})
		known := r.Owners
		r.Owners = func(m *sip.Message, dst []uint64) []uint64 {
			if dst = known(m, dst); len(dst) == 0 {
				dst = append(dst, Nobody)
			}
			return dst
		}
		unknown := bytes.ReplaceAll(wire("MESSAGE sip:eve@example.org SIP/2.0", "c", "1 MESSAGE"), []byte("alice"), []byte("mallory"))
		for i := range 20 {
			in(t, r, phone, bytes.Replace(unknown, []byte("Call-ID: c"), fmt.Appendf(nil, "Call-ID: c%d", i), 1))
		}
		register(t, r, "real", 1, credentials, "200 OK")
		if n := len(r.Attempts(Nobody)); n != 3 {
			t.Errorf("%d attempts for nobody", n)
		}
		one(t, r, alice)
		if s := r.Stats(); s.Endpoints != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestLongCallsAreCut(t *testing.T) {
	r := newRecorder(Config{})
	for i := range 100 {
		in(t, r, phone, wire("INVITE sip:bob@example.org SIP/2.0", "c", fmt.Sprint(i+1, " INVITE"), "Subject: "+strings.Repeat("x", 6000), "Organization: "+strings.Repeat("x", 6000)))
	}
	a := one(t, r, alice)
	if len(a.Messages) != maxMessages || a.Omitted != 100-maxMessages || len(a.Messages[0].Text) > maxText {
		t.Errorf("%d messages, %d omitted, %d bytes", len(a.Messages), a.Omitted, len(a.Messages[0].Text))
	}
}

func TestSampled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder(Config{Rate: 5})
		for i := range 20 {
			register(t, r, fmt.Sprint("c", i), 1, credentials, "200 OK")
		}
		time.Sleep(time.Second)
		for i := range 20 {
			register(t, r, fmt.Sprint("d", i), 1, credentials, "200 OK")
		}
		if n := len(r.Attempts(alice)); n != 10 {
			t.Errorf("%d attempts", n)
		}
	})
}

// A strange request costs no memory, a message of no attempt neither.
func TestStrangers(t *testing.T) {
	r := newRecorder(Config{})
	msg := []byte(strings.ReplaceAll(strings.ReplaceAll(string(wire("REGISTER sip:example.org SIP/2.0", "c", "1 REGISTER")), "alice", "mallory"), "bob", "mallory"))
	in(t, r, phone, msg)
	r.Out(wire("SIP/2.0 401 Unauthorized", "c", "1 REGISTER"), phone)
	in(t, r, phone, wire("OPTIONS sip:alice@example.org SIP/2.0", "d", "1 OPTIONS"))
	if s := r.Stats(); s != (Stats{}) {
		t.Errorf("%+v", s)
	}
	var none *Recorder
	none.Out(msg, phone)
	none.Forget(alice)
	if none.Attempts(alice) != nil || none.Stats() != (Stats{}) {
		t.Error("a nil recorder records")
	}
}

func TestUntracedCostsNoAllocation(t *testing.T) {
	r := newRecorder(Config{})
	r.rate.rate, r.rate.tokens = 0, 0
	var m sip.Message
	if err := m.Parse(wire("REGISTER sip:example.org SIP/2.0", "c", "1 REGISTER")); err != nil {
		t.Fatal(err)
	}
	out := wire("SIP/2.0 200 OK", "c", "1 REGISTER")
	if n := testing.AllocsPerRun(1000, func() { r.In(&m, phone); r.Out(out, phone) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestText(t *testing.T) {
	r := newRecorder(Config{})
	register(t, r, "c", 1, credentials, "403 Forbidden", "X-Onhook-Reason: auth.banned", `Warning: 399 x "Too many wrong passwords"`)
	text := string(AppendText(nil, r.Attempts(alice)))
	for _, want := range []string{"=== register 1 at ", ": failed auth.banned: Too many wrong passwords\n", " s  192.0.2.1:5060 → 192.0.2.9:5060  UDP\nREGISTER sip:example.org SIP/2.0\n", "  192.0.2.9:5060 → 192.0.2.1:5060  UDP\nSIP/2.0 403 Forbidden\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// BenchmarkUntraced is what a message costs that is not recorded, as almost all
// are on a busy server.
func BenchmarkUntraced(b *testing.B) {
	r := newRecorder(Config{})
	r.rate.rate, r.rate.tokens = 0, 0
	var m sip.Message
	if err := m.Parse(wire("REGISTER sip:example.org SIP/2.0", "c", "1 REGISTER", credentials)); err != nil {
		b.Fatal(err)
	}
	out := wire("SIP/2.0 200 OK", "c", "1 REGISTER")
	for b.Loop() {
		r.In(&m, phone)
		r.Out(out, phone)
	}
}
