package dev

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"onhook/internal/account"
)

func open(t *testing.T, opts Options) *Env {
	t.Helper()
	e, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func reopen(t *testing.T, e *Env, opts Options) *Env {
	t.Helper()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, opts)
}

// accounts is an account service with nothing but what Populate asks for.
type accounts struct {
	tokens    map[string]string // auth_id → token
	endpoints map[string]string // username → password
	rotations int
}

func newAccounts() *accounts {
	return &accounts{tokens: map[string]string{}, endpoints: map[string]string{}}
}

func (a *accounts) Authenticate(_ context.Context, authID, token string) (account.Account, error) {
	if t, ok := a.tokens[authID]; !ok || t != token {
		return account.Account{}, account.ErrUnauthorized
	}
	return account.Account{AuthID: authID}, nil
}

func (a *accounts) Accounts(context.Context) (all []account.Account, err error) {
	for id := range a.tokens {
		all = append(all, account.Account{AuthID: id})
	}
	return all, nil
}

func (a *accounts) CreateAccount(context.Context, string) (account.Account, string, error) {
	a.tokens["MA_00000001"] = "token 1"
	return account.Account{AuthID: "MA_00000001"}, "token 1", nil
}

func (a *accounts) RotateToken(_ context.Context, authID string) (string, error) {
	a.rotations++
	a.tokens[authID] = "rotated"
	return "rotated", nil
}

func (a *accounts) CreateEndpoint(_ context.Context, _ account.Account, spec account.EndpointSpec) (account.Endpoint, error) {
	name := spec.Username.Value
	if _, ok := a.endpoints[name]; ok {
		return account.Endpoint{}, &account.Conflict{Username: name}
	}
	a.endpoints[name] = spec.Password.Value
	return account.Endpoint{Username: name}, nil
}

func TestAFolderKeepsEverything(t *testing.T) {
	opts := Options{Dir: t.TempDir(), EphemeralPorts: true}
	db := newAccounts()
	first := open(t, opts)
	if err := first.Populate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	was, config := first.info(), first.Config()
	alice := first.Password("alice")

	second := reopen(t, first, Options{Dir: opts.Dir}) // also without the flag
	if err := second.Populate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	if second.info() != was || !reflect.DeepEqual(second.Config(), config) {
		t.Errorf("second start:\n%+v\n%+v", was, second.info())
	}
	if second.Password("alice") != alice || alice == second.Password("bob") || db.endpoints["alice"] != alice {
		t.Errorf("passwords: %q, %q, %v", alice, second.Password("alice"), db.endpoints)
	}
	if was.AdminToken == "" || was.AdminToken != config.API.AdminToken {
		t.Errorf("admin token %q, in the server %q", was.AdminToken, config.API.AdminToken)
	}
	if err := config.Validate(); err != nil {
		t.Error(err)
	}
	// A deleted demo endpoint stays deleted.
	delete(db.endpoints, "bob")
	third := reopen(t, second, opts)
	if err := third.Populate(t.Context(), db); err != nil || len(db.endpoints) != 1 || db.rotations != 0 {
		t.Errorf("third start: %v, %v", err, db)
	}
	if third.info() != was {
		t.Errorf("the flag picked other ports: %+v", third.info())
	}
}

func TestDefaultPortsThenFreeOnes(t *testing.T) {
	dir := t.TempDir()
	e := open(t, Options{Dir: dir})
	if e.state.Ports != defaultPorts || e.info().SIP.UDP != "127.0.0.1:5060" || e.info().APIURL != "http://127.0.0.1:5080" {
		t.Errorf("got %+v", e.info())
	}
	e = reopen(t, e, Options{Dir: dir, EphemeralPorts: true})
	if e.state.Ports == defaultPorts || e.state.Ports.TCP == 0 {
		t.Errorf("got %+v", e.state.Ports)
	}
}

