package siptransport

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"
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
