package registrar_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"onhook/internal/location"
	"onhook/internal/location/journaltest"
	"onhook/internal/registrar"
	"onhook/internal/sip"
	"onhook/internal/sipgruu"
)

const wholeRequest = "REGISTER sip:example.com SIP/2.0\r\n" +
	"Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKa;rport, SIP/2.0/UDP 10.0.0.2;branch=z9hG4bKb\r\n" +
	"Via: SIP/2.0/UDP 10.0.0.3;branch=z9hG4bKc\r\n" +
	"From: \"Alice\" <sip:alice@example.com>;tag=f1\r\n" +
	"To: \"Alice\" <sip:alice@example.com>\r\n" +
	"Call-ID: c1@10.0.0.1\r\n" +
	"CSeq: 1826 REGISTER\r\n" +
	"Contact: <sip:alice@10.0.0.1>\r\n" +
	"Supported: path\r\nPath: <sip:p;lr>\r\n" +
	"User-Agent: test\r\nContent-Length: 0\r\n\r\n"

var source = sip.Flow{Transport: sip.UDP, Remote: netip.MustParseAddrPort("192.0.2.1:1024")}

func start(tb testing.TB, lc location.Config, rc registrar.Config) (*location.Index, *registrar.Registrar) {
	tb.Helper()
	rc.Index = location.New(lc)
	ready := make(chan struct{})
	go func() { close(ready); _ = rc.Index.Run(context.Background()) }()
	<-ready
	return rc.Index, registrar.New(rc)
}

// The whole 200, byte for byte but for its tag.
func TestWholeReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, r := start(t, location.Config{Journal: journaltest.NewMemory()}, registrar.Config{})
		defer x.Close()
		reply := newReplier()
		r.Register(parse(t, wholeRequest), source, registrar.AOR{Key: 1}, reply)
		got := <-reply.got
		tag := parse(t, got).To.Tag()
		if len(tag) != 16 {
			t.Errorf("tag %q", tag)
		}
		want := "SIP/2.0 200 OK\r\n" +
			"Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKa;received=192.0.2.1;rport=1024, SIP/2.0/UDP 10.0.0.2;branch=z9hG4bKb\r\n" +
			"Via: SIP/2.0/UDP 10.0.0.3;branch=z9hG4bKc\r\n" +
			"From: \"Alice\" <sip:alice@example.com>;tag=f1\r\n" +
			"To: \"Alice\" <sip:alice@example.com>;tag=" + tag + "\r\n" +
			"Call-ID: c1@10.0.0.1\r\n" +
			"CSeq: 1826 REGISTER\r\n" +
			"Contact: <sip:alice@10.0.0.1>;expires=600\r\n" +
			"Path: <sip:p;lr>\r\n" +
			"Supported: path, outbound\r\n" +
			"Date: Sat, 01 Jan 2000 00:00:00 GMT\r\n" +
			"Content-Length: 0\r\n\r\n"
		if got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		b := x.Lookup(1, nil)[0]
		if b.Path != "<sip:p;lr>" || b.UserAgent != "test" || b.Flow != source || b.CallID != "c1@10.0.0.1" || b.CSeq != 1826 || b.FlowBound {
			t.Errorf("%+v", b)
		}
	})
}

