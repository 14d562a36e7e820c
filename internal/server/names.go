package server

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	"onhook/internal/account"
	"onhook/internal/directory"
	"onhook/internal/routing"
	"onhook/internal/sip"
)

// names knows the server's SIP domains and its own addresses, which are aliases
// of the first domain.
type names struct {
	domains []string
	hosts   map[string]bool     // advertised host names
	addrs   map[netip.Addr]bool // addresses with a listener
	ports   map[uint16]bool     // ports with a listener
	lookup  func(domain, user string) (directory.Entry, bool)
	byID    func(id account.EndpointID) (directory.Entry, bool)
	app     func(id string) bool
}

// appPrefix makes the application domain of a SIP domain.
const appPrefix = "app."

func newNames(domains []string, d *directory.Directory) *names {
	lower := make([]string, len(domains))
	for i, d := range domains {
		lower[i] = strings.ToLower(d) // as endpoints have it: their HA1 depends on the spelling
	}
	return &names{domains: lower, hosts: map[string]bool{}, addrs: map[netip.Addr]bool{}, ports: map[uint16]bool{}, lookup: d.ByName, byID: d.ByID, app: d.Application}
}

// listen adds a listener's address, as bound and as advertised.
func (n *names) listen(bound netip.AddrPort, advertise string) {
	addr := bound.Addr().Unmap()
	n.addrs[addr] = true
	if addr.IsUnspecified() {
		for _, local := range localAddrs() {
			n.addrs[local] = true
		}
	}
	n.ports[bound.Port()] = true
	if advertise == "" {
		return
	}
	host, port, err := net.SplitHostPort(advertise)
	if err != nil {
		host = advertise
	}
	if p, err := strconv.ParseUint(port, 10, 16); err == nil {
		n.ports[uint16(p)] = true
	}
	if addr, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		n.addrs[addr.Unmap()] = true
	} else {
		n.hosts[strings.ToLower(host)] = true
	}
}

func (n *names) first() string { return n.domains[0] }

func (n *names) isDomain(host string) bool {
	_, ok := n.domain(host)
	return ok
}

func (n *names) domain(host string) (string, bool) {
	for _, d := range n.domains {
		if d == host || strings.EqualFold(d, host) {
			return d, true
		}
	}
	return "", false
}

// Domain returns the SIP domain that a host and port stand for.
func (n *names) Domain(host string, port uint16) (string, bool) {
	d, ok := n.domain(host)
	if ok && port == 0 {
		return d, true // as in nearly every request of a phone
	}
	if !n.Ours(host, port) {
		return "", false
	}
	if ok {
		return d, true
	}
	return n.domains[0], true
}

// Ours reports whether a host and port are this server: one of its domains, or
// an address with a listener on that port. Port 0 means any. A domain that is an
// address is ours on our ports only: others may serve the rest.
func (n *names) Ours(host string, port uint16) bool {
	addr, isAddr := sip.ParseHostAddr(host)
	if !isAddr && n.isDomain(host) {
		return true
	}
	if port != 0 && !n.ports[port] {
		return false
	}
	if !isAddr {
		return n.hosts[strings.ToLower(host)]
	}
	return n.addrs[addr.Unmap()] || n.isDomain(host)
}

// AppDomain reports whether host is the domain of applications.
func (n *names) AppDomain(host string) bool {
	return len(host) > len(appPrefix) && strings.EqualFold(host[:len(appPrefix)], appPrefix) && n.isDomain(host[len(appPrefix):])
}

// Application reports whether there is an application, for routing.
func (n *names) Application(id string) bool { return n.app(id) }

// Endpoint finds an endpoint for routing.
func (n *names) Endpoint(domain, user string) (routing.Endpoint, bool) {
	e, ok := n.lookup(domain, user)
	return routable(e), ok
}

// ByID finds an endpoint for routing.
func (n *names) ByID(id account.EndpointID) (routing.Endpoint, bool) {
	e, ok := n.byID(id)
	return routable(e), ok
}

// localAddrs lists this machine's addresses as they are at the start: what a
// listener on 0.0.0.0 or :: answers to.
func localAddrs() (addrs []netip.Addr) {
	interfaces, err := net.InterfaceAddrs()
	if err != nil {
		return nil // nothing is ours by address then; the domains still are
	}
	for _, a := range interfaces {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			addrs = append(addrs, p.Addr().Unmap())
		}
	}
	return addrs
}
