package sipresolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// question is one DNS question; the name is absolute and in lower case.
type question struct {
	name string
	kind uint16
}

// answer is what a question has brought, as far as it is of use here; empty when
// there is no such name or record.
type answer struct {
	addrs []netip.Addr
	srv   []srv
	naptr []naptr
	ttl   time.Duration // how long it may be kept
}

const (
	maxRecords = 64 // of one answer; more are left out
	maxTTL     = 24 * time.Hour
	maxNoTTL   = time.Hour       // RFC 2308 5: a negative answer, one to three hours at most
	failureTTL = 5 * time.Second // RFC 9520 3.2: a failure, at least a second
	maxAliases = 8
)

// SystemServers returns the name servers of /etc/resolv.conf. Without the file
// it is the one of this machine (resolv.conf(5)).
func SystemServers() ([]netip.AddrPort, error) {
	c, err := dns.ClientConfigFromFile("/etc/resolv.conf")
	if err != nil {
		return []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53")}, nil
	}
	var servers []netip.AddrPort
	for _, s := range c.Servers {
		addr, err := netip.ParseAddrPort(net.JoinHostPort(s, c.Port))
		if err != nil {
			return nil, fmt.Errorf("resolv.conf: nameserver %s: %w", s, err)
		}
		servers = append(servers, addr)
	}
	return servers, nil
}

// lookup asks DNS, following aliases.
func (r *Resolver) lookup(ctx context.Context, q question) (answer, error) {
	ttl := maxTTL
	name := q.name
	for range maxAliases {
		reply, err := r.exchange(ctx, question{name, q.kind})
		if err != nil {
			return answer{ttl: failureTTL}, err
		}
		a, end := read(reply, name, q.kind)
		ttl = min(ttl, a.ttl)
		if a.ttl = ttl; end == name || !a.empty() {
			return a, nil
		}
		name = end // an alias whose end is for another question
	}
	return answer{ttl: failureTTL}, fmt.Errorf("%w: %s: too many aliases", ErrDNS, q.name)
}

func (a answer) empty() bool { return len(a.addrs) == 0 && len(a.srv) == 0 && len(a.naptr) == 0 }

// read takes the records for a question out of a reply and returns the last name
// of its chain of aliases; only what belongs to the chain counts.
func read(reply *dns.Msg, name string, kind uint16) (a answer, end string) {
	a.ttl = maxTTL
	for range maxAliases { // a chain may stand in any order
		next := ""
		for _, rr := range reply.Answer {
			if c, ok := rr.(*dns.CNAME); ok && strings.EqualFold(c.Hdr.Name, name) {
				next = strings.ToLower(c.Target)
				a.ttl = min(a.ttl, seconds(c.Hdr.Ttl))
			}
		}
		if next == "" {
			break
		}
		name = next
	}
	for _, rr := range reply.Answer {
		h := rr.Header()
		if h.Rrtype != kind || !strings.EqualFold(h.Name, name) || len(a.addrs)+len(a.srv)+len(a.naptr) >= maxRecords {
			continue
		}
		a.ttl = min(a.ttl, seconds(h.Ttl))
		a.add(rr)
	}
	if a.empty() {
		// RFC 2308 5: the SOA says how long; without one, nothing is kept for long.
		no := failureTTL
		for _, rr := range reply.Ns {
			if soa, ok := rr.(*dns.SOA); ok {
				no = min(seconds(min(soa.Hdr.Ttl, soa.Minttl)), maxNoTTL)
			}
		}
		a.ttl = min(a.ttl, no)
	}
	return a, name
}

func seconds(n uint32) time.Duration { return time.Duration(n) * time.Second }

func (a *answer) add(rr dns.RR) {
	switch rr := rr.(type) {
	case *dns.A:
		if addr, ok := netip.AddrFromSlice(rr.A.To4()); ok {
			a.addrs = append(a.addrs, addr)
		}
	case *dns.AAAA:
		if addr, ok := netip.AddrFromSlice(rr.AAAA.To16()); ok {
			a.addrs = append(a.addrs, addr.Unmap())
		}
	case *dns.SRV:
		a.srv = append(a.srv, srv{rr.Priority, rr.Weight, rr.Port, strings.ToLower(rr.Target)})
	case *dns.NAPTR:
		// RFC 3263 4.1: flag s, and no regular expression.
		if t, ok := naptrTransport(rr.Service); ok && strings.EqualFold(rr.Flags, "s") && rr.Regexp == "" {
			a.naptr = append(a.naptr, naptr{rr.Order, rr.Preference, t, strings.ToLower(rr.Replacement)})
		}
	}
}

// rounds is how often every server is asked before a question counts as failed.
const rounds = 2

// exchangeWire asks the configured servers one after the other, over TCP where a
// reply does not fit into a datagram.
func (r *Resolver) exchangeWire(ctx context.Context, q question) (*dns.Msg, error) {
	m := new(dns.Msg)
	m.SetQuestion(q.name, q.kind)
	m.SetEdns0(1232, false)
	var last error
	for range rounds {
		for _, server := range r.config.Servers {
			reply, err := r.askServer(ctx, m, server.String())
			if err == nil {
				return reply, nil
			}
			if last = err; ctx.Err() != nil {
				return nil, errors.Join(ErrDNS, last)
			}
		}
	}
	return nil, errors.Join(ErrDNS, last)
}

func (r *Resolver) askServer(ctx context.Context, m *dns.Msg, server string) (*dns.Msg, error) {
	m.Id = dns.Id()
	for _, network := range [...]string{"udp", "tcp"} {
		reply, err := r.askOver(ctx, network, m, server)
		if err != nil {
			return nil, err
		}
		if len(reply.Question) != 1 || reply.Question[0].Qtype != m.Question[0].Qtype || !strings.EqualFold(reply.Question[0].Name, m.Question[0].Name) {
			return nil, errors.New("the reply is to another question")
		}
		switch {
		case reply.Truncated && network == "udp":
			continue
		case reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError:
			return nil, fmt.Errorf("%s from %s", dns.RcodeToString[reply.Rcode], server)
		}
		return reply, nil
	}
	return nil, errors.New("truncated over TCP")
}

func (r *Resolver) askOver(ctx context.Context, network string, m *dns.Msg, server string) (*dns.Msg, error) {
	c := dns.Client{Net: network, Timeout: r.config.Timeout}
	conn, err := c.DialContext(ctx, server)
	if err != nil {
		return nil, err
	}
	// The library looks at the context's deadline and not at its end.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	reply, _, err := c.ExchangeWithConnContext(ctx, m, conn)
	return reply, errors.Join(err, conn.Close())
}
