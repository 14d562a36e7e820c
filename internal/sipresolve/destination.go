package sipresolve

import (
	"errors"
	"net/netip"
	"strings"

	"onhook/internal/sip"
)

// Errors of DestinationOf and Resolve.
var (
	ErrTransport = errors.New("no transport that both sides speak")
	ErrNotFound  = errors.New("the name leads nowhere")
	ErrDNS       = errors.New("no answer from DNS")
	ErrBusy      = errors.New("too many lookups are under way")
)

// Destination is what of a URI says where to send a request. It is a plain value.
type Destination struct {
	Host      string        // a name in lower case, or an address without brackets
	Port      uint16        // 0: none was given
	Transport sip.Transport // 0: to be chosen
	Secure    bool          // sips: TLS and nothing else
}

// DestinationOf reads a sip or sips URI (RFC 3263 4): maddr stands for the host,
// and a transport that is never dialled is an error.
func DestinationOf(u sip.URI) (Destination, error) {
	d := Destination{Host: u.Host, Port: u.Port, Secure: u.Is("sips")}
	if maddr, ok := u.Param("maddr"); ok && maddr != "" {
		d.Host = maddr
	}
	if addr, ok := sip.ParseHostAddr(d.Host); ok {
		d.Host = addr.Unmap().String()
	} else {
		d.Host = strings.TrimSuffix(strings.ToLower(d.Host), ".")
	}
	name, given := u.Param("transport")
	if !given {
		return d, nil
	}
	t, known := sip.ParseTransport(name)
	switch {
	case !known || t.WebSocket():
		return d, ErrTransport
	case d.Secure && t == sip.UDP: // RFC 3261 26.2.2: sips means TLS on every hop
		return d, ErrTransport
	case d.Secure:
		t = sip.TLS // RFC 3261 26.2.2: transport=tcp with sips means TLS over TCP
	}
	d.Transport = t
	return d, nil
}

// Hop is one address to try.
type Hop struct {
	Transport sip.Transport
	Addr      netip.AddrPort
	// Domain is whom a TLS certificate must be for: the host that was asked for,
	// not the SRV target that it led to (RFC 5922 7.1, RFC 3263 4.1).
	Domain string
}

// key is what a bad experience with a hop is remembered by: over TLS it may be
// the certificate of that one domain.
func (h Hop) key() Hop {
	if h.Transport != sip.TLS {
		h.Domain = ""
	}
	return h
}
