package floodguard

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"
)

var (
	alice = netip.MustParseAddr("192.0.2.1")
	bob   = netip.MustParseAddr("192.0.2.2")
)

const second = int64(time.Second)

// admitted counts how many of n packets at one moment get through.
func admitted(g *Guard, src netip.Addr, n int, now int64) (count int) {
	for range n {
		if g.Admit(src, now) {
			count++
		}
	}
	return count
}

func TestBurstThenRate(t *testing.T) {
	g := New(Config{PacketsPerSecond: 10, Burst: 30})
	now := 5 * second
	if n := admitted(g, alice, 100, now); n != 30 {
		t.Fatalf("burst of %d, want 30", n)
	}
	if n := admitted(g, bob, 100, now); n != 30 {
		t.Fatalf("another source has a burst of %d", n)
	}
	if n := admitted(g, alice, 100, now+second); n != 10 {
		t.Fatalf("%d a second later, want 10", n)
	}
	if n := admitted(g, alice, 100, now+100*second); n != 30 {
		t.Fatalf("%d after a rest, want the burst again", n)
	}
	if got, want := g.Stats().RateLimited, uint64(70+70+90+70); got != want {
		t.Fatalf("counted %d dropped, want %d", got, want)
	}
}

// What is dropped costs nothing: a source over its rate still gets its rate.
func TestFloodDoesNotStarveItself(t *testing.T) {
	g := New(Config{PacketsPerSecond: 10, Burst: 1})
	got := 0
	for now := int64(0); now < 10*second; now += second / 1000 {
		got += admitted(g, alice, 1, now)
	}
	if got < 99 || got > 101 {
		t.Fatalf("%d of 10,000 in 10 s at 10 a second", got)
	}
}

func TestPrefixesAreOneSource(t *testing.T) {
	for _, tc := range []struct {
		cfg  Config
		a, b string
		same bool
	}{
		{Config{}, "192.0.2.1", "192.0.2.2", false},
		{Config{}, "192.0.2.1", "::ffff:192.0.2.1", true},
		{Config{}, "2001:db8::1", "2001:db8::ffff", true},
		{Config{}, "2001:db8:0:1::1", "2001:db8:0:2::1", false},
		{Config{IPv4Bits: 24}, "192.0.2.1", "192.0.2.200", true},
		{Config{IPv4Bits: 24}, "192.0.2.1", "192.0.3.1", false},
		{Config{IPv4Bits: 25}, "192.0.2.1", "192.0.2.129", false},
		{Config{IPv6Bits: 48}, "2001:db8:0:1::1", "2001:db8:0:2::1", true},
		{Config{IPv6Bits: 128}, "2001:db8::1", "2001:db8::2", false},
		{Config{}, "fe80::1%eth0", "fe80::1%eth1", true},
	} {
		tc.cfg.Burst = 1
		g := New(tc.cfg)
		g.Admit(netip.MustParseAddr(tc.a), second)
		if same := !g.Admit(netip.MustParseAddr(tc.b), second); same != tc.same {
			t.Errorf("%s and %s with %+v: one source %v, want %v", tc.a, tc.b, tc.cfg, same, tc.same)
		}
	}
}

func TestTrustedNetworksHaveNoRate(t *testing.T) {
	g := New(Config{Burst: 1, UnboundConnections: 1, Trusted: []netip.Prefix{
		netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("::ffff:198.51.100.0/120"),
	}})
	for _, a := range []string{"192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1%eth0", "198.51.100.7"} {
		src := netip.MustParseAddr(a)
		if n := admitted(g, src, 100, second); n != 100 || !g.Trusted(src) {
			t.Errorf("%s: %d of 100 admitted", a, n)
		}
	}
	if g.Trusted(netip.MustParseAddr("198.51.101.1")) || g.Trusted(netip.Addr{}) {
		t.Error("trusts everyone")
	}
	if !g.Open(alice) || g.Open(alice) {
		t.Error("their connections are limited like anyone's")
	}
	g.Trust([]netip.Prefix{netip.MustParsePrefix("198.51.101.0/24")})
	for src, want := range map[string]int{"192.0.2.1": 1, "198.51.101.1": 100} {
		if n := admitted(g, netip.MustParseAddr(src), 100, second); n != want {
			t.Errorf("after a change %s: %d of 100 admitted, want %d", src, n, want)
		}
	}
}

func TestNoRateLimit(t *testing.T) {
	g := New(Config{PacketsPerSecond: -1, Burst: 1, UnboundConnections: 1})
	if n := admitted(g, alice, 100, second); n != 100 {
		t.Errorf("%d of 100 admitted", n)
	}
	if !g.Open(alice) || g.Open(alice) {
		t.Error("connections are limited all the same")
	}
}