// RFC 3608 6.3, RFC 5626 6: what else the 200 tells, and who is watched for it.
func TestServiceRouteAndFlowTimer(t *testing.T) {
	var watched []sip.Flow
	x, r := start(t, location.Config{Journal: journaltest.NewMemory()}, registrar.Config{
		FlowTimer: 2 * time.Minute,
		Watch:     func(f sip.Flow) { watched = append(watched, f) },
		ServiceRoute: func(dst []byte, f sip.Flow) []byte {
			return append(dst, "sip:p.example.com;transport="+f.Transport.Param()+";lr"...)
		},
	})
	defer x.Close()
	direct := strings.NewReplacer(", SIP/2.0/UDP 10.0.0.2;branch=z9hG4bKb\r\nVia: SIP/2.0/UDP 10.0.0.3;branch=z9hG4bKc", "",
		"Path: <sip:p;lr>\r\n", "", "Supported: path", "Supported: outbound").Replace(wholeRequest)
	outbound := strings.Replace(direct, "10.0.0.1>", `10.0.0.1>;reg-id=1;+sip.instance="<urn:uuid:1>"`, 1)
	tcp := sip.Flow{Transport: sip.TCP, Conn: 7, Remote: source.Remote}
	for i, c := range []struct {
		request     string
		flow        sip.Flow
		timer, want string
		watched     bool
	}{
		{direct, tcp, "", "tcp", false},
		{outbound, source, "30", "udp", false},
		{outbound, tcp, "120", "tcp", true},
		{strings.Replace(outbound, "reg-id=1", "reg-id=1;expires=0", 1), tcp, "", "tcp", false}, // nothing is left to keep alive
	} {
		watched = nil
		reply := newReplier()
		r.Register(parse(t, strings.Replace(c.request, "CSeq: 1826", fmt.Sprint("CSeq: ", 1826+i), 1)), c.flow, registrar.AOR{Key: 1}, reply)
		text := <-reply.got
		m := parse(t, text)
		timer, _ := m.Value(sip.FlowTimer)
		route, _ := m.Value(sip.ServiceRoute)
		if m.Status != 200 || timer != c.timer || route != "<sip:p.example.com;transport="+c.want+";lr>" {
			t.Errorf("case %d:\n%s", i, text)
		}
		if (len(watched) == 1 && watched[0] == c.flow) != c.watched {
			t.Errorf("case %d: watched %v", i, watched)
		}
	}
}

// RFC 5627 5.2: a device that says gruu is told both GRUUs, each time a new
// temporary one; others are told none.
func TestGRUUs(t *testing.T) {
	gruus, err := sipgruu.New([]byte("key"))
	if err != nil {
		t.Fatal(err)
	}
	x, r := start(t, location.Config{Journal: journaltest.NewMemory()}, registrar.Config{GRUUs: gruus})
	defer x.Close()
	cseq := 1826
	register := func(option, contact string) *sip.Message {
		cseq++
		text := strings.NewReplacer("Supported: path", option, "CSeq: 1826", fmt.Sprint("CSeq: ", cseq), "<sip:alice@10.0.0.1>", contact).Replace(wholeRequest)
		reply := newReplier()
		r.Register(parse(t, text), source, registrar.AOR{Key: 7, Username: "alice", Domain: "example.com"}, reply)
		return parse(t, <-reply.got)
	}
	const contact = `<sip:alice@10.0.0.1>;+sip.instance="<urn:uuid:1>"`
	gruu := func(m *sip.Message) (public, temporary string) {
		v, _ := m.Value(sip.Contact)
		a, err := sip.ParseNameAddr(v)
		if m.Status != 200 || err != nil {
			t.Fatalf("%d %q %v", m.Status, v, err)
		}
		public, _ = a.Params.Get("pub-gruu")
		temporary, _ = a.Params.Get("temp-gruu")
		return strings.Trim(public, `"`), strings.Trim(temporary, `"`)
	}
	seen := map[string]bool{}
	for _, option := range []string{"Supported: path, gruu", "Supported: gruu", "Require: gruu"} {
		m := register(option, contact)
		public, temporary := gruu(m)
		u, err := sip.ParseURI(temporary)
		d, ok := gruus.Read(u)
		b := x.Lookup(7, nil)[0]
		if public != "sip:alice@example.com;gr=urn:uuid:1" || err != nil || !ok || d.Key != 7 || !d.Names(&b) || u.Host != "example.com" {
			t.Errorf("%q: %q and %q", option, public, temporary)
		}
		if seen[temporary] || !m.HasOption(sip.Supported, "gruu") {
			t.Errorf("%q: %q again, or no Supported", option, temporary)
		}
		seen[temporary] = true
	}
	if public, temporary := gruu(register("Supported: path", contact)); public != "" || temporary != "" {
		t.Errorf("not asked for: %q and %q", public, temporary)
	}
	// What a device repeats of ours is not kept.
	register("Supported: path", contact+`;pub-gruu="sip:x@example.com;gr=1";temp-gruu="sip:y@example.com;gr"`)
	if b := x.Lookup(7, nil); len(b) != 1 || b[0].Params != `;+sip.instance="<urn:uuid:1>"` {
		t.Errorf("%+v", b)
	}
	if public, _ := gruu(register("Supported: gruu", "<sip:bob@10.0.0.2>")); public != "" {
		t.Errorf("without an instance: %q", public)
	}
	if m := register("Supported: gruu", `<sip:alice@example.com;gr=urn:uuid:2>;+sip.instance="<urn:uuid:3>"`); m.Status != 403 {
		t.Errorf("a GRUU as Contact gets %d", m.Status)
	}
}

