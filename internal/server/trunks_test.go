package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"onhook/internal/account"
	"onhook/internal/config"
	"onhook/internal/trunk"
)

func trunkSpec(name string, networks ...string) trunk.Spec {
	return trunk.Spec{Name: account.Some(name), URI: account.Some("sip:carrier.test"), Networks: account.Some(networks)}
}

// invite is a call to a number from outside.
func invite(n int, transport, number string) string {
	return fmt.Sprintf("INVITE sip:%[2]s@example.com SIP/2.0\nVia: SIP/2.0/%[1]s carrier.test;rport;branch=z9hG4bK%[3]d\nMax-Forwards: 70\nFrom: <sip:x@carrier.test>;tag=1\nTo: <sip:%[2]s@example.com>\nCall-ID: %[3]d\nCSeq: 1 INVITE\nContact: <sip:x@carrier.test>\nContent-Length: 0\n\n",
		transport, number, n)
}

// read returns status and reason of the next answer.
func read(t *testing.T, from io.Reader) string {
	t.Helper()
	buf := make([]byte, 65536)
	n, err := from.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	status := strings.Fields(string(buf[:n]))[1]
	if _, reason, ok := strings.Cut(string(buf[:n]), "X-Onhook-Reason: "); ok {
		reason, _, _ = strings.Cut(reason, "\r\n")
		status += " " + reason
	}
	return status
}

// What comes from a trunk's addresses is the trunk's from the moment that it is
// made until it is deleted, and no flood; and a restart keeps it.
func TestTrunkAtRunTime(t *testing.T) {
	cfg := testConfig(t)
	cfg.Limits.PacketsPerSecond, cfg.Limits.PacketsBurst = 1, 5
	in := start(t, cfg)
	calls := 0
	call := func(number string) string {
		t.Helper()
		source := in.from(t, "127.0.2.1")
		if err := source.conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		calls++
		source.send(t, invite(calls, "UDP", number))
		return read(t, source.conn)
	}
	if got := call("+4930100"); got != "403 relay.denied" {
		t.Errorf("from a stranger: %s", got)
	}
	if err := in.trunks.Create(t.Context(), trunkSpec("carrier", "127.0.2.0/24")); err != nil {
		t.Fatal(err)
	}
	if err := in.trunks.CreateNumber(t.Context(), trunk.NumberSpec{Number: account.Some("+4930100"), Application: account.Some("12345678901234500")}); err != nil {
		t.Fatal(err)
	}
	for number, want := range map[string]string{"+4930100": "480 app.unavailable", "+4930999": "404 phones.unknown_number"} {
		if got := call(number); got != want {
			t.Errorf("%s from the trunk: %s, want %s", number, got, want)
		}
	}
	busy := in.from(t, "127.0.2.2")
	for n := range 50 {
		busy.options(t, n)
		busy.answers(t, 1)
	}
	if err := in.stop(); err != nil {
		t.Fatal(err)
	}
	in = start(t, cfg)
	if got := call("+4930100"); got != "480 app.unavailable" {
		t.Errorf("after a restart: %s", got)
	}
	if err := in.trunks.Delete(t.Context(), "carrier"); err != nil {
		t.Fatal(err)
	}
	if got := call("+4930100"); got != "403 relay.denied" {
		t.Errorf("from a trunk that is gone: %s", got)
	}
}

// A trunk over TLS is known by the name in its certificate, at its address.
func TestTrunkOverTLS(t *testing.T) {
	dir := t.TempDir()
	own := certify(t, dir, "own", "example.com")
	carrier := certify(t, dir, "carrier", "carrier.test")
	other := certify(t, dir, "other", "carrier.test") // nobody trusts it
	cfg := testConfig(t)
	cfg.SIP.Listeners = append(cfg.SIP.Listeners, config.Listener{Transport: "tls", Address: "127.0.0.1:0"})
	cfg.TLS = config.TLS{CertFile: own + ".pem", KeyFile: own + ".key", RootsFile: carrier + ".pem"}
	spec := trunkSpec("carrier", "127.0.2.0/24")
	cfg.Trunks = []trunk.Trunk{{Name: "carrier", URI: spec.URI.Value, Transport: "tls", Networks: []netip.Prefix{netip.MustParsePrefix("127.0.2.0/24")}}}
	in := start(t, cfg)
	for i, c := range []struct {
		what, from, certificate, want string
	}{
		{"the carrier", "127.0.2.1", carrier, "404 phones.unknown_number"},
		{"the carrier elsewhere", "127.0.3.1", carrier, "403 relay.denied"},
		{"its address without a certificate", "127.0.2.1", "", "403 relay.denied"},
		{"its address with a certificate of its own making", "127.0.2.1", other, "403 relay.denied"},
	} {
		client := &tls.Config{InsecureSkipVerify: true}
		if c.certificate != "" {
			pair, err := tls.LoadX509KeyPair(c.certificate+".pem", c.certificate+".key")
			if err != nil {
				t.Fatal(err)
			}
			client.Certificates = []tls.Certificate{pair}
		}
		dialer := tls.Dialer{NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(c.from)}}, Config: client}
		conn, err := dialer.DialContext(t.Context(), "tcp", in.Addr(2).String())
		if err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, strings.ReplaceAll(invite(i, "TLS", "+4930999"), "\n", "\r\n")); err != nil {
			t.Fatal(err)
		}
		if got := read(t, conn); got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	source := in.from(t, "127.0.2.1")
	source.send(t, invite(99, "UDP", "+4930999"))
	if err := source.conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if got := read(t, source.conn); got != "403 relay.denied" {
		t.Errorf("its address over UDP: %s", got)
	}
}

// certify writes a certificate for a domain, signed by itself, and its key; their
// names end in .pem and .key.
func certify(t *testing.T, dir, name, domain string) (path string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{domain}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, name)
	for suffix, block := range map[string]*pem.Block{".pem": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path+suffix, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// What one server's administration changes acts on all that share its database.
func TestTrunksOfSeveralServers(t *testing.T) {
	servers := several(t, 2)
	a, b := servers[0], servers[1]
	began := time.Now()
	spec := trunkSpec("carrier")
	spec.Username, spec.Password = account.Some("us"), account.Some("secret")
	if err := a.trunks.Create(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other server has the trunk", func() bool { return b.trunks.Line("carrier") != nil })
	t.Logf("after %v", time.Since(began))
	if l := b.trunks.Line("carrier"); l.Password != "secret" || len(b.path.trunks.Candidates("+49301")) != 1 {
		t.Errorf("%+v", l.Trunk)
	}
	began = time.Now()
	if err := b.trunks.Update(t.Context(), "carrier", trunk.Spec{Password: account.Some("other"), Prefixes: account.Some([]string{"+43"})}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first one has the change", func() bool { return a.trunks.Line("carrier").Password == "other" })
	t.Logf("after %v", time.Since(began))
	if err := b.trunks.Delete(t.Context(), "carrier"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is gone everywhere", func() bool { return a.trunks.Line("carrier") == nil })
}
