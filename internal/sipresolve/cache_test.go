package sipresolve

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"onhook/internal/sip"
)

// scripted makes a resolver whose name server is a function.
func scripted(f func(q question) string) (*Resolver, *int) {
	r := New(Config{Transports: []sip.Transport{sip.UDP}, IPv4: true, MaxAnswers: 10})
	asked := 0
	r.exchange = func(_ context.Context, q question) (*dns.Msg, error) {
		asked++
		text := f(q)
		if text == "" {
			return nil, ErrDNS
		}
		reply := new(dns.Msg)
		rr, err := dns.NewRR(text)
		if err != nil {
			return nil, err
		}
		if rr.Header().Rrtype == q.kind {
			reply.Answer = []dns.RR{rr}
		} else {
			reply.Ns = []dns.RR{rr}
		}
		return reply, nil
	}
	return r, &asked
}

func resolveHost(r *Resolver, host string) (hops []Hop, err error) {
	done := make(chan struct{})
	r.Resolve(Destination{Host: host, Port: 5060}, func(h []Hop, e error) { hops, err = h, e; close(done) })
	<-done
	return hops, err
}

// An answer is kept as long as its TTL says: also that there is none (RFC 2308
// 5, the smaller of the SOA's TTL and its minimum), and for a moment that there
// was a failure (RFC 9520 3.2).
func TestTTL(t *testing.T) {
	for _, c := range []struct {
		name, reply string
		kept        time.Duration
		want        error
	}{
		{"record", "a.example. 60 IN A 192.0.2.1", 60 * time.Second, nil},
		{"no record", "example. 900 IN SOA ns.example. admin.example. 1 2 3 4 30", 30 * time.Second, ErrNotFound},
		{"no record, short SOA", "example. 20 IN SOA ns.example. admin.example. 1 2 3 4 30", 20 * time.Second, ErrNotFound},
		{"no record, endless SOA", "example. 900000 IN SOA ns.example. admin.example. 1 2 3 4 900000", time.Hour, ErrNotFound},
		{"failure", "", 5 * time.Second, ErrDNS},
		{"endless record", "a.example. 9000000 IN A 192.0.2.1", 24 * time.Hour, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, asked := scripted(func(question) string { return c.reply })
				for i, wait := range []time.Duration{0, c.kept - time.Second, time.Second} {
					time.Sleep(wait)
					if _, err := resolveHost(r, "a.example"); err != c.want {
						t.Errorf("%v", err)
					}
					if want := 1 + i/2; *asked != want {
						t.Errorf("step %d: asked %d times, want %d", i, *asked, want)
					}
				}
			})
		})
	}
}

// The table of answers has its bound; what has the least time left goes.
func TestAnswersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := scripted(func(q question) string { return q.name + " 60 IN A 192.0.2.1" })
		for i := range 100 {
			if _, err := resolveHost(r, fmt.Sprintf("h%d.example", i)); err != nil {
				t.Fatal(err)
			}
		}
		if n := r.Stats().Answers; n != 10 {
			t.Errorf("%d answers kept", n)
		}
	})
}

// RFC 3263 4.3: an address that failed is tried after the others, for a while;
// it is not given up. Over TLS the failure is that of one domain.
func TestAvoid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{Avoid: 30 * time.Second, MaxAnswers: 10})
		hop := func(n byte) Hop {
			return Hop{sip.UDP, netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, n}), 5060), "a.example"}
		}
		order := func(hops ...Hop) string {
			s := ""
			for _, h := range r.finish(hops, time.Now()) {
				s += fmt.Sprint(" ", h.Addr.Addr().As4()[3])
			}
			return s
		}
		r.Avoid(hop(1), 0)
		other := hop(1)
		other.Domain = "b.example"
		if got := order(other, hop(2)); got != " 2 1" {
			t.Errorf("avoided:%s", got)
		}
		r.Avoid(hop(2), 10*time.Second)
		if got := order(hop(1), hop(2)); got != " 1 2" {
			t.Errorf("all avoided:%s", got)
		}
		time.Sleep(10 * time.Second)
		if got := order(hop(1), hop(2)); got != " 2 1" {
			t.Errorf("the second is back:%s", got)
		}
		time.Sleep(20 * time.Second)
		if got := order(hop(1), hop(2)); got != " 1 2" || r.Stats().Avoided != 0 {
			t.Errorf("all are back:%s", got)
		}
		r.Avoid(hop(1), 0)
		if r.Reached(hop(1)); order(hop(1), hop(2)) != " 1 2" {
			t.Error("reached, and still avoided")
		}
		secure, namesake := hop(3), hop(3)
		secure.Transport, namesake.Transport, namesake.Domain = sip.TLS, sip.TLS, "b.example"
		r.Avoid(secure, 0)
		if got := r.finish([]Hop{secure, namesake}, time.Now()); got[0] != namesake {
			t.Errorf("one domain's certificate: %v", got)
		}
		for i := range 200 {
			r.Avoid(hop(byte(i)), 0)
		}
		if n := r.Stats().Avoided; n > 10 {
			t.Errorf("%d addresses avoided", n)
		}
	})
}

// RFC 2782: within a priority, records come first as often as their weights say,
// and one of weight 0 hardly ever.
func TestWeights(t *testing.T) {
	r := New(Config{})
	records := []srv{{10, 60, 1, "a"}, {10, 30, 2, "b"}, {10, 10, 3, "c"}, {10, 0, 4, "d"}, {5, 0, 5, "first"}, {20, 100, 6, "last"}}
	first := map[string]int{}
	for range 10_000 {
		got := order(records, r.config.rand)
		if len(got) != 6 || got[0].target != "first" || got[5].target != "last" {
			t.Fatalf("%v", got)
		}
		first[got[1].target]++
	}
	// Ten standard deviations are less than 500.
	for target, want := range map[string]int{"a": 6000, "b": 3000, "c": 1000, "d": 0} {
		if n := first[target]; n < want-500 || n > want+500 {
			t.Errorf("%s came first %d times, want about %d", target, n, want)
		}
	}
	if first["d"] == 0 {
		t.Error("a weight of 0 never comes first")
	}
}
