package sipauth

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"onhook/internal/sip"
)

// static is a Credentials that hashes nothing.
type static struct{ ha1 HA1 }

func (s *static) HA1(_, username string) (HA1, any, bool) { return s.ha1, nil, username == "alice" }
func (s *static) Previous(any) (HA1, bool)                { return HA1{}, false }
func (s *static) OffersSHA256(string) bool                { return true }

func TestAllocations(t *testing.T) {
	b := newBench(t, Config{})
	ha1, _, _ := b.users.HA1(realm, "alice")
	c := &static{ha1}
	plain := request(t)
	buf := make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(100, func() {
		buf = b.a.AppendChallenge(buf[:0], plain, sip.WWWAuthenticate, realm, home, true, c)
	}); n != 0 {
		t.Errorf("AppendChallenge: %v allocations", n)
	}
	for _, alg := range []string{"MD5", "SHA-256"} {
		for _, user := range []string{"alice", "nobody"} {
			d := b.alice()
			d.user, d.alg = user, alg
			var ms []*sip.Message
			for i := range 200 {
				d.nc = fmt.Sprintf("%08x", i+1)
				ms = append(ms, request(t, d.field()))
			}
			i := 0
			want := OK
			if user != "alice" {
				want = Wrong
			}
			if n := testing.AllocsPerRun(100, func() {
				if r := b.a.Verify(ms[i], sip.Authorization, realm, home, c); r.Verdict != want {
					t.Fatalf("%+v", r)
				}
				i++
			}); n != 0 {
				t.Errorf("Verify %s of %s: %v allocations", alg, user, n)
			}
		}
	}
}

// A nonce count is accepted once, however many try at the same time.
func TestConcurrentReplay(t *testing.T) {
	b := newBench(t, Config{})
	ha1, _, _ := b.users.HA1(realm, "alice")
	c := &static{ha1}
	d := b.alice()
	var ms []*sip.Message
	for i := range 50 {
		d.nc = fmt.Sprintf("%08x", i+1)
		ms = append(ms, request(t, d.field()))
	}
	var accepted atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for _, m := range ms {
				if b.a.Verify(m, sip.Authorization, realm, home, c).Verdict == OK {
					accepted.Add(1)
				}
				b.a.AppendChallenge(nil, m, sip.WWWAuthenticate, realm, home, false, c)
				b.a.Stats()
			}
		})
	}
	wg.Wait()
	if n := accepted.Load(); n != 50 {
		t.Errorf("%d accepted, want 50", n)
	}
}

// FuzzVerify: no credentials end the program, and none but the right ones are
// accepted.
func FuzzVerify(f *testing.F) {
	b := newBench(f, Config{})
	d := b.alice()
	field := strings.TrimPrefix(d.field(), "Authorization: ")
	f.Add(field, "sip:example.com")
	f.Add(strings.Replace(field, "MD5", "SHA-256", 1), "sip:bob@example.com")
	f.Add(strings.ReplaceAll(field, `"`, ``), "tel:+1")
	f.Add(strings.Replace(field, "alice", `a\lice@example.com`, 1), "sip:[::1]")
	f.Add(strings.Replace(field, "qop=auth, ", "", 1), "sip:x")
	f.Add("Digest ", "sip:x")
	f.Fuzz(func(t *testing.T, value, uri string) {
		m := new(sip.Message)
		text := "REGISTER " + uri + " SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\n" +
			"Call-ID: 1\r\nCSeq: 1 REGISTER\r\nAuthorization: " + value + "\r\nContent-Length: 0\r\n\r\n"
		if m.Parse([]byte(text)) != nil {
			return
		}
		r := b.a.Verify(m, sip.Authorization, realm, home, b.users)
		if r.Verdict == OK && (r.Username != "alice" || !strings.Contains(value, d.nonce)) {
			t.Errorf("accepted %q", value)
		}
		if (r.Verdict == Missing) != (r.Algorithm == 0) && r.Verdict != Malformed {
			t.Errorf("%+v", r)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	for _, alg := range []string{"MD5", "SHA-256"} {
		b.Run(alg, func(b *testing.B) {
			bn := newBench(b, Config{})
			ha1, _, _ := bn.users.HA1(realm, "alice")
			c := &static{ha1}
			d := bn.alice()
			d.alg = alg
			m := request(b, d.field())
			b.ReportAllocs()
			for b.Loop() {
				bn.a.Verify(m, sip.Authorization, realm, home, c)
			}
		})
	}
}

func BenchmarkChallenge(b *testing.B) {
	bn := newBench(b, Config{})
	m := request(b)
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf = bn.a.AppendChallenge(buf[:0], m, sip.WWWAuthenticate, realm, home, false, bn.users)
	}
}