func TestNoSecretsButTheTokenInTheState(t *testing.T) {
	e := open(t, Options{Dir: t.TempDir()})
	if err := e.Populate(t.Context(), newAccounts()); err != nil {
		t.Fatal(err)
	}
	if err := e.Publish(); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(e.Dir())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: mode %v, %v", f.Name(), info.Mode(), err)
		}
		text, _ := os.ReadFile(filepath.Join(e.Dir(), f.Name()))
		if strings.Contains(string(text), e.Password("alice")) {
			t.Errorf("%s holds a password", f.Name())
		}
	}
}

func TestLostOrRotatedTokens(t *testing.T) {
	dir, db := t.TempDir(), newAccounts()
	e := open(t, Options{Dir: dir})
	if err := e.Populate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	db.tokens["MA_00000001"] = "somebody rotated it"
	e = reopen(t, e, Options{Dir: dir})
	if err := e.Populate(t.Context(), db); err != nil || e.info().AuthToken != "rotated" {
		t.Errorf("rotated: %v, %+v", err, e.info())
	}
	if err := os.Remove(e.statePath()); err != nil {
		t.Fatal(err)
	}
	e = reopen(t, e, Options{Dir: dir})
	if err := e.Populate(t.Context(), db); err != nil || e.info().AuthID != "MA_00000001" || e.info().AuthToken != "rotated" {
		t.Errorf("state lost: %v, %+v", err, e.info())
	}
}

func TestInUse(t *testing.T) {
	e := open(t, Options{Dir: t.TempDir()})
	if err := e.Publish(); err != nil {
		t.Fatal(err)
	}
	_, err := Open(Options{Dir: e.Dir()})
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), e.Dir()) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(e.infoPath()); err != nil {
		t.Errorf("the loser removed the winner's dev.json: %v", err)
	}
}

func TestDevJSON(t *testing.T) {
	e := open(t, Options{Dir: t.TempDir(), EphemeralPorts: true})
	if err := e.Populate(t.Context(), newAccounts()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(e.infoPath()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("dev.json before the server listens: %v", err)
	}
	if err := e.Publish(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(e.infoPath())
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		SIP map[string]string `json:"sip"`
		CA  string            `json:"ca_file"`
		API string            `json:"api_url"`
	}
	var keys map[string]any
	if err := errors.Join(json.Unmarshal(text, &got), json.Unmarshal(text, &keys)); err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"api_url", "auth_id", "auth_token", "admin_token", "domain", "sip", "ca_file"} {
		if keys[k] == nil || keys[k] == "" {
			t.Errorf("%s is missing in %s", k, text)
		}
	}
	if len(keys) != 7 || len(got.SIP) != 5 || !filepath.IsAbs(got.CA) {
		t.Errorf("got %s", text)
	}
	for k, v := range got.SIP {
		prefix := "127.0.0.1:"
		if k == "ws" || k == "wss" {
			prefix = k + "://" + prefix
		}
		if !strings.HasPrefix(v, prefix) {
			t.Errorf("%s: %s", k, v)
		}
	}
	e = reopen(t, e, Options{Dir: e.Dir()})
	if _, err := os.Stat(e.infoPath()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a new start leaves the old dev.json: %v", err)
	}
}

func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	e := open(t, Options{Dir: dir})
	verify := func(names ...string) *tls.Certificate {
		t.Helper()
		ca, err := os.ReadFile(e.info().CAFile)
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(ca)
		pair, err := tls.LoadX509KeyPair(e.Config().TLS.CertFile, e.Config().TLS.KeyFile)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		return &pair
	}
	first := verify("localhost", "127.0.0.1", "::1")
	ca, _ := os.ReadFile(e.info().CAFile)

	e = reopen(t, e, Options{Dir: dir})
	if same := verify("localhost"); !same.Leaf.Equal(first.Leaf) {
		t.Error("a new certificate without need")
	}
	e = reopen(t, e, Options{Dir: dir, Listen: "192.0.2.7"})
	if other := verify("localhost", "127.0.0.1", "::1", "192.0.2.7"); other.Leaf.Equal(first.Leaf) {
		t.Error("the same certificate for another address")
	}
	if now, _ := os.ReadFile(e.info().CAFile); !bytes.Equal(ca, now) {
		t.Error("a new CA without need: phones trust the old one")
	}
	// A CA of somebody else does not vouch for the old certificate.
	if err := errors.Join(os.Remove(e.path(caCert)), os.Remove(e.path(caKey))); err != nil {
		t.Fatal(err)
	}
	e = reopen(t, e, Options{Dir: dir})
	verify("localhost")
}

