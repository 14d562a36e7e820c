package siptransport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// errNoCertificate is what a TLS server without a certificate is refused with.
var errNoCertificate = errors.New("the server shows no certificate")

// verifyDomain makes the check of a server's certificate: signed by one of the
// roots (nil: the system's), for servers, and for this SIP domain or address.
// The library's own check knows neither SIP URIs nor that wildcards do not count
// for SIP.
func verifyDomain(roots *x509.CertPool, domain string) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		leaf, err := verified(state, roots, x509.ExtKeyUsageServerAuth)
		if err != nil {
			return err
		}
		if names := identities(leaf); !hasIdentity(leaf, names, domain) {
			return fmt.Errorf("the certificate is for %s, not for %s", strings.Join(names, ", "), domain)
		}
		return nil
	}
}

// verified returns the peer's certificate when one of the roots has signed it, for
// that use.
func verified(state tls.ConnectionState, roots *x509.CertPool, use x509.ExtKeyUsage) (*x509.Certificate, error) {
	if len(state.PeerCertificates) == 0 {
		return nil, errNoCertificate
	}
	opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{use}}
	for _, cert := range state.PeerCertificates[1:] {
		opts.Intermediates.AddCert(cert)
	}
	leaf := state.PeerCertificates[0]
	_, err := leaf.Verify(opts)
	return leaf, err
}

// clientOf returns the certificate that a client has shown, nil for none that
// counts. A SIP server shows the one it has, as client too: what authorities sign
// is mostly for servers alone, so the use is not looked at.
func (t *Transport) clientOf(state tls.ConnectionState) *x509.Certificate {
	var roots *x509.CertPool
	if t.cfg.DialTLS != nil {
		roots = t.cfg.DialTLS.RootCAs
	}
	leaf, err := verified(state, roots, x509.ExtKeyUsageAny)
	if err != nil {
		return nil
	}
	return leaf
}

// identities lists the SIP domains of a certificate in lower case: RFC 5922 7.1:
// the hosts of sip URIs without a user, and DNS names.
func identities(cert *x509.Certificate) []string {
	var names []string
	for _, u := range cert.URIs {
		// url.Parse leaves what follows sip: unread, as it has no slashes.
		if host := u.Opaque; strings.EqualFold(u.Scheme, "sip") && host != "" && !strings.ContainsAny(host, "@;?") {
			names = append(names, strings.ToLower(host))
		}
	}
	for _, name := range cert.DNSNames {
		names = append(names, strings.ToLower(name))
	}
	return names
}

// hasIdentity compares whole names, without any meaning for wildcards (RFC 5922
// 7.2); an address must stand in the certificate as one.
func hasIdentity(cert *x509.Certificate, names []string, domain string) bool {
	if slices.Contains(names, strings.ToLower(domain)) {
		return true
	}
	addr, err := netip.ParseAddr(domain)
	if err != nil {
		return false
	}
	for _, ip := range cert.IPAddresses {
		if other, ok := netip.AddrFromSlice(ip); ok && other.Unmap() == addr.Unmap() {
			return true
		}
	}
	return false
}