// RFC 5627 3.1: a temporary GRUU holds while its device stays registered with
// one Call-ID, also at another contact and over another flow. What made it void
// cannot be taken back, not even by the old Call-ID.
func TestTemporaryGRUUsLapse(t *testing.T) {
	gruus, err := sipgruu.New([]byte("key"))
	if err != nil {
		t.Fatal(err)
	}
	x, r := start(t, location.Config{Journal: journaltest.NewMemory()}, registrar.Config{GRUUs: gruus})
	defer x.Close()
	const device = `;+sip.instance="<urn:uuid:1>"`
	cseq := 1826
	register := func(callID, contact string) (temporary sipgruu.Device) {
		t.Helper()
		cseq++
		reply := newReplier()
		text := strings.NewReplacer("Supported: path", "Supported: gruu, outbound", "CSeq: 1826", fmt.Sprint("CSeq: ", cseq),
			"c1@10.0.0.1", callID, "<sip:alice@10.0.0.1>", contact, "Via: SIP/2.0/UDP 10.0.0.3;branch=z9hG4bKc\r\n", "",
			", SIP/2.0/UDP 10.0.0.2;branch=z9hG4bKb", "", "Path: <sip:p;lr>\r\n", "").Replace(wholeRequest)
		r.Register(parse(t, text), source, registrar.AOR{Key: 7, Username: "alice", Domain: "example.com"}, reply)
		m := parse(t, <-reply.got)
		if m.Status != 200 {
			t.Fatalf("%s: %d", contact, m.Status)
		}
		if v, ok := m.Value(sip.Contact); ok {
			a, _ := sip.ParseNameAddr(v)
			uri, _ := a.Params.Get("temp-gruu")
			u, _ := sip.ParseURI(strings.Trim(uri, `"`))
			if temporary, ok = gruus.Read(u); !ok {
				t.Fatalf("no temporary GRUU in %s", v)
			}
		}
		return temporary
	}
	names := func(d sipgruu.Device) bool {
		return slices.ContainsFunc(x.Lookup(7, nil), func(b location.Binding) bool { return d.Names(&b) })
	}
	first := register("one", "<sip:alice@10.0.0.1>"+device)
	for _, contact := range []string{"<sip:alice@10.0.0.1>", "<sip:alice@10.0.0.9>"} {
		again := register("one", contact+device)
		if !names(first) || !names(again) {
			t.Errorf("void after a refresh at %s", contact)
		}
	}
	second := register("two", "<sip:alice@10.0.0.9>"+device)
	third := register("one", "<sip:alice@10.0.0.9>"+device)
	if names(first) || names(second) || !names(third) {
		t.Errorf("two registrations later: %t %t %t", names(first), names(second), names(third))
	}
	register("one", "<sip:alice@10.0.0.9>;expires=0"+device)
	fourth := register("one", "<sip:alice@10.0.0.9>"+device)
	if names(third) || !names(fourth) {
		t.Errorf("after the device left and came back: %t %t", names(third), names(fourth))
	}
	// Two flows of one device are one registration.
	fifth := register("three", "<sip:alice@10.0.0.9>;reg-id=1"+device)
	register("three", "<sip:alice@10.0.0.9>;reg-id=2"+device)
	register("three", "<sip:alice@10.0.0.9>;expires=0;reg-id=1"+device)
	if len(x.Lookup(7, nil)) != 1 || !names(fifth) {
		t.Errorf("the other flow is left: %t, %+v", names(fifth), x.Lookup(7, nil))
	}
}