func TestCertificatesAreRenewedInTime(t *testing.T) {
	e := open(t, Options{Dir: t.TempDir()})
	ca, err := e.loadPair(caCert, caKey)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := e.loadPair(serverCert, serverKey)
	if err != nil {
		t.Fatal(err)
	}
	if !serves(leaf.Leaf, ca.Leaf, leaf.Leaf, leaf.Leaf.NotBefore) || serves(leaf.Leaf, ca.Leaf, leaf.Leaf, leaf.Leaf.NotAfter.Add(-renewal/2)) {
		t.Error("renewal is not 30 days before the end")
	}
}

func TestListen(t *testing.T) {
	e := open(t, Options{Dir: t.TempDir(), Listen: "192.0.2.7"})
	var got []string
	for _, l := range e.Config().SIP.Listeners {
		got = append(got, l.Transport+" "+l.Address)
	}
	want := []string{"udp 127.0.0.1:5060", "tcp 127.0.0.1:5060", "tls 127.0.0.1:5061", "ws 127.0.0.1:5062", "wss 127.0.0.1:5063",
		"udp 192.0.2.7:5060", "tcp 192.0.2.7:5060", "tls 192.0.2.7:5061", "ws 192.0.2.7:5062", "wss 192.0.2.7:5063"}
	if !slices.Equal(got, want) {
		t.Errorf("listeners %q", got)
	}
	if e.Config().API.Address != "127.0.0.1:5080" || e.info().SIP.UDP != "127.0.0.1:5060" {
		t.Errorf("the API or dev.json left loopback: %+v", e.info())
	}
	for _, bad := range []string{"0.0.0.0", "::", "example.org", "192.0.2.7:5060", "fe80::1%eth0", "224.0.0.1"} {
		if _, err := Open(Options{Dir: t.TempDir(), Listen: bad}); err == nil || !strings.Contains(err.Error(), "--listen "+bad) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if _, err := Open(Options{Dir: t.TempDir(), Listen: "192.0.2.7", EphemeralPorts: true}); err == nil || !strings.Contains(err.Error(), "192.0.2.7") {
		t.Errorf("free ports on an address of another machine: %v", err)
	}
}

func TestTrustsLoopbackAlone(t *testing.T) {
	e := open(t, Options{Dir: t.TempDir()})
	trusted := func(a string) bool {
		return slices.ContainsFunc(e.Config().TrustedNetworks, func(p netip.Prefix) bool { return p.Contains(netip.MustParseAddr(a)) })
	}
	if !trusted("127.0.0.9") || !trusted("::1") || trusted("192.0.2.7") {
		t.Errorf("trusted: %v", e.Config().TrustedNetworks)
	}
}

func TestHints(t *testing.T) {
	e := open(t, Options{Dir: t.TempDir(), Listen: "192.0.2.7"})
	if err := e.Populate(t.Context(), newAccounts()); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := e.Hints(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"curl -u 'MA_00000001:token 1' http://127.0.0.1:5080/v1/Account/MA_00000001/Endpoint/",
		"<sip:alice@192.0.2.7:5060;transport=udp>;auth_pass=" + e.Password("alice") + ";",
		"Domain 192.0.2.7:5060", "ws://192.0.2.7:5062", "uri: 'sip:alice@127.0.0.1'", e.Password("bob"), e.path(caCert),
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("missing %q in\n%s", want, out.String())
		}
	}
}

func TestDamagedState(t *testing.T) {
	e := open(t, Options{Dir: t.TempDir()})
	if err := os.WriteFile(e.statePath(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: e.Dir()}); err == nil || !strings.Contains(err.Error(), e.statePath()) {
		t.Errorf("got %v", err)
	}
}
