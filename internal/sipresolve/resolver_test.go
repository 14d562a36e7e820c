package sipresolve

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"onhook/internal/sip"
)

// nameServer is a DNS server on loopback with the zone of testdata/zone.txt.
type nameServer struct {
	addr    netip.AddrPort
	zone    map[question][]dns.RR
	soa     dns.RR
	queries atomic.Int64
	hold    sync.RWMutex // held for writing while answers are to wait
}

func startNameServer(t *testing.T) *nameServer {
	t.Helper()
	s := &nameServer{zone: map[question][]dns.RR{}}
	text, err := os.ReadFile(filepath.Join("testdata", "zone.txt"))
	if err != nil {
		t.Fatal(err)
	}
	parser := dns.NewZoneParser(strings.NewReader(string(text)), "", "zone.txt")
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		h := rr.Header()
		s.zone[question{strings.ToLower(h.Name), h.Rrtype}] = append(s.zone[question{strings.ToLower(h.Name), h.Rrtype}], rr)
		if h.Rrtype == dns.TypeSOA {
			s.soa = rr
		}
	}
	if err := parser.Err(); err != nil {
		t.Fatal(err)
	}
	pc, ln := listen(t)
	s.addr = netip.MustParseAddrPort(pc.LocalAddr().String())
	for _, server := range []*dns.Server{{PacketConn: pc, Handler: s}, {Listener: ln, Handler: s}} {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		done := make(chan error, 1)
		go func() { done <- server.ActivateAndServe() }()
		<-started
		t.Cleanup(func() {
			if err := server.Shutdown(); err != nil {
				t.Error(err)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	return s
}

// listen takes one free port for both UDP and TCP.
func listen(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	var last error
	for range 20 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		pc, err := net.ListenPacket("udp", ln.Addr().String())
		if err == nil {
			return pc, ln
		}
		last = err
		ln.Close()
	}
	t.Fatal(last)
	return nil, nil
}

// ServeDNS answers from the zone. Names under "silent." get no answer, those
// under "broken." SERVFAIL, those under "long." only fit into TCP.
func (s *nameServer) ServeDNS(w dns.ResponseWriter, req *dns.Msg) {
	s.queries.Add(1)
	s.hold.RLock()
	defer s.hold.RUnlock()
	q := req.Question[0]
	reply := new(dns.Msg)
	reply.SetReply(req)
	name := strings.ToLower(q.Name)
	_, datagram := w.RemoteAddr().(*net.UDPAddr)
	switch {
	case strings.Contains(name, "silent."), strings.Contains(name, "nonaptr.") && q.Qtype == dns.TypeNAPTR:
		return
	case strings.Contains(name, "broken."):
		reply.Rcode = dns.RcodeServerFailure
	case strings.Contains(name, "long.") && datagram:
		reply.Truncated = true
	default:
		s.answer(reply, name, q.Qtype)
	}
	_ = w.WriteMsg(reply) // a client that is gone needs no answer
}

func (s *nameServer) answer(reply *dns.Msg, name string, kind uint16) {
	for range 20 {
		if rrs := s.zone[question{name, kind}]; rrs != nil {
			reply.Answer = append(reply.Answer, rrs...)
			return
		}
		alias := s.zone[question{name, dns.TypeCNAME}]
		if alias == nil {
			break
		}
		reply.Answer = append(reply.Answer, alias...)
		name = strings.ToLower(alias[0].(*dns.CNAME).Target)
	}
	reply.Ns = []dns.RR{s.soa}
	reply.Rcode = dns.RcodeNameError
	for q := range s.zone {
		if q.name == name {
			reply.Rcode = dns.RcodeSuccess // there is such a name, with other records
		}
	}
}

func newResolver(t *testing.T, s *nameServer, change func(*Config)) *Resolver {
	t.Helper()
	c := Config{
		Servers: []netip.AddrPort{s.addr}, Transports: []sip.Transport{sip.UDP, sip.TCP, sip.TLS}, IPv4: true, IPv6: true,
		rand: func(int) int { return 0 },
	}
	if change != nil {
		change(&c)
	}
	r := New(c)
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// resolve waits for the hops of a URI and writes them as the cases do.
func resolve(t *testing.T, r *Resolver, uri string) string {
	t.Helper()
	u, err := sip.ParseURI(uri)
	if err != nil {
		t.Fatal(err)
	}
	d, err := DestinationOf(u)
	if err != nil {
		return err.Error()
	}
	got := make(chan string, 2)
	r.Resolve(d, func(hops []Hop, err error) {
		var b strings.Builder
		for _, h := range hops {
			fmt.Fprintf(&b, " %s %s", h.Transport.Param(), h.Addr)
			if h.Transport == sip.TLS {
				fmt.Fprintf(&b, " as %s", h.Domain)
			}
			b.WriteByte(',')
		}
		if err != nil {
			got <- err.Error()
			return
		}
		got <- strings.Trim(b.String(), " ,")
	})
	return <-got
}

// RFC 3263 4.1 and 4.2: testdata/resolve.txt, a URI and where it leads.
func TestResolve(t *testing.T) {
	s := startNameServer(t)
	r := newResolver(t, s, nil)
	file, err := os.Open(filepath.Join("testdata", "resolve.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cases := 0
	for lines := bufio.NewScanner(file); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		uri, want, _ := strings.Cut(line, " = ")
		cases++
		t.Run(strings.TrimSpace(uri), func(t *testing.T) {
			for _, when := range []string{"asked", "known"} {
				if got := resolve(t, r, strings.TrimSpace(uri)); got != strings.TrimSpace(want) {
					t.Errorf("%s: %s\nwant %s", when, got, want)
				}
			}
		})
	}
	if cases == 0 {
		t.Fatal("no cases")
	}
}

// A server that does not answer leaves the next one; so does one that fails.
func TestNextServer(t *testing.T) {
	s := startNameServer(t)
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	r := newResolver(t, s, func(c *Config) {
		c.Servers = []netip.AddrPort{netip.MustParseAddrPort(silent.LocalAddr().String()), s.addr}
		c.Timeout, c.Deadline = 100*time.Millisecond, time.Minute
	})
	if got := resolve(t, r, "sip:x@host.example:5070"); got != "udp 192.0.2.7:5070" {
		t.Error(got)
	}
}

// A name server that is silent about NAPTR alone, as some are, does not matter;
// one that is silent about everything, or fails, is an error of DNS and not of
// the name.
func TestDNSFails(t *testing.T) {
	s := startNameServer(t)
	r := newResolver(t, s, func(c *Config) { c.Timeout, c.Deadline = 100*time.Millisecond, time.Minute })
	for uri, want := range map[string]string{
		"sip:x@nonaptr.example": "udp 192.0.2.71:5060",
		"sip:x@silent.example":  ErrDNS.Error(),
		"sip:x@broken.example":  ErrDNS.Error(),
		"sip:x@round.example":   ErrNotFound.Error(),
	} {
		if got := resolve(t, r, uri); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", uri, got, want)
		}
	}
}

// A hundred requests for one destination at a time are one lookup; its bounds
// hold, and Close tells those who still wait.
func TestJoinedAndBounded(t *testing.T) {
	s := startNameServer(t)
	r := newResolver(t, s, func(c *Config) {
		c.IPv6, c.MaxLookups, c.MaxWaiting = false, 2, 100
		c.Timeout, c.Deadline = time.Minute, time.Minute
	})
	s.hold.Lock()
	results := make(chan error, 200)
	ask := func(host string) {
		r.Resolve(Destination{Host: host, Port: 5060}, func(_ []Hop, err error) { results <- err })
	}
	for range 100 {
		ask("host.example")
	}
	ask("host.example") // the 101st
	if err := <-results; err != ErrBusy {
		t.Errorf("beyond MaxWaiting: %v", err)
	}
	ask("a.example")
	ask("b.example")
	if err := <-results; err != ErrBusy {
		t.Errorf("beyond MaxLookups: %v", err)
	}
	s.hold.Unlock()
	for range 101 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if n := s.queries.Load(); n != 2 {
		t.Errorf("%d queries for two names", n)
	}
	if n := r.Stats(); n.Busy != 2 || n.Lookups != 0 || n.Answers != 2 {
		t.Errorf("%+v", n)
	}

	s.hold.Lock()
	ask("c.example")
	closed := make(chan struct{})
	go func() { r.Close(); close(closed) }()
	if err := <-results; !errors.Is(err, ErrDNS) {
		t.Errorf("closed while waiting: %v", err)
	}
	<-closed
	s.hold.Unlock()
	if ask("d.example"); <-results != ErrBusy {
		t.Error("a closed resolver looks up")
	}
}