// A device over UDP is behind a NAT when its Contact is not the host it is seen
// at: then it is probed, and never dialled at its Contact.
func TestBehindNAT(t *testing.T) {
	x, r := start(t, location.Config{Journal: journaltest.NewMemory()}, registrar.Config{})
	defer x.Close()
	tcp := sip.Flow{Transport: sip.TCP, Conn: 7, Remote: source.Remote}
	for i, c := range []struct {
		contact, path string
		flow          sip.Flow
		want          bool
	}{
		{"sip:alice@10.0.0.1", "", source, true},
		{"sip:alice@192.0.2.1:5060", "", source, false},
		{"sip:alice@192.0.2.1:1024", "", source, false},
		{"sip:alice@phone.local", "", source, true},
		{"sip:alice@10.0.0.1", "Path: <sip:p;lr>\r\n", source, false},
		{"tel:+4930123", "", source, false},
		{"sip:alice@10.0.0.1", "", tcp, false},
	} {
		text := strings.NewReplacer("sip:alice@10.0.0.1>", c.contact+">", "Path: <sip:p;lr>\r\n", c.path).Replace(wholeRequest)
		reply := newReplier()
		r.Register(parse(t, text), c.flow, registrar.AOR{Key: location.Key(i)}, reply)
		<-reply.got
		if b := x.Lookup(location.Key(i), nil); len(b) != 1 || b[0].BehindNAT != c.want {
			t.Errorf("%s: %+v", c.contact, b)
		}
	}
	if n := x.Probed(); n != 2 {
		t.Errorf("%d are to be probed", n)
	}
}

// A full queue and a journal that fails answer 503 with Retry-After, and
// nothing is changed.
func TestUnavailable(t *testing.T) {
	j := journaltest.NewMemory()
	x, r := start(t, location.Config{Journal: j, MaxPending: 1}, registrar.Config{RetryAfter: 5 * time.Second})
	entered, release := j.Hold()
	first, second := newReplier(), newReplier()
	r.Register(parse(t, wholeRequest), source, registrar.AOR{Key: 1}, first)
	<-entered
	r.Register(parse(t, wholeRequest), source, registrar.AOR{Key: 2}, second)
	check503(t, <-second.got)
	j.Fail(errors.New("no space left on device"))
	release()
	check503(t, <-first.got)
	if x.Count() != 0 {
		t.Errorf("%d bindings", x.Count())
	}
	x.Close()
	r.Register(parse(t, wholeRequest), source, registrar.AOR{Key: 1}, first)
	check503(t, <-first.got)
}

func check503(t *testing.T, got string) {
	t.Helper()
	m := parse(t, got)
	after, ok := m.Number(sip.RetryAfter)
	if m.Status != 503 || !ok || after < 5 || after > 10 || m.CallID != "c1@10.0.0.1" || m.To.Tag() == "" || m.Has(sip.Contact) {
		t.Errorf("got\n%s", got)
	}
	if n := strings.Count(got, "\r\nVia:"); n != 2 || strings.Count(got, "Content-Length") != 1 {
		t.Errorf("got\n%s", got)
	}
}

// Credentials that change between their check and the edit count.
func TestAdmit(t *testing.T) {
	current := 1
	x, r := start(t, location.Config{Journal: journaltest.NewMemory()}, registrar.Config{
		Admit: func(key location.Key, credentials any) (bool, bool) { return false, key == 1 && credentials == current }})
	defer x.Close()
	reply := newReplier()
	r.Register(parse(t, wholeRequest), source, registrar.AOR{Key: 1, Credentials: 1}, reply)
	if m := parse(t, <-reply.got); m.Status != 200 {
		t.Errorf("%d", m.Status)
	}
	current = 2
	r.Register(parse(t, wholeRequest), source, registrar.AOR{Key: 1, Credentials: 1, Domain: "example.com"}, reply)
	if got := <-reply.got; parse(t, got).Status != 403 || !strings.Contains(got, `Warning: 399 example.com "`) {
		t.Errorf("%s", got)
	}
}

