package directory

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"onhook/internal/account"
)

func endpoint(n int, username string) account.Endpoint {
	return account.Endpoint{ID: account.EndpointID(100_000_000_000_000 + n), Owner: "MA_AAAAAAAA", Main: "MA_AAAAAAAA",
		Username: username, Alias: username, Domain: "sip.test", Application: "12345678901234500", Allow: account.Permissions{Voice: true},
		MaxContacts: 10, Secret: account.Secret{MD5: [16]byte{1}, SHA256: [32]byte{2}, HasSHA256: true}}
}

// source is what a store would load.
type source struct {
	accounts  []account.Account
	endpoints []account.Endpoint
	meanwhile func(account.Endpoint) // runs before each endpoint is handed over
	err       error
	apps      []string
}

func (s source) Accounts(context.Context) ([]account.Account, error) { return s.accounts, nil }

func (s source) ApplicationIDs(context.Context) ([]string, error) { return s.apps, nil }

func (s source) EachEndpoint(_ context.Context, f func(account.Endpoint) error) error {
	for _, e := range s.endpoints {
		if s.meanwhile != nil {
			s.meanwhile(e)
		}
		if err := f(e); err != nil {
			return err
		}
	}
	return s.err
}

func created(e account.Endpoint) account.Change {
	return account.Change{Kind: account.Created, After: e}
}

func updated(before, after account.Endpoint) account.Change {
	return account.Change{Kind: account.Updated, Before: before, After: after}
}

func deleted(e account.Endpoint) account.Change {
	return account.Change{Kind: account.Deleted, Before: e}
}

func entryOf(e account.Endpoint) Entry {
	return Entry{ID: e.ID, Owner: e.Owner, Main: e.Main, Username: e.Username, Alias: e.Alias, Domain: e.Domain, Application: e.Application,
		Allow: e.Allow, MaxContacts: e.MaxContacts, Secret: e.Secret, Enabled: true}
}

// knows fails the test unless the directory has exactly these endpoints.
func knows(t *testing.T, d *Directory, all ...account.Endpoint) {
	t.Helper()
	if d.Len() != len(all) {
		t.Errorf("%d endpoints, want %d", d.Len(), len(all))
	}
	for _, e := range all {
		if got, ok := d.ByID(e.ID); !ok || got != entryOf(e) {
			t.Errorf("by id: %+v, %v, want %+v", got, ok, e)
		}
		for _, name := range []string{e.Username, strings.ToUpper(e.Username), strings.ToLower(e.Username)} {
			if got, ok := d.ByName(strings.ToUpper(e.Domain), name); !ok || got != entryOf(e) {
				t.Errorf("by name %s: %+v, %v, want %+v", name, got, ok, e)
			}
		}
	}
}

func TestChanges(t *testing.T) {
	d := New()
	knows(t, d)
	alice, bob := endpoint(1, "Alice_1"), endpoint(2, "bob")
	d.Apply(created(alice))
	d.Apply(created(bob))
	knows(t, d, alice, bob)

	after := alice
	after.Allow, after.Application, after.MaxContacts, after.Secret.MD5 = account.Permissions{Video: true}, "", 3, [16]byte{9}
	for range 2 { // a change applied again changes nothing
		d.Apply(updated(alice, after))
		knows(t, d, after, bob)
	}
	for range 2 {
		d.Apply(deleted(after))
		knows(t, d, bob)
	}
	for _, name := range [][2]string{{"sip.test", "alice_1"}, {"sip.test", ""}, {"", "bob"}, {"other.test", "bob"},
		{"sip.test", "bob "}, {"sip.tes", "tbob"}, {"sip.test", strings.Repeat("b", 400)}, {"sip.test", "Kob"}} {
		if e, ok := d.ByName(name[0], name[1]); ok {
			t.Errorf("%q is %+v", name, e)
		}
	}
	// The name given to another endpoint outlives a late repetition of the deletion.
	again := endpoint(3, "ALICE_1")
	d.Apply(created(again))
	d.Apply(deleted(after))
	knows(t, d, bob, again)
}

