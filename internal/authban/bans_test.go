package authban

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

type clock struct{ now time.Time }

func (c *clock) Now() time.Time          { return c.now }
func (c *clock) advance(d time.Duration) { c.now = c.now.Add(d) }

func newBans(c Config) (*Bans, *clock) {
	k := &clock{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	c.Now = k.Now
	return New(c), k
}

func from(source, username string) Pair {
	return Pair{Source: netip.MustParseAddr(source), Realm: "example.com", Username: username}
}

var bob = from("192.0.2.1", "bob")

func wrong(b *Bans, p Pair, n int) {
	for range n {
		b.Wrong(p)
	}
}

func TestTenthWrongDigestBansThePairAlone(t *testing.T) {
	b, now := newBans(Config{})
	wrong(b, bob, 9)
	if b.Refused(bob) || len(b.List()) != 0 {
		t.Fatal("banned after nine")
	}
	b.Wrong(bob)
	if !b.Refused(bob) || !b.Refused(from("::ffff:192.0.2.1", "BoB")) {
		t.Fatal("not banned after ten")
	}
	other := bob
	other.Realm = "example.org"
	for _, p := range []Pair{from("192.0.2.1", "alice"), from("192.0.2.2", "bob"), from("192.0.2.1", "bobb"), other} {
		if b.Refused(p) {
			t.Errorf("%+v is banned too", p)
		}
	}
	list := b.List()
	if len(list) != 1 {
		t.Fatalf("listed %+v", list)
	}
	got := list[0]
	if got.Source.String() != "192.0.2.1/32" || got.Username != "bob" || got.Realm != "example.com" || got.Reason != Reason ||
		got.DryRun || !got.Began.Equal(now.now) || !got.Ends.Equal(now.now.Add(time.Minute)) || got.ID == "" {
		t.Errorf("listed %+v", got)
	}
	now.advance(time.Minute - 1)
	if !b.Refused(bob) {
		t.Error("free too early")
	}
	now.advance(1)
	if b.Refused(bob) || len(b.List()) != 0 {
		t.Error("banned for ever")
	}
}

func TestWindowSlides(t *testing.T) {
	b, now := newBans(Config{})
	for range 30 { // nine in any ten minutes
		b.Wrong(bob)
		now.advance(70 * time.Second)
	}
	if b.Stats().Made != 0 {
		t.Fatal("banned although never ten within the window")
	}
	for range 10 {
		b.Wrong(bob)
		now.advance(59 * time.Second)
	}
	if b.Stats().Made != 1 {
		t.Fatal("ten within ten minutes, across any border, are a ban")
	}
}

func TestBansDoubleUpToTheLimit(t *testing.T) {
	b, now := newBans(Config{})
	for _, minutes := range []int{1, 2, 4, 8, 16, 32, 60, 60} {
		wrong(b, bob, 10)
		list := b.List()
		if len(list) != 1 || list[0].Ends.Sub(list[0].Began) != time.Duration(minutes)*time.Minute {
			t.Fatalf("%+v, want %d minutes", list, minutes)
		}
		now.advance(list[0].Ends.Sub(now.now))
	}
	now.advance(time.Hour + 1)
	wrong(b, bob, 10)
	if l := b.List(); l[0].Ends.Sub(l[0].Began) != time.Minute {
		t.Errorf("after a long rest %+v", l)
	}
}

func TestRightPasswordForgives(t *testing.T) {
	b, now := newBans(Config{})
	wrong(b, bob, 9)
	b.Right(bob)
	wrong(b, bob, 9)
	if b.Refused(bob) {
		t.Fatal("banned")
	}
	b.Wrong(bob)
	now.advance(time.Minute)
	b.Right(bob)
	if b.Stats().Pairs != 0 {
		t.Error("still remembered")
	}
	wrong(b, bob, 10)
	if l := b.List(); l[0].Ends.Sub(l[0].Began) != time.Minute {
		t.Errorf("the ban after it is no first one: %+v", l)
	}
}

func TestLift(t *testing.T) {
	b, _ := newBans(Config{})
	for _, name := range []string{"a", "b", "c"} {
		wrong(b, from("192.0.2.1", name), 10)
	}
	wrong(b, bob, 9)
	for _, x := range b.List() {
		if x.Username == "b" && (!b.Lift(x.ID) || b.Lift(x.ID)) {
			t.Error("lifted not at all, or twice")
		}
	}
	if b.Lift("") || b.Lift("nothing") {
		t.Error("lifted what is not there")
	}
	if b.Refused(from("192.0.2.1", "b")) || !b.Refused(from("192.0.2.1", "a")) {
		t.Error("lifted the wrong one")
	}
	if b.LiftAll() != 2 || len(b.List()) != 0 {
		t.Error("not all lifted")
	}
	if s := b.Stats(); s.Lifted != 3 || s.Active != 0 || s.Pairs != 1 || s.Made != 3 {
		t.Errorf("%+v", s)
	}
}

func TestDryRunRefusesNothing(t *testing.T) {
	b, now := newBans(Config{DryRun: true})
	wrong(b, bob, 25)
	if b.Refused(bob) {
		t.Fatal("refused")
	}
	b.Right(bob) // would not have been looked at
	if l := b.List(); len(l) != 1 || !l[0].DryRun {
		t.Errorf("listed %+v", l)
	}
	if s := b.Stats(); s.Made != 1 || s.Refused != 1 || s.Active != 1 || s.Wrong != 25 {
		t.Errorf("%+v", s)
	}
	now.advance(time.Minute)
	b.Refused(bob)
	if s := b.Stats(); s.Refused != 1 || s.Active != 0 {
		t.Errorf("%+v", s)
	}
}

func TestIPv6SourceIsItsPrefix(t *testing.T) {
	b, _ := newBans(Config{Wrong: 2})
	b.Wrong(from("2001:db8::1", "bob"))
	b.Wrong(from("2001:db8::2%eth0", "bob"))
	if !b.Refused(from("2001:db8::3", "bob")) || b.Refused(from("2001:db8:0:1::1", "bob")) {
		t.Error("a source is a /64")
	}
	if l := b.List(); l[0].Source.String() != "2001:db8::/64" {
		t.Errorf("listed %v", l[0].Source)
	}
}

func TestHostileNames(t *testing.T) {
	b, _ := newBans(Config{Wrong: 1})
	long := strings.Repeat("x", 5000)
	for _, name := range []string{"", "\xff\xfe", long, long + "y"} {
		p := from("192.0.2.1", name)
		if b.Refused(p) {
			t.Errorf("%.10q is banned for another", name)
		}
		b.Wrong(p)
		if !b.Refused(p) {
			t.Errorf("%.10q is not banned", name)
		}
	}
	for _, x := range b.List() {
		if len(x.Username) > maxName {
			t.Errorf("keeps %d bytes", len(x.Username))
		}
	}
}

// Trying many names pushes out those who tried them, not the bans.
func TestTableIsBoundedAndKeepsBans(t *testing.T) {
	b, _ := newBans(Config{Pairs: 64})
	wrong(b, bob, 10)
	for i := range 10_000 {
		b.Wrong(from("192.0.2.9", fmt.Sprint("user", i)))
	}
	s := b.Stats()
	if s.Pairs > 64 || s.Evicted != uint64(10_001-s.Pairs) {
		t.Errorf("%+v", s)
	}
	if !b.Refused(bob) {
		t.Error("the ban was forgotten")
	}
}

// Who has done nothing wrong for long makes room, and is no loss.
func TestOldPairsMakeRoom(t *testing.T) {
	b, now := newBans(Config{Pairs: ways})
	for i := range ways {
		b.Wrong(from("192.0.2.9", fmt.Sprint("user", i)))
	}
	now.advance(2 * time.Hour)
	wrong(b, bob, 10)
	if s := b.Stats(); s.Evicted != 0 || s.Pairs != ways || !b.Refused(bob) {
		t.Errorf("%+v", s)
	}
}

// Everything at once: the figures agree in the end.
func TestConcurrentUse(t *testing.T) {
	b := New(Config{Pairs: 64, Wrong: 3})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 2000 {
				p := from("192.0.2.1", fmt.Sprint("user", (i*7+g)%100))
				b.Refused(p)
				b.Wrong(p)
				if i%5 == 0 {
					b.Right(p)
				}
				if i%500 == 0 {
					for _, x := range b.List() {
						b.Lift(x.ID)
					}
				}
			}
		})
	}
	wg.Wait()
	b.LiftAll()
	used := 0
	for i := range b.table.sets {
		for j := range b.table.sets[i].entries {
			if b.table.sets[i].entries[j].used() {
				used++
			}
		}
	}
	if s := b.Stats(); s.Pairs != used || s.Wrong != 16_000 || s.Active != 0 {
		t.Errorf("%+v, %d used", s, used)
	}
}

func TestNilKnowsNoBans(t *testing.T) {
	var b *Bans
	wrong(b, bob, 100)
	b.Right(bob)
	if b.Refused(bob) || b.List() != nil || b.Lift("x") || b.LiftAll() != 0 || b.Stats() != (Stats{}) {
		t.Error("knows bans")
	}
}

func TestGoodPathAllocatesNothing(t *testing.T) {
	b, _ := newBans(Config{})
	wrong(b, bob, 10)
	alice := from("192.0.2.1", "alice")
	if n := testing.AllocsPerRun(1000, func() {
		b.Refused(bob)
		b.Refused(alice)
		b.Wrong(alice)
		b.Right(alice)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