// What a device may make us keep is bounded.
func TestLimits(t *testing.T) {
	x, r := start(t, location.Config{Journal: journaltest.NewMemory()}, registrar.Config{})
	defer x.Close()
	long := strings.Repeat("x", 3000)
	for name, change := range map[string][2]string{
		"contact":      {"sip:alice@10.0.0.1>", "sip:" + long + "@10.0.0.1>"},
		"parameter":    {"sip:alice@10.0.0.1>", "sip:alice@10.0.0.1>;x=" + long},
		"path":         {"<sip:p;lr>", "<sip:" + long + "@p;lr>"},
		"call-id":      {"c1@10.0.0.1", long},
		"many":         {"Contact: <sip:alice@10.0.0.1>", "Contact: <sip:a@h>" + strings.Repeat(", <sip:a@h>", 64)},
		"unclosed uri": {"sip:alice@10.0.0.1>", "sip:alice@[::1>"},
	} {
		m := new(sip.Message)
		if err := m.Parse([]byte(strings.Replace(wholeRequest, change[0], change[1], 1))); err != nil {
			continue
		}
		reply := newReplier()
		r.Register(m, source, registrar.AOR{Key: 1}, reply)
		if m := parse(t, <-reply.got); m.Status != 400 {
			t.Errorf("%s: %d", name, m.Status)
		}
	}
	reply := newReplier()
	agent := strings.Repeat("y", 255) + "é" + strings.Repeat("z", 1000)
	r.Register(parse(t, strings.Replace(wholeRequest, "User-Agent: test", "User-Agent: "+agent, 1)), source, registrar.AOR{Key: 1}, reply)
	<-reply.got
	if b := x.Lookup(1, nil); len(b) != 1 || b[0].UserAgent != agent[:255] {
		t.Errorf("%+v", b)
	}
}

// refresher repeats one REGISTER with a growing CSeq, without allocating.
type refresher struct {
	text []byte
	at   int // of the CSeq's last digit
	msg  sip.Message
	done chan int
}

func newRefresher() *refresher {
	text := strings.Replace(wholeRequest, "CSeq: 1826", "CSeq: 1000000000", 1)
	return &refresher{text: []byte(text), at: strings.Index(text, " REGISTER\r\nContact") - 1, done: make(chan int, 1)}
}

func (f *refresher) Respond(status int, _ []byte) { f.done <- status }

func (f *refresher) register(tb testing.TB, r *registrar.Registrar, aor registrar.AOR) {
	for i := f.at; ; i-- {
		if f.text[i]++; f.text[i] <= '9' {
			break
		}
		f.text[i] = '0'
	}
	if err := f.msg.Parse(f.text); err != nil {
		tb.Fatal(err)
	}
	r.Register(&f.msg, source, aor, f)
	if status := <-f.done; status != 200 {
		tb.Fatalf("status %d", status)
	}
}

// A refresh allocates nothing from the parsed request to the reply, the
// journal's engine aside.
func TestRefreshAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool forget at random")
	}
	x, r := start(t, location.Config{Journal: journaltest.NewDiscard()}, registrar.Config{})
	defer x.Close()
	feed := x.Subscribe(10) // somebody listens
	defer feed.Close()
	f := newRefresher()
	aor := registrar.AOR{Key: 1, MaxContacts: 10}
	for range 100 {
		f.register(t, r, aor)
	}
	if n := testing.AllocsPerRun(2000, func() { f.register(t, r, aor) }); n != 0 {
		t.Errorf("%v allocations per refresh", n)
	}
}

func BenchmarkRefresh(b *testing.B) {
	x, r := start(b, location.Config{Journal: journaltest.NewDiscard()}, registrar.Config{})
	defer x.Close()
	f := newRefresher()
	b.ReportAllocs()
	for b.Loop() {
		f.register(b, r, registrar.AOR{Key: 1, MaxContacts: 10})
	}
}

// Many devices of many endpoints at once; each is answered once, and the last
// answer tells the truth.
func TestManyAtOnce(t *testing.T) {
	x, r := start(t, location.Config{Journal: journaltest.NewMemory()}, registrar.Config{})
	defer x.Close()
	var devices sync.WaitGroup
	for d := range 8 {
		devices.Go(func() {
			for i := range 200 {
				expires := 600
				if i%5 == 4 {
					expires = 0
				}
				text := strings.NewReplacer("c1@", fmt.Sprint("d", d, "@"), "alice@10.0.0.1", fmt.Sprint("d", d, "@h"),
					"CSeq: 1826", fmt.Sprint("CSeq: ", i+1), "User-Agent: test", fmt.Sprint("Expires: ", expires)).Replace(wholeRequest)
				reply := newReplier()
				r.Register(parse(t, text), source, registrar.AOR{Key: location.Key(i % 3), MaxContacts: 20}, reply)
				got := <-reply.got
				if m := parse(t, got); m.Status != 200 || strings.Contains(got, fmt.Sprint("<sip:d", d, "@h>")) != (expires > 0) {
					t.Errorf("device %d, request %d:\n%s", d, i, got)
				}
			}
		})
	}
	devices.Wait()
}
