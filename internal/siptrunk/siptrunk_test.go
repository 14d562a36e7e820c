package siptrunk

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"onhook/internal/sip"
	"onhook/internal/sipresolve"
	"onhook/internal/siptransaction"
	"onhook/internal/trunk"
)

// carrier is a trunk on the other side of a transport that is nothing but calls:
// it answers each REGISTER as the test says.
type carrier struct {
	t        *testing.T
	layer    *siptransaction.Layer
	mu       sync.Mutex
	got      []*sip.Message
	pings    int
	dead     map[netip.AddrPort]bool
	conn     uint64
	answer   func(m *sip.Message) string // status line and fields; "" for none
	goodbye  time.Duration               // that the answer to a goodbye takes
	avoided  int
	lastFlow sip.Flow
}

var (
	hopA = netip.MustParseAddrPort("198.51.100.1:5060")
	hopB = netip.MustParseAddrPort("198.51.100.2:5060")
)

func (c *carrier) Send(flow sip.Flow, msg []byte) error {
	c.mu.Lock()
	if c.dead[flow.Remote] {
		c.mu.Unlock()
		return errors.New("unreachable")
	}
	if string(msg) == "\r\n\r\n" {
		c.pings++
		c.mu.Unlock()
		return nil
	}
	m := &sip.Message{}
	if err := m.Parse(append([]byte(nil), msg...)); err != nil {
		c.t.Error(err)
	}
	c.got = append(c.got, m)
	c.lastFlow = flow
	c.mu.Unlock()
	answer := c.answer(m)
	if answer == "" {
		return nil
	}
	var b strings.Builder
	first, fields, _ := strings.Cut(answer, "\n")
	fmt.Fprintf(&b, "SIP/2.0 %s\n", first)
	for _, h := range m.Headers {
		switch h.ID {
		case sip.Via, sip.From, sip.To, sip.CallID, sip.CSeq:
			fmt.Fprintf(&b, "%s: %s\n", h.Name, h.Value)
		}
	}
	b.WriteString(fields + "Content-Length: 0\n\n")
	resp := &sip.Message{}
	if err := resp.Parse([]byte(strings.ReplaceAll(b.String(), "\n", "\r\n"))); err != nil {
		c.t.Errorf("%v in %s", err, b.String())
	}
	c.mu.Lock()
	delay := c.goodbye
	c.mu.Unlock()
	if expires, _ := m.Number(sip.Expires); expires != 0 {
		delay = 0
	}
	go func() {
		time.Sleep(delay)
		c.layer.Receive(resp, flow)
	}()
	return nil
}

func (c *carrier) Dial(t sip.Transport, remote netip.AddrPort, _ string) (sip.Flow, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return sip.Flow{Transport: t, Conn: c.conn, Remote: remote}, nil
}

func (c *carrier) Alive(flow sip.Flow) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return flow.Conn == c.conn
}

func (c *carrier) SetBound(sip.Flow, bool)             {}
func (c *carrier) SentBy(sip.Flow) string              { return "192.0.2.1:5060" }
func (c *carrier) Avoid(sipresolve.Hop, time.Duration) { c.avoided++ }

func (c *carrier) Resolve(d sipresolve.Destination, done func([]sipresolve.Hop, error)) {
	if d.Host != "carrier.example" {
		done(nil, sipresolve.ErrNotFound)
		return
	}
	done([]sipresolve.Hop{{Transport: d.Transport, Addr: hopA, Domain: d.Host}, {Transport: d.Transport, Addr: hopB, Domain: d.Host}}, nil)
}

// requests returns the REGISTERs since the last call.
func (c *carrier) requests() []*sip.Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	got := c.got
	c.got = nil
	return got
}

// pinged counts the keepalives.
func (c *carrier) pinged() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pings
}

const challenge = "401 Unauthorized\nWWW-Authenticate: Digest realm=\"carrier\", nonce=\"n\", qop=\"auth\", algorithm=SHA-256\n"

// accept answers as a registrar does: a challenge, then 200.
func accept(m *sip.Message) string {
	if !m.Has(sip.Authorization) {
		return challenge
	}
	contact, _ := m.Value(sip.Contact)
	expires, _ := m.Value(sip.Expires)
	return "200 OK\nContact: <sip:other@192.0.2.9>;expires=7, " + contact + ";expires=" + expires + "\n"
}

var one = trunk.Trunk{Name: "one", URI: "sip:carrier.example", Transport: "tcp", Username: "us", Password: "secret", Register: true}

