package server

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"onhook/internal/account"
	"onhook/internal/directory"
	"onhook/internal/location/journaltest"
	"onhook/internal/sip"
)

// rig is the request path with everything behind it but disk and network:
// answers go to a listener that does not exist.
type rig struct {
	*path
	users []rigUser
	flow  sip.Flow
	msg   sip.Message
}

type rigUser struct {
	name  string
	ha1   string
	nonce string
	nc    int
	cseq  int
}

// newRig registers users, each from its own port.
func newRig(b testing.TB, users int) *rig {
	cfg := testConfig(b)
	cfg.Trace.Megabytes = 0 // so many attempts a second are copied, and that is paid apart
	dir := directory.New()
	r := &rig{flow: sip.Flow{Transport: sip.UDP, Listener: 9, Remote: netip.MustParseAddrPort("127.0.0.1:40000")}}
	for i := range users {
		u := rigUser{name: fmt.Sprintf("u%d", i)}
		sum := md5.Sum([]byte(u.name + ":example.com:secret"))
		u.ha1 = hex.EncodeToString(sum[:])
		r.users = append(r.users, u)
		dir.Apply(account.Change{Kind: account.Created, After: account.Endpoint{ID: account.EndpointID(1e14) + account.EndpointID(i)*7919, Owner: "MA", Main: "MA",
			Username: u.name, Domain: "example.com", MaxContacts: 10, Secret: account.Secret{MD5: sum}}})
	}
	logger := slog.New(slog.DiscardHandler)
	db, err := openAccounts(b.Context(), cfg, logger)
	if err != nil {
		b.Fatal(err)
	}
	s := &Server{cfg: cfg, logger: logger, store: db.store, accounts: db.service, journal: journaltest.NewDiscard()}
	b.Cleanup(func() { _ = s.closeStores() })
	if err := s.build(b.Context(), dir, make([]byte, 32)); err != nil {
		b.Fatal(err)
	}
	r.path = s.path
	go func() { _ = r.index.Run(b.Context()) }()
	for i := range r.users {
		r.receive(r.register(i))
		r.users[i].nonce = r.challenge(i)
		r.receive(r.register(i))
	}
	r.settle()
	return r
}

// challenge makes the nonce that a 401 would have brought.
func (r *rig) challenge(i int) string {
	if err := r.msg.Parse(r.register(i)); err != nil {
		panic(err)
	}
	c := string(r.auth.AppendChallenge(nil, &r.msg, sip.WWWAuthenticate, "example.com", r.flow, false, credentials{r.directory}))
	_, c, _ = strings.Cut(c, `nonce="`)
	c, _, _ = strings.Cut(c, `"`)
	return c
}

// register is the next REGISTER of a user, as long as those of ordinary phones.
func (r *rig) register(i int) []byte {
	u := &r.users[i]
	u.cseq++
	auth := ""
	if u.nonce != "" {
		u.nc++
		h := func(s string) string {
			sum := md5.Sum([]byte(s))
			return hex.EncodeToString(sum[:])
		}
		response := h(fmt.Sprintf("%s:%s:%08x:0a4f113b:auth:%s", u.ha1, u.nonce, u.nc, h("REGISTER:sip:example.com")))
		auth = fmt.Sprintf("Authorization: Digest username=\"%s\", realm=\"example.com\", nonce=\"%s\", uri=\"sip:example.com\", response=\"%s\", algorithm=MD5, qop=auth, nc=%08x, cnonce=\"0a4f113b\"\r\n",
			u.name, u.nonce, response, u.nc)
	}
	return fmt.Appendf(nil, "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:40000;rport;branch=z9hG4bKr.%[2]d.%[3]d\r\nMax-Forwards: 70\r\n"+
		"From: <sip:%[1]s@example.com>;tag=f%[3]d\r\nTo: <sip:%[1]s@example.com>\r\nCall-ID: %[3]d-0@bench40000\r\nCSeq: %[2]d REGISTER\r\n"+
		"Contact: <sip:%[1]s@127.0.0.1:40000>\r\nExpires: 3600\r\nUser-Agent: bench\r\n%[4]sContent-Length: 0\r\n\r\n", u.name, u.cseq, i, auth)
}

func (r *rig) receive(data []byte) {
	if err := r.msg.Parse(data); err != nil {
		panic(err)
	}
	r.Message(&r.msg, r.flow)
}

// settle waits until every answer has been given.
func (r *rig) settle() {
	for r.index.Stats().Pending > 0 {
		time.Sleep(100 * time.Microsecond)
	}
}

// A refresh allocates nothing from parsing to the answer, what the index keeps
// and hands to the journal included.
func TestRefreshAllocatesNothing(t *testing.T) {
	const users, runs = 50, 2000
	r := newRig(t, users)
	var in [][]byte
	for i := range runs + users + 1 { // AllocsPerRun makes one run more
		in = append(in, r.register(i%users))
	}
	next := func() {
		r.receive(in[0])
		in = in[1:]
		r.settle()
	}
	for range users {
		next()
	}
	before := r.challenged()
	if n := testing.AllocsPerRun(runs, next); n != 0 {
		t.Errorf("%v allocations per refresh", n)
	}
	if r.challenged() != before || r.index.Count() != users {
		t.Error("those were no refreshes")
	}
}

// The 401 to somebody without credentials allocates nothing either.
func TestChallengeAllocatesNothing(t *testing.T) {
	const runs = 1000
	r := newRig(t, 1)
	r.users[0].nonce = ""
	var in [][]byte
	for range runs + 1 {
		in = append(in, r.register(0))
	}
	before := r.challenged()
	if n := testing.AllocsPerRun(runs, func() { r.receive(in[0]); in = in[1:] }); n != 0 {
		t.Errorf("%v allocations per challenge", n)
	}
	if r.challenged() != before+runs+1 {
		t.Error("those were no challenges")
	}
}

func (r *rig) challenged() uint64 { return r.stats.challenged.Load() + r.stats.refused.Load() }

// BenchmarkRegister takes REGISTERs from parsing to the answer, which is put
// together but not sent. cpu-ns/op counts all threads.
func BenchmarkRegister(b *testing.B) {
	const users, chunk = 20_000, 2000
	for _, mode := range []string{"refresh", "challenge"} {
		b.Run(mode, func(b *testing.B) {
			r := newRig(b, users)
			var cpu time.Duration
			b.ReportAllocs()
			b.ResetTimer()
			for done := 0; done < b.N; done += chunk {
				b.StopTimer()
				var in [][]byte
				for i := range min(chunk, b.N-done) {
					user := (done + i) % users
					if mode == "challenge" {
						r.users[user].nonce = ""
					}
					in = append(in, r.register(user))
				}
				began := processTime()
				b.StartTimer()
				for _, data := range in {
					r.receive(data)
				}
				r.settle()
				b.StopTimer()
				cpu += processTime() - began
				b.StartTimer()
			}
			b.StopTimer()
			b.ReportMetric(float64(cpu.Nanoseconds())/float64(b.N), "cpu-ns/op")
			if got := r.index.Count(); got != users {
				b.Fatalf("%d bindings, want %d", got, users)
			}
		})
	}
}

func processTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