// Names whose hashes are equal are told apart. The chain is made by hand: the
// hash is seeded.
func TestEqualHashes(t *testing.T) {
	d := New()
	const h = 5
	s := &d.names[h%shards]
	var records []*Record
	for n := range 3 {
		r := newRecord(endpoint(n, fmt.Sprint("user", n)))
		d.link(h, r)
		records = append(records, r)
	}
	chain := func() (names string) {
		for r := s.records[h]; r != nil; r = r.next {
			names += r.Username() + " "
		}
		return names
	}
	successor := newRecord(endpoint(1, "USER1"))
	s.replace(h, records[1], successor)
	if got := chain(); got != "user2 USER1 user0 " {
		t.Errorf("chain is %s", got)
	}
	s.replace(h, records[2], nil)
	s.replace(h, records[2], nil) // not there any more
	if got := chain(); got != "USER1 user0 " {
		t.Errorf("chain is %s", got)
	}
	s.replace(h, records[0], nil)
	s.replace(h, successor, nil)
	if got := chain(); got != "" || len(s.records) != 0 {
		t.Errorf("chain is %s", got)
	}
}

func TestLoad(t *testing.T) {
	d := New()
	kept, gone, changed, born := endpoint(1, "kept"), endpoint(2, "gone"), endpoint(3, "changed"), endpoint(4, "born")
	newer := changed
	newer.MaxContacts = 20
	err := d.Load(t.Context(), source{endpoints: []account.Endpoint{kept, gone, changed}, meanwhile: func(e account.Endpoint) {
		// What happens while the source is read is newer than what it says.
		switch e.ID {
		case kept.ID:
			d.Apply(deleted(gone))
			d.Apply(updated(changed, newer))
		case changed.ID:
			d.Apply(created(born))
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	knows(t, d, kept, newer, born)
	failure := errors.New("on purpose")
	if err := New().Load(t.Context(), source{err: failure}); !errors.Is(err, failure) {
		t.Errorf("load: %v", err)
	}
}

func TestDisabledAccounts(t *testing.T) {
	d := New()
	own, subs := endpoint(1, "own"), endpoint(2, "subs")
	subs.Owner = "SA_BBBBBBBB"
	err := d.Load(t.Context(), source{endpoints: []account.Endpoint{own, subs},
		accounts: []account.Account{{AuthID: own.Owner, Enabled: true}, {AuthID: subs.Owner, Parent: own.Owner}}})
	if err != nil {
		t.Fatal(err)
	}
	enabled := func(wantOwn, wantSubs bool) {
		t.Helper()
		a, _ := d.ByID(own.ID)
		b, _ := d.ByName("sip.test", "subs")
		if a.Enabled != wantOwn || b.Enabled != wantSubs {
			t.Errorf("enabled: own %v, the sub-account's %v", a.Enabled, b.Enabled)
		}
	}
	enabled(true, false)
	d.SetEnabled(subs.Owner, true)
	enabled(true, true)
	d.SetEnabled(own.Owner, false) // a main account takes its sub-accounts along
	enabled(false, false)
	d.SetEnabled(own.Owner, true)
	enabled(true, true)
}

func TestOffersSHA256(t *testing.T) {
	d := New()
	offers := func(want bool) {
		t.Helper()
		if d.OffersSHA256("sip.test") != want || !d.OffersSHA256("other.test") {
			t.Errorf("offers: %v, elsewhere %v", d.OffersSHA256("sip.test"), d.OffersSHA256("other.test"))
		}
	}
	modern, legacy := endpoint(1, "modern"), endpoint(2, "legacy")
	legacy.Secret = account.Secret{MD5: [16]byte{3}}
	offers(true)
	d.Apply(created(modern))
	offers(true)
	d.Apply(created(legacy))
	d.Apply(created(legacy))
	offers(false)
	renewed := legacy
	renewed.Secret = modern.Secret
	d.Apply(updated(legacy, renewed))
	offers(true)
	d.Apply(updated(renewed, legacy))
	offers(false)
	d.Apply(deleted(legacy))
	d.Apply(deleted(legacy))
	offers(true)
}

// While endpoints change, nobody misses one or sees half of it.
func TestReadersDuringChanges(t *testing.T) {
	d := New()
	steady := endpoint(0, "steady")
	steady.MaxContacts = 0 // as the second byte of its secret, always
	d.Apply(created(steady))
	stop := make(chan struct{})
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				a, ok := d.ByName("SIP.test", "STEADY")
				b, ok2 := d.ByID(steady.ID)
				for _, e := range []Entry{a, b} {
					if !ok || !ok2 || int(e.Secret.MD5[1]) != e.MaxContacts {
						t.Errorf("half an endpoint: %+v", e)
						return
					}
				}
				runtime.Gosched()
			}
		})
	}
	for i := range 3000 {
		after := steady
		after.MaxContacts, after.Secret.MD5[1] = i%20, byte(i%20)
		d.Apply(updated(steady, after))
		other := endpoint(1+i%50, fmt.Sprint("other", i%50))
		if i%100 < 50 {
			d.Apply(created(other))
		} else {
			d.Apply(deleted(other))
		}
	}
	close(stop)
	group.Wait()
}

