package dev

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/netip"
	"os"
	"time"
)

// Files of the folder.
const (
	caCert     = "ca.pem"
	caKey      = "ca-key.pem"
	serverCert = "server.pem"
	serverKey  = "server-key.pem"
)

const (
	caLife     = 10 * 365 * 24 * time.Hour
	serverLife = 365 * 24 * time.Hour
	renewal    = 30 * 24 * time.Hour // before the end
)

// certificates makes sure that there is a CA, and a server certificate of it
// for exactly the names and addresses needed, both good for a while.
func (e *Env) certificates() error {
	now := time.Now()
	ca, err := e.loadPair(caCert, caKey)
	if err != nil {
		return err
	}
	if ca == nil || now.After(ca.Leaf.NotAfter.Add(-renewal)) {
		if ca, err = e.issue(caCert, caKey, caTemplate(now), nil); err != nil {
			return err
		}
	}
	current, err := e.loadPair(serverCert, serverKey)
	if err != nil {
		return err
	}
	template := serverTemplate(now, e.certAddrs())
	if current != nil && serves(current.Leaf, ca.Leaf, template, now) {
		return nil
	}
	_, err = e.issue(serverCert, serverKey, template, ca)
	return err
}

// certAddrs are the addresses the certificate is for.
func (e *Env) certAddrs() []net.IP {
	ips := []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	if e.listen.IsValid() && e.listen != loopback && e.listen != netip.IPv6Loopback() {
		ips = append(ips, e.listen.AsSlice())
	}
	return ips
}

func serves(leaf, ca, wanted *x509.Certificate, now time.Time) bool {
	if leaf.CheckSignatureFrom(ca) != nil || now.After(leaf.NotAfter.Add(-renewal)) || len(leaf.IPAddresses) != len(wanted.IPAddresses) {
		return false
	}
	for i, ip := range wanted.IPAddresses {
		if !leaf.IPAddresses[i].Equal(ip) {
			return false
		}
	}
	return true
}

// loadPair returns nil when there is none. One that cannot be used is an error:
// somebody may have installed the CA elsewhere.
func (e *Env) loadPair(cert, key string) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(e.path(cert), e.path(key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w (delete it and its key to get new ones)", e.path(cert), err)
	}
	return &pair, nil
}

// issue makes a certificate signed by ca, or by itself, and writes it. The key
// comes first: a certificate in the folder always has its key.
func (e *Env) issue(cert, key string, template *x509.Certificate, ca *tls.Certificate) (*tls.Certificate, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	parent, signer := template, any(private)
	if ca != nil {
		parent, signer = ca.Leaf, ca.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &private.PublicKey, signer)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	if err := os.Remove(e.path(cert)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	if err := writeWhole(e.path(key), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})); err != nil {
		return nil, err
	}
	if err := writeWhole(e.path(cert), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})); err != nil {
		return nil, err
	}
	return e.loadPair(cert, key)
}

func caTemplate(now time.Time) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "onhook dev CA"},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(caLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

func serverTemplate(now time.Time, ips []net.IP) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: "onhook dev"},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(serverLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"localhost"},
		IPAddresses:  ips,
	}
}

func serial() *big.Int {
	var b [16]byte
	rand.Read(b[:])
	b[0] &= 0x7f // positive, at most 20 octets (RFC 5280 4.1.2.2)
	return new(big.Int).SetBytes(b[:])
}
