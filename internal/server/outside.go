package server

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"onhook/internal/sip"
	"onhook/internal/sipresolve"
)

// newResolver makes the finder of other domains: for the transports and address
// families that there are listeners for, since a request leaves by one of them.
func (s *Server) newResolver() (*sipresolve.Resolver, error) {
	c := sipresolve.Config{Servers: s.cfg.DNS.Addresses(), Timeout: s.cfg.DNS.Timeout, Avoid: s.cfg.DNS.Avoid}
	if len(c.Servers) == 0 {
		var err error
		if c.Servers, err = sipresolve.SystemServers(); err != nil {
			return nil, err
		}
	}
	for _, t := range [...]sip.Transport{sip.UDP, sip.TCP, sip.TLS} {
		for _, l := range s.cfg.SIP.Listeners {
			if l.Transport != t.Param() {
				continue
			}
			if !slices.Contains(c.Transports, t) {
				c.Transports = append(c.Transports, t)
			}
			address, err := netip.ParseAddrPort(l.Address)
			if err != nil {
				return nil, fmt.Errorf("listener %s: %w", l.Address, err)
			}
			c.IPv4 = c.IPv4 || address.Addr().Unmap().Is4()
			c.IPv6 = c.IPv6 || !address.Addr().Unmap().Is4()
		}
	}
	return sipresolve.New(c), nil
}

// dialTLS is how connections to other servers are secured: their certificates
// come from the configured authorities, and our own is shown to those who ask.
func (s *Server) dialTLS() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if file := s.cfg.TLS.RootsFile; file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("tls.roots_file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("tls.roots_file %s: no certificate in it", file)
		}
	}
	if certFile, keyFile := s.cfg.TLS.CertFile, s.cfg.TLS.KeyFile; certFile != "" {
		own, err := loadCertificate(certFile, keyFile, s.logger)
		if err != nil {
			return nil, err
		}
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own.get(nil) }
	}
	return c, nil
}