func TestLookupsDoNotAllocate(t *testing.T) {
	d := New()
	d.Apply(created(endpoint(1, "Alice_1")))
	d.SetEnabled("MA_CCCCCCCC", false)
	n := testing.AllocsPerRun(100, func() {
		if _, ok := d.ByName("SIP.Test", "ALICE_1"); !ok {
			t.Fatal("not found")
		}
		if _, ok := d.ByID(100_000_000_000_001); !ok {
			t.Fatal("not found")
		}
		d.ByName("sip.test", "nobody")
		d.OffersSHA256("sip.test")
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// An endpoint costs at most 300 bytes, whatever its account and application.
func TestMemoryPerEndpoint(t *testing.T) {
	const endpoints, limit = 200_000, 300
	before := heap()
	d := New()
	for n := range endpoints {
		e := endpoint(n, fmt.Sprintf("some_user_name_%07d", n))
		e.Owner = fmt.Sprintf("SA_%08d", n/10) // ten endpoints each
		e.Application = fmt.Sprintf("%015d00", n/10)
		d.Apply(created(e))
	}
	per := float64(heap()-before) / endpoints
	runtime.KeepAlive(d)
	t.Logf("%.0f bytes per endpoint", per)
	if per > limit {
		t.Errorf("%.0f bytes per endpoint, at most %d are allowed", per, limit)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // the first leaves what finalizers held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func BenchmarkByName(b *testing.B) {
	d := New()
	names := make([]string, 100_000)
	for n := range names {
		names[n] = fmt.Sprintf("user%06d", n)
		d.Apply(created(endpoint(n, names[n])))
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		if _, ok := d.ByName("sip.test", names[n%len(names)]); !ok {
			b.Fatal("not found")
		}
	}
}

// A record holds until its secret is another, its endpoint gone or its account
// disabled; other changes do not matter.
func TestHolds(t *testing.T) {
	d := New()
	e := endpoint(1, "alice")
	d.Apply(created(e))
	r := d.Find("sip.test", "alice")
	other := e
	other.MaxContacts = 3
	d.Apply(updated(e, other))
	if _, ok := d.Holds(r, r.Secret()); !ok {
		t.Error("not after a change of something else")
	}
	d.SetEnabled(e.Owner, false)
	if _, ok := d.Holds(r, r.Secret()); ok {
		t.Error("disabled")
	}
	d.SetEnabled(e.Owner, true)
	changed := other
	changed.Secret.MD5[0]++
	d.Apply(updated(other, changed))
	if _, ok := d.Holds(r, r.Secret()); ok {
		t.Error("after a change of the secret")
	}
	r = d.Find("sip.test", "alice")
	if _, ok := d.Holds(r, r.Secret()); !ok {
		t.Error("not the new one")
	}
	d.Apply(deleted(changed))
	if _, ok := d.Holds(r, r.Secret()); ok {
		t.Error("after the deletion")
	}
}

// What happens to an application before all are loaded is newer than what the
// source says.
func TestApplications(t *testing.T) {
	d := New()
	d.ApplyApplication(account.ApplicationChange{ID: "gone", Gone: true})
	d.ApplyApplication(account.ApplicationChange{ID: "new"})
	if err := d.Load(t.Context(), source{apps: []string{"old", "gone"}}); err != nil {
		t.Fatal(err)
	}
	d.ApplyApplication(account.ApplicationChange{ID: "short"})
	d.ApplyApplication(account.ApplicationChange{ID: "short", Gone: true})
	for id, want := range map[string]bool{"old": true, "new": true, "gone": false, "short": false, "never": false} {
		if got := d.Application(id); got != want {
			t.Errorf("%s: %v", id, got)
		}
	}
	if n := len(d.apps.ids); n != 2 {
		t.Errorf("%d are kept, want 2", n)
	}
}
