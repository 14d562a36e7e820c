package siptransport

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"onhook/internal/sip"
)

// RFC 5922 7.1 and 7.2: whom a certificate counts for.
func TestCertificateIdentity(t *testing.T) {
	for _, c := range []struct {
		name   string
		uris   []string
		dns    []string
		ips    []string
		domain string
		ok     bool
	}{
		{"sip URI", []string{"sip:example.com"}, nil, nil, "example.com", true},
		{"in any case", []string{"sip:Example.COM"}, nil, nil, "EXAMPLE.com", true},
		{"a user is no domain", []string{"sip:alice@example.com"}, nil, nil, "example.com", false},
		{"sips names no domain", []string{"sips:example.com"}, nil, nil, "example.com", false},
		{"another scheme", []string{"https://example.com"}, nil, nil, "example.com", false},
		{"DNS name", nil, []string{"example.com"}, nil, "example.com", true},
		{"DNS name beside a URI", []string{"sip:other.example"}, []string{"example.com"}, nil, "example.com", true},
		{"a subdomain", nil, []string{"example.com"}, nil, "sip.example.com", false},
		{"a wildcard", nil, []string{"*.example.com"}, nil, "sip.example.com", false},
		{"address", nil, nil, []string{"192.0.2.1"}, "192.0.2.1", true},
		{"another address", nil, nil, []string{"192.0.2.1"}, "192.0.2.2", false},
		{"nothing", nil, nil, nil, "example.com", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cert := &x509.Certificate{DNSNames: c.dns}
			for _, text := range c.uris {
				u, err := url.Parse(text)
				if err != nil {
					t.Fatal(err)
				}
				cert.URIs = append(cert.URIs, u)
			}
			for _, text := range c.ips {
				cert.IPAddresses = append(cert.IPAddresses, net.ParseIP(text))
			}
			state, roots := certified(t, cert)
			err := verifyDomain(roots, c.domain)(state)
			if (err == nil) != c.ok {
				t.Errorf("for %s: %v", c.domain, err)
			}
			if err := verifyDomain(x509.NewCertPool(), c.domain)(state); err == nil {
				t.Error("good without its authority")
			}
		})
	}
	if err := verifyDomain(nil, "example.com")(tls.ConnectionState{}); err != errNoCertificate {
		t.Error(err)
	}
}

// An intermediate that the server sends completes the chain; a certificate that
// is out of date counts for nobody.
func TestCertificateChain(t *testing.T) {
	root, rootKey := issue(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	middle, middleKey := issue(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, root, rootKey)
	leaf, _ := issue(t, &x509.Certificate{DNSNames: []string{"example.com"}}, middle, middleKey)
	old, _ := issue(t, &x509.Certificate{DNSNames: []string{"example.com"}, NotAfter: time.Now().Add(-time.Minute)}, middle, middleKey)
	roots := x509.NewCertPool()
	roots.AddCert(root)
	check := verifyDomain(roots, "example.com")
	if err := check(tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf, middle}}); err != nil {
		t.Error(err)
	}
	if err := check(tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}); err == nil {
		t.Error("good without its intermediate")
	}
	if err := check(tls.ConnectionState{PeerCertificates: []*x509.Certificate{old, middle}}); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("out of date: %v", err)
	}
}

func certified(t *testing.T, template *x509.Certificate) (tls.ConnectionState, *x509.CertPool) {
	t.Helper()
	root, key := issue(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	leaf, _ := issue(t, template, root, key)
	roots := x509.NewCertPool()
	roots.AddCert(root)
	return tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}, roots
}

// issue signs a certificate, with its own key where there is no issuer.
func issue(t *testing.T, template, issuer *x509.Certificate, issuerKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.Subject.CommonName = "example.com" // which never counts
	template.NotBefore = time.Now().Add(-time.Hour)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	if !template.IsCA {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	if issuer == nil {
		issuer, issuerKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, &key.PublicKey, issuerKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// A client that is asked may show who it is; one that shows nothing that counts
// goes on all the same, and nobody else is asked. A server that was dialled by its
// domain is that domain.
func TestCertified(t *testing.T) {
	root, rootKey := issue(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	forged, forgedKey := issue(t, &x509.Certificate{DNSNames: []string{"sip.test"}}, root, rootKey) // whose authority nobody knows
	for _, c := range []struct {
		name  string
		asked bool
		shows []tls.Certificate
		is    bool
	}{
		{"shown", true, []tls.Certificate{testCertificate()}, true},
		{"nothing shown", true, nil, false},
		{"shown and not trusted", true, []tls.Certificate{{Certificate: [][]byte{forged.Raw}, PrivateKey: forgedKey}}, false},
		{"not asked for", false, []tls.Certificate{testCertificate()}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, []Listener{listen(sip.TLS, "127.0.0.1"), listen(sip.TCP, "127.0.0.1")}, func(cfg *Config) {
				cfg.DialTLS = &tls.Config{RootCAs: testRoots()}
				cfg.AskCertificate = func(source netip.Addr) bool { return c.asked && source.IsLoopback() }
			})
			asked := false
			client := tls.Client(s.dialTCP(0), &tls.Config{RootCAs: testRoots(), ServerName: "sip.test",
				GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
					if asked = true; len(c.shows) > 0 {
						return &c.shows[0], nil
					}
					return &tls.Certificate{}, nil
				}})
			if _, err := client.Write([]byte(options("TLS", callID(1)))); err != nil {
				t.Fatal(err)
			}
			flow := s.next(t, "message").flow
			if asked != c.asked || s.Certified(flow, "SIP.test") != c.is || s.Certified(flow, "other.test") {
				t.Errorf("asked %t, certified %t", asked, s.Certified(flow, "sip.test"))
			}
			plain := s.dialTCP(1)
			if _, err := plain.Write([]byte(options("TCP", callID(2)))); err != nil {
				t.Fatal(err)
			}
			if flow := s.next(t, "message").flow; s.Certified(flow, "sip.test") || s.Certified(sip.Flow{Transport: sip.UDP}, "sip.test") {
				t.Error("certified without a certificate")
			}
		})
	}
	// To itself: the dialled end of the connection.
	s := start(t, []Listener{listen(sip.TLS, "127.0.0.1")}, func(cfg *Config) { cfg.DialTLS = &tls.Config{RootCAs: testRoots()} })
	s.answer = func(m *sip.Message, flow sip.Flow) {
		if m.IsRequest() {
			_ = s.Send(flow, []byte(answerTo(m)))
		}
	}
	flow, err := s.Dial(sip.TLS, s.Addr(0), "sip.test")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(flow, []byte(options("TLS", callID(1)))); err != nil {
		t.Fatal(err)
	}
	accepted, dialled := s.next(t, "message").flow, s.next(t, "message").flow
	if dialled != flow || !s.Certified(flow, "sip.test") || s.Certified(flow, "other.test") || s.Certified(accepted, "sip.test") {
		t.Error("a server that was dialled is not who it is")
	}
}