// withCarrier runs the registrations of a trunk for a while; stop ends them.
func withCarrier(t *testing.T, with trunk.Trunk, answer func(*sip.Message) string, f func(c *carrier, r *Registrations, stop func())) {
	synctest.Test(t, func(t *testing.T) {
		table, err := trunk.NewTable("", "example.com")
		if err != nil {
			t.Fatal(err)
		}
		if err := table.Set([]trunk.Trunk{with}, nil); err != nil {
			t.Fatal(err)
		}
		c := &carrier{t: t, dead: map[netip.AddrPort]bool{}, conn: 1, answer: answer}
		c.layer = siptransaction.New(siptransaction.Config{Sender: c})
		go c.layer.Run(t.Context())
		r := New(Config{Table: table, Transport: c, Transactions: c.layer, Resolver: c, Logger: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		stopped := false
		stop := func() {
			if !stopped {
				stopped = true
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
		}
		synctest.Wait()
		f(c, r, stop)
		stop()
		c.layer.Close()
		synctest.Wait()
	})
}

// RFC 3261 10.2: registered with the password, refreshed in time, kept open, and
// taken back at the end.
func TestRegistration(t *testing.T) {
	withCarrier(t, one, accept, func(c *carrier, r *Registrations, stop func()) {
		table := r.config.Table
		got := c.requests()
		if len(got) != 2 || got[0].Has(sip.Authorization) || got[1].CSeq != got[0].CSeq+1 || got[1].CallID != got[0].CallID {
			t.Fatalf("%d REGISTERs", len(got))
		}
		if got[0].RequestURI != "sip:carrier.example" || got[0].To.URI != "sip:us@carrier.example" {
			t.Errorf("REGISTER %s, To %s", got[0].RequestURI, got[0].To.URI)
		}
		if contact, _ := got[0].Value(sip.Contact); contact != "<sip:us@192.0.2.1:5060;transport=tcp>" {
			t.Errorf("Contact %s", contact)
		}
		s := status(r)
		if s.State != trunk.Registered || s.Address != hopA || time.Until(s.Until) != 10*time.Minute {
			t.Errorf("%+v", s)
		}
		if line := from(table, hopA); line == nil || line.Name != "one" {
			t.Error("what comes from where we are registered is not the trunk's")
		}
		time.Sleep(8 * time.Minute)
		if n, pings := len(c.requests()), c.pinged(); n != 0 || pings < 15 {
			t.Errorf("%d REGISTERs and %d keepalives in eight minutes", n, pings)
		}
		time.Sleep(time.Minute + time.Second)
		if n := len(c.requests()); n != 2 {
			t.Errorf("%d REGISTERs to refresh", n)
		}
		stop()
		got = c.requests()
		if len(got) != 2 {
			t.Fatalf("%d REGISTERs at the end", len(got))
		}
		if expires, _ := got[1].Number(sip.Expires); expires != 0 || from(table, hopA) != nil {
			t.Errorf("at the end expires=%d", expires)
		}
	})
}

// A lost connection is made again at the next keepalive.
func TestConnectionLost(t *testing.T) {
	withCarrier(t, one, accept, func(c *carrier, r *Registrations, stop func()) {
		c.requests()
		c.mu.Lock()
		c.conn = 2
		c.mu.Unlock()
		time.Sleep(26 * time.Second)
		synctest.Wait()
		if n := len(c.requests()); n != 2 || c.lastFlow.Conn != 2 || status(r).State != trunk.Registered {
			t.Errorf("%d REGISTERs, %+v", n, status(r))
		}
	})
}

// What goes wrong is said, and tried again ever more rarely.
func TestFailures(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(*sip.Message) string
		uri    string
		want   string
		each   int // REGISTERs of one attempt
	}{
		"wrong password": {func(*sip.Message) string { return challenge }, "", "does not accept the password", 2},
		"forbidden":      {func(*sip.Message) string { return "403 Forbidden\n" }, "", "403 Forbidden", 1},
		"overloaded":     {func(*sip.Message) string { return "503 Service Unavailable\n" }, "", "503", 2},
		"no challenge":   {func(*sip.Message) string { return "401 Unauthorized\n" }, "", "no digest challenge", 1},
		"unknown name":   {accept, "sip:nowhere.example", "leads nowhere", 0},
	} {
		t.Run(name, func(t *testing.T) {
			with := one
			if c.uri != "" {
				with.URI = c.uri
			}
			withCarrier(t, with, c.answer, func(far *carrier, r *Registrations, stop func()) {
				s := status(r)
				if s.State != trunk.Failed || !strings.Contains(s.Error, c.want) {
					t.Errorf("%+v", s)
				}
				if n := len(far.requests()); n != c.each {
					t.Errorf("%d REGISTERs at once", n)
				}
				time.Sleep(2 * time.Hour)
				synctest.Wait()
				if n := len(far.requests()); n > c.each*30 || c.each > 0 && n < c.each*10 {
					t.Errorf("%d REGISTERs in two hours", n)
				}
			})
		})
	}
}

// RFC 3263 4.3: the second address where the first is dead; RFC 3261 10.2.8: a
// longer interval where the trunk wants one.
func TestSecondAddressAndInterval(t *testing.T) {
	brief := one
	brief.RegisterExpires = time.Minute
	withCarrier(t, brief, func(m *sip.Message) string {
		if n, _ := m.Number(sip.Expires); n < 1800 && n > 0 {
			return "423 Interval Too Brief\nMin-Expires: 1800\n"
		}
		return accept(m)
	}, func(c *carrier, r *Registrations, stop func()) {
		if s := status(r); s.State != trunk.Registered || time.Until(s.Until) != 30*time.Minute {
			t.Errorf("%+v", s)
		}
	})

	withCarrier(t, one, accept, func(c *carrier, r *Registrations, stop func()) {
		c.mu.Lock()
		c.dead[hopA] = true
		c.conn = 2
		c.mu.Unlock()
		time.Sleep(26 * time.Second)
		synctest.Wait()
		if s := status(r); s.State != trunk.Registered || s.Address != hopB || c.avoided != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// A changed trunk is registered anew with what it has now, once the registration
// before has been taken back; one that is gone is left.
func TestChanged(t *testing.T) {
	withCarrier(t, one, accept, func(c *carrier, r *Registrations, stop func()) {
		c.requests()
		slow := func(d time.Duration) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.goodbye = d
		}
		set := func(trunks ...trunk.Trunk) {
			t.Helper()
			if err := r.config.Table.Set(trunks, nil); err != nil {
				t.Fatal(err)
			}
			r.Changed()
			time.Sleep(time.Second)
			synctest.Wait()
		}
		one := one
		one.MaxCalls = 3
		if set(one); len(c.requests()) != 0 || status(r).State != trunk.Registered {
			t.Error("a change of the limit of calls is no matter of the registration")
		}
		slow(300 * time.Millisecond)
		one.Password, one.RegisterExpires = "other", time.Hour
		set(one)
		var told []string
		for _, m := range c.requests() {
			expires, _ := m.Value(sip.Expires)
			told = append(told, expires+" "+password(t, m, "secret", "other"))
		}
		if got, want := strings.Join(told, ", "), "0 none, 0 secret, 3600 none, 3600 other"; got != want {
			t.Errorf("REGISTERs with expiry and password %s; want %s", got, want)
		}
		set()
		got := c.requests()
		if len(got) != 2 {
			t.Fatalf("%d REGISTERs when the trunk goes", len(got))
		}
		if expires, _ := got[1].Number(sip.Expires); expires != 0 || from(r.config.Table, hopA) != nil {
			t.Errorf("left with expires=%d", expires)
		}
		time.Sleep(time.Hour)
		if n := len(c.requests()); n != 0 {
			t.Errorf("%d REGISTERs after that", n)
		}
		// The same name again, before the goodbye is answered: it waits for it.
		set(one)
		c.requests()
		slow(800 * time.Millisecond)
		set()
		set(one)
		if got = c.requests(); len(got) < 3 || len(got) > 4 {
			t.Fatalf("%d REGISTERs", len(got))
		}
		if expires, _ := got[1].Number(sip.Expires); expires != 0 {
			t.Errorf("registered anew before the goodbye: expires=%d", expires)
		}
	})
}

// password tells which of some passwords a REGISTER was made with.
func password(t *testing.T, m *sip.Message, passwords ...string) string {
	t.Helper()
	value, ok := m.Value(sip.Authorization)
	if !ok {
		return "none"
	}
	d, err := sip.ParseDigest(value)
	if err != nil {
		t.Fatal(err)
	}
	hash := func(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }
	for _, p := range passwords {
		if d.Response == hash(hash(d.Username+":"+d.Realm+":"+p)+":"+d.Nonce+":"+d.NC+":"+d.CNonce+":auth:"+hash("REGISTER:"+d.URI)) {
			return p
		}
	}
	return "wrong"
}

// status is how the registration with the one trunk stands.
func status(r *Registrations) trunk.Registration {
	if line := r.config.Table.Named("one"); line != nil {
		return line.Registration()
	}
	return trunk.Registration{State: trunk.Off}
}

// What the table says of addresses follows a registration that moves or ends.
func TestMoved(t *testing.T) {
	withCarrier(t, one, accept, func(c *carrier, r *Registrations, stop func()) {
		var told []string
		r.config.Moved = func() { told = append(told, fmt.Sprint(r.config.Table.Networks())) }
		c.mu.Lock()
		c.dead[hopA] = true
		c.conn = 2
		c.mu.Unlock()
		time.Sleep(10 * time.Minute)
		stop()
		if got, want := strings.Join(told, " "), "[198.51.100.2/32] []"; got != want {
			t.Errorf("told %s, want %s", got, want)
		}
	})
}

func from(table *trunk.Table, addr netip.AddrPort) *trunk.Line {
	return table.From(sip.Flow{Transport: sip.TCP, Remote: addr}, nil)
}
