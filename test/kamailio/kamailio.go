// Package kamailio runs Kamailio, and a DNS server that knows it, as the other
// side of onhook: another domain, a carrier, and an overloaded server.
package kamailio

import (
	_ "embed"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/miekg/dns"

	"onhook/test/devserver"
	"onhook/test/peers"
	"onhook/test/sippeer"
)

//go:embed kamailio.cfg
var config string

// The addresses of the peers: all of loopback is this machine's. Nobody listens
// on deadHost.
const (
	farHost     = "127.0.0.3"
	carrierHost = "127.0.0.4"
	busyHost    = "127.0.0.5"
	deadHost    = "127.0.0.6"
)

// Server is a running Kamailio.
type Server struct {
	Far, Carrier, Busy string // host:port
	process            *devserver.Process
}

// Start runs Kamailio; it ends with the test. Where there is none the test is
// skipped, or fails in CI.
func Start(t testing.TB) *Server {
	t.Helper()
	binary := peers.Kamailio(t)
	port := strconv.Itoa(devserver.FreePort(t))
	s := &Server{Far: net.JoinHostPort(farHost, port), Carrier: net.JoinHostPort(carrierHost, port), Busy: net.JoinHostPort(busyHost, port)}
	modules, err := filepath.Glob("/usr/lib*/*/kamailio/modules")
	if err != nil || len(modules) == 0 {
		t.Fatalf("no modules of Kamailio's: %v", err)
	}
	var text strings.Builder
	err = template.Must(template.New("").Parse(config)).Execute(&text, map[string]string{
		"Far": s.Far, "Carrier": s.Carrier, "Busy": s.Busy, "CarrierHost": carrierHost, "BusyHost": busyHost, "Modules": strings.Join(modules, ":"),
	})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "kamailio.cfg")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	// -DD: children, but no daemon.
	if s.process, err = devserver.Command(exec.Command(binary, "-DD", "-E", "-m", "64", "-Y", dir, "-f", file)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("Kamailio's log:\n%s", s.process.Log())
		}
		s.process.Kill()
	})
	err = devserver.Until(60*time.Second, func() error {
		select {
		case <-s.process.Done():
			return devserver.Final(fmt.Errorf("the server Kamailio ended: %v\n%s", s.process.Err(), s.process.Log()))
		default:
		}
		c, err := sippeer.Dial(sippeer.Target{TCP: s.Far}, "tcp")
		if err != nil {
			return err
		}
		defer c.Close()
		return c.Ping("far.test")
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Target is where phones of Kamailio's register, in one of its domains.
func (s *Server) Target(domain string) sippeer.Target {
	address := map[string]string{"far.test": s.Far, "bare.test": s.Far, "carrier.test": s.Carrier}[domain]
	return sippeer.Target{UDP: address, TCP: address, Domain: domain}
}

// zone is what DNS says of Kamailio. dead.test has a first server that nobody
// listens on, busy.test one that says 503; tcp.test is reached over TCP alone,
// by NAPTR; bare.test by SRV alone, and it does not record-route.
const zone = `
$TTL 60
test. IN SOA ns.test. admin.test. 1 60 60 60 1
far.test. IN NAPTR 10 10 "s" "SIP+D2U" "" _sip._udp.far.test.
_sip._udp.far.test. IN SRV 1 1 PORT kamailio.far.test.
kamailio.far.test. IN A 127.0.0.3
tcp.test. IN NAPTR 10 10 "s" "SIP+D2T" "" _sip._tcp.tcp.test.
_sip._tcp.tcp.test. IN SRV 1 1 PORT kamailio.far.test.
dead.test. IN NAPTR 10 10 "s" "SIP+D2U" "" _sip._udp.dead.test.
_sip._udp.dead.test. IN SRV 1 1 PORT dead.far.test.
_sip._udp.dead.test. IN SRV 2 1 PORT kamailio.far.test.
_sip._tcp.dead.test. IN SRV 1 1 PORT dead.far.test.
_sip._tcp.dead.test. IN SRV 2 1 PORT kamailio.far.test.
dead.far.test. IN A 127.0.0.6
_sip._udp.busy.test. IN SRV 1 1 PORT busy.far.test.
_sip._udp.busy.test. IN SRV 2 1 PORT kamailio.far.test.
busy.far.test. IN A 127.0.0.5
bare.test. IN A 127.0.0.3
_sip._udp.bare.test. IN SRV 1 1 PORT kamailio.far.test.
_sip._udp.carrier.test. IN SRV 1 1 PORT sbc.carrier.test.
sbc.carrier.test. IN A 127.0.0.4
_sip._udp.broken.test. IN SRV 1 1 PORT busy.far.test.
`

// DNS serves the zone; it ends with the test.
func (s *Server) DNS(t testing.TB) (address string) {
	t.Helper()
	_, port, _ := net.SplitHostPort(s.Far)
	records := map[dns.Question][]dns.RR{}
	names := map[string]bool{}
	var soa dns.RR
	parser := dns.NewZoneParser(strings.NewReader(strings.ReplaceAll(zone, "PORT", port)), "", "")
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		h := rr.Header()
		q := dns.Question{Name: h.Name, Qtype: h.Rrtype, Qclass: dns.ClassINET}
		records[q] = append(records[q], rr)
		if names[h.Name] = true; h.Rrtype == dns.TypeSOA {
			soa = rr
		}
	}
	if err := parser.Err(); err != nil {
		t.Fatal(err)
	}
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: socket, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, req *dns.Msg) {
		reply := new(dns.Msg).SetReply(req)
		q := req.Question[0]
		q.Name = strings.ToLower(q.Name)
		if reply.Answer = records[q]; reply.Answer == nil {
			if reply.Ns = []dns.RR{soa}; !names[q.Name] {
				reply.Rcode = dns.RcodeNameError
			}
		}
		_ = w.WriteMsg(reply) // who asked and is gone needs no answer
	})}
	started, done := make(chan struct{}), make(chan error, 1)
	server.NotifyStartedFunc = func() { close(started) }
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
	return socket.LocalAddr().String()
}
