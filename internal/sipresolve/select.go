package sipresolve

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"onhook/internal/sip"
)

// maxHops bounds how many addresses are tried for one request.
const maxHops = 8

// selection works out the hops of one destination from records. ask gives the
// answer to a question; ahead is told which questions come next, so that they
// can be asked side by side.
type selection struct {
	config *Config
	ask    func(question) (answer, error)
	ahead  func(...question)
	domain string
}

// hops runs RFC 3263 4.1 and 4.2.
func (s *selection) hops(d Destination) ([]Hop, error) {
	s.domain = d.Host
	t := d.Transport
	if t == 0 && d.Secure {
		t = sip.TLS
	}
	if t != 0 && !slices.Contains(s.config.Transports, t) {
		return nil, ErrTransport
	}
	addr, err := netip.ParseAddr(d.Host)
	numeric := err == nil
	if t == 0 && (numeric || d.Port != 0) { // RFC 3263 4.1: UDP for a sip URI with an address or a port
		if t = s.plain(); t == 0 {
			return nil, ErrTransport
		}
	}
	port := d.Port
	if port == 0 && t != 0 {
		port = t.DefaultPort()
	}
	switch {
	case numeric:
		return []Hop{{t, netip.AddrPortFrom(addr.Unmap(), port), d.Host}}, nil
	case d.Port != 0: // RFC 3263 4.2: a port forgoes SRV
		return s.addresses(nil, d.Host, port, t)
	case t != 0:
		hops, found, err := s.service(nil, serviceName(t, d.Host), t)
		if err != nil || found {
			return hops, err
		}
		return s.addresses(nil, d.Host, port, t)
	}
	return s.anyTransport(d.Host)
}

// plain is the transport of a request that leaves the choice to us and to no
// record: UDP, or what there is.
func (s *selection) plain() sip.Transport {
	for _, t := range [...]sip.Transport{sip.UDP, sip.TCP} {
		if slices.Contains(s.config.Transports, t) {
			return t
		}
	}
	return 0
}

// anyTransport lets the records choose (RFC 3263 4.1): NAPTR first, else the SRV
// records of every transport we speak, else the addresses of the name.
func (s *selection) anyTransport(host string) (hops []Hop, err error) {
	records, err := s.ask(question{dns.Fqdn(host), dns.TypeNAPTR})
	if err == errMiss {
		return nil, err
	}
	// Some name servers never answer a question for NAPTR: that they do not is
	// taken for there being none.
	some := false
	for _, n := range s.usable(records.naptr) {
		var found bool
		if hops, found, err = s.service(hops, n.replacement, n.transport); err == errMiss || err != nil && len(hops) == 0 {
			return nil, err
		}
		some = some || found
	}
	if some {
		return hops, nil
	}
	services := make([]question, 0, len(s.config.Transports))
	for _, t := range s.config.Transports {
		services = append(services, question{serviceName(t, host), dns.TypeSRV})
	}
	s.ahead(services...)
	for i, t := range s.config.Transports {
		var found bool
		if hops, found, err = s.service(hops, services[i].name, t); err == errMiss || err != nil && len(hops) == 0 {
			return nil, err
		}
		some = some || found
	}
	if some {
		return hops, nil
	}
	t := s.plain()
	if t == 0 {
		return nil, ErrTransport
	}
	return s.addresses(nil, host, t.DefaultPort(), t)
}

// usable leaves the NAPTR records of services we speak, best first.
func (s *selection) usable(records []naptr) []naptr {
	var kept []naptr
	for _, n := range records {
		if slices.Contains(s.config.Transports, n.transport) {
			kept = append(kept, n)
		}
	}
	slices.SortStableFunc(kept, func(a, b naptr) int {
		return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.preference, b.preference))
	})
	return kept
}