// A full table forgets sources, and counts it, but never grows; a source that
// owes nothing goes first.
func TestTableIsBounded(t *testing.T) {
	g := New(Config{PacketsPerSecond: 1, Burst: 2, Sources: 64})
	room := 0
	for i := range g.packets.shards {
		room += len(g.packets.shards[i].sets) * ways
	}
	if room != 64 {
		t.Fatalf("room for %d sources", room)
	}
	for i := range 1000 {
		g.Admit(numbered(i), second)
	}
	if n := g.Stats().Evicted; n < 1000-64 || n > 1000 {
		t.Fatalf("%d forgotten of 1000, room for 64", n)
	}
	before := g.Stats().Evicted
	for i := range 64 {
		g.Admit(numbered(5000+i), 100*second) // nobody owes anything any more
		g.Admit(numbered(5000+i), 1000*second)
	}
	if got := g.Stats().Evicted - before; got > 64 {
		t.Fatalf("%d forgotten although they owed nothing", got)
	}
}

// The one who floods is not forgotten because many others send a packet each.
func TestFloodingSourceIsRemembered(t *testing.T) {
	g := New(Config{PacketsPerSecond: 1, Burst: 100, Sources: ways})
	if n := admitted(g, alice, 200, second); n != 100 {
		t.Fatalf("%d admitted", n)
	}
	got := 0
	for i := range 500 {
		g.Admit(numbered(i), second)
		got += admitted(g, alice, 1, second)
	}
	if got != 0 {
		t.Fatalf("%d more admitted", got)
	}
}

func numbered(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

func TestAdmitAllocatesNothing(t *testing.T) {
	g := New(Config{Sources: 1024, Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	i := 0
	if n := testing.AllocsPerRun(10_000, func() {
		i++
		g.Admit(numbered(i), second)
		g.Admit(alice, second)
	}); n != 0 {
		t.Fatalf("%v allocations per packet", n)
	}
}

func TestConnectionLimits(t *testing.T) {
	g := New(Config{Connections: 5, UnboundConnections: 2})
	step := func(what string, ok, want bool) {
		t.Helper()
		if ok != want {
			t.Fatalf("%s: %v", what, ok)
		}
	}
	step("first", g.Open(alice), true)
	step("second", g.Open(alice), true)
	step("third without a binding", g.Open(alice), false)
	step("of another source", g.Open(bob), true)
	for range 3 {
		g.SetBound(alice, true)
		step("after one got its binding", g.Open(alice), true)
	}
	step("sixth", g.Open(alice), false)
	if open, unbound := g.Connections(alice); open != 5 || unbound != 2 {
		t.Fatalf("%d open, %d unbound", open, unbound)
	}
	g.SetBound(alice, false)
	g.Close(alice, false)
	step("with two unbound still", g.Open(alice), false)
	g.Close(alice, true)
	g.Close(alice, true)
	g.Close(alice, false)
	g.Close(alice, false)
	if open, unbound := g.Connections(alice); open != 0 || unbound != 0 {
		t.Fatalf("%d open, %d unbound after all closed", open, unbound)
	}
	g.Close(bob, false)
	for i := range g.connections {
		if n := len(g.connections[i].sources); n != 0 {
			t.Fatalf("%d sources are still in the table", n)
		}
	}
	if s := g.Stats(); s.OpenRefused != 1 || s.UnboundRefused != 2 {
		t.Fatalf("counted %+v", s)
	}
}

func TestManyGoroutines(t *testing.T) {
	g := New(Config{PacketsPerSecond: 1, Burst: 1000, Connections: 10_000, UnboundConnections: 10_000})
	var wg sync.WaitGroup
	var mu sync.Mutex
	total := 0
	for range 8 {
		wg.Go(func() {
			n := admitted(g, alice, 500, second)
			for range 500 {
				g.Open(bob)
				g.SetBound(bob, true)
				g.Close(bob, true)
			}
			mu.Lock()
			defer mu.Unlock()
			total += n
		})
	}
	wg.Wait()
	if total != 1000 {
		t.Fatalf("%d admitted of a burst of 1000", total)
	}
	if open, unbound := g.Connections(bob); open != 0 || unbound != 0 {
		t.Fatalf("%d open, %d unbound", open, unbound)
	}
}

func BenchmarkAdmit(b *testing.B) {
	for _, sources := range []int{1, 1000, 1_000_000} {
		b.Run(fmt.Sprint(sources), func(b *testing.B) {
			g := New(Config{})
			b.ReportAllocs()
			for i := range b.N {
				g.Admit(numbered(i%sources), int64(i)*1000)
			}
		})
	}
}