// serviceName is the name of a transport's SRV records (RFC 3263 4.1).
func serviceName(t sip.Transport, host string) string {
	prefix := "_sip._udp."
	switch t {
	case sip.TCP:
		prefix = "_sip._tcp."
	case sip.TLS:
		prefix = "_sips._tcp."
	}
	return prefix + dns.Fqdn(host)
}

// service appends the hops behind SRV records (RFC 2782). found is false when
// there are no such records; a single one that names the root says that the
// service is not offered.
func (s *selection) service(hops []Hop, name string, t sip.Transport) (_ []Hop, found bool, err error) {
	a, err := s.ask(question{name, dns.TypeSRV})
	if err != nil {
		return hops, false, err
	}
	if len(a.srv) == 0 {
		return hops, false, nil
	}
	ordered := order(a.srv, s.config.rand)
	if len(ordered) > maxHops {
		ordered = ordered[:maxHops]
	}
	var targets []question
	for _, r := range ordered {
		targets = append(targets, s.addressQuestions(r.target)...)
	}
	s.ahead(targets...)
	for _, r := range ordered {
		if r.target == "." { // RFC 2782: decidedly not here
			continue
		}
		more, e := s.addresses(hops, r.target, r.port, t)
		if e == errMiss {
			return nil, true, e
		}
		if e != nil {
			err = e // one target without an address leaves the others
			continue
		}
		hops = more
	}
	if len(hops) > 0 {
		err = nil
	} else if err == nil {
		err = ErrNotFound
	}
	return hops, true, err
}

func (s *selection) addressQuestions(host string) (q []question) {
	if s.config.IPv4 {
		q = append(q, question{dns.Fqdn(host), dns.TypeA})
	}
	if s.config.IPv6 {
		q = append(q, question{dns.Fqdn(host), dns.TypeAAAA})
	}
	return q
}

// addresses appends the hops of a host's own addresses.
func (s *selection) addresses(hops []Hop, host string, port uint16, t sip.Transport) ([]Hop, error) {
	questions := s.addressQuestions(host)
	s.ahead(questions...)
	n := len(hops)
	var failed error
	for _, q := range questions {
		a, err := s.ask(q)
		if err == errMiss {
			return nil, err
		}
		if err != nil {
			failed = err
		}
		for _, addr := range a.addrs {
			hops = append(hops, Hop{t, netip.AddrPortFrom(addr, port), s.domain})
		}
	}
	switch {
	case len(hops) > n:
		return hops, nil
	case failed != nil:
		return hops, failed
	}
	return hops, ErrNotFound
}

// srv is one SRV record.
type srv struct {
	priority, weight, port uint16
	target                 string
}

// order sorts SRV records as RFC 2782 says: by priority, and within one at
// random by weight. rand returns a number in [0, n).
func order(records []srv, rand func(n int) int) []srv {
	left := slices.Clone(records)
	slices.SortStableFunc(left, func(a, b srv) int {
		// Those of weight 0 first, so that they have their small chance.
		return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(min(a.weight, 1), min(b.weight, 1)))
	})
	out := left[:0:0]
	for len(left) > 0 {
		n, sum := 0, 0
		for n < len(left) && left[n].priority == left[0].priority {
			sum += int(left[n].weight)
			n++
		}
		pick, running := rand(sum+1), 0
		for i := range n {
			if running += int(left[i].weight); running >= pick {
				out = append(out, left[i])
				left = slices.Delete(left, i, i+1)
				break
			}
		}
	}
	return out
}

// naptr is one NAPTR record that names a SIP service (RFC 3263 4.1).
type naptr struct {
	order, preference uint16
	transport         sip.Transport
	replacement       string
}

// naptrTransport reads a NAPTR's service field.
func naptrTransport(service string) (sip.Transport, bool) {
	switch strings.ToUpper(service) {
	case "SIP+D2U":
		return sip.UDP, true
	case "SIP+D2T":
		return sip.TCP, true
	case "SIPS+D2T":
		return sip.TLS, true
	}
	return 0, false
}
