// Package dev is the environment of `onhook dev`: a folder with ports, key,
// certificates and a demo account, on loopback. It knows no socket that serves
// and no database: it turns the folder into a configuration, fills a running
// server with the demo endpoints, and says how to use them.
package dev

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"onhook/internal/account"
	"onhook/internal/config"
)

// Domain is the SIP domain of every dev environment: an address, because
// phones must find it without DNS.
const Domain = "127.0.0.1"

// Usernames are the demo endpoints.
var Usernames = [...]string{"alice", "bob"}

// Options is what the command line says.
type Options struct {
	Dir            string
	EphemeralPorts bool
	Listen         string // an address of this machine besides loopback; "" for none
}

// Env is a dev environment. Its folder belongs to it until Close.
type Env struct {
	dir    string // absolute
	listen netip.Addr
	state  state
	key    []byte
	lock   *os.File
}

// Open takes the folder, making what is missing in it: ports, key, CA and
// certificate. A folder that another process holds is an error that names it.
func Open(opts Options) (env *Env, err error) {
	e := &Env{}
	if e.dir, err = filepath.Abs(opts.Dir); err != nil {
		return nil, fmt.Errorf("dev folder: %w", err)
	}
	if e.listen, err = listenAddr(opts.Listen); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(e.dir, 0o700); err != nil {
		return nil, fmt.Errorf("dev folder: %w", err)
	}
	if e.lock, err = Lock(e.dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.Close())
			env = nil
		}
	}()
	if err := os.Remove(e.infoPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("old dev.json: %w", err)
	}
	if e.state, err = readState(e.statePath()); err != nil {
		return nil, err
	}
	if err := e.choosePorts(opts.EphemeralPorts); err != nil {
		return nil, err
	}
	if err := e.chooseAdminToken(); err != nil {
		return nil, err
	}
	if e.key, err = e.Config().MasterKey(); err != nil {
		return nil, err
	}
	if err := e.certificates(); err != nil {
		return nil, err
	}
	return e, nil
}

// Close gives the folder back.
func (e *Env) Close() error { return e.lock.Close() }

// Dir is the folder, absolute.
func (e *Env) Dir() string { return e.dir }

// DataDir is where the server of the environment in dir keeps its data.
func DataDir(dir string) string { return filepath.Join(dir, "data") }

// Config is the configuration of the environment's server.
func (e *Env) Config() config.Config {
	c := config.Default()
	c.Domains = []string{Domain}
	c.DataDir = DataDir(e.dir)
	c.KeyFile = filepath.Join(e.dir, "key")
	c.TLS = config.TLS{CertFile: e.path(serverCert), KeyFile: e.path(serverKey)}
	c.API.Address = hostPort(loopback, e.state.Ports.API)
	c.API.AdminToken = e.state.AdminToken
	c.TrustedNetworks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	c.Callbacks.AllowNetworks = c.TrustedNetworks // a webhook under development runs here, too
	for _, addr := range e.addrs() {
		for _, l := range e.state.Ports.listeners() {
			c.SIP.Listeners = append(c.SIP.Listeners, config.Listener{Transport: l.transport, Address: hostPort(addr, l.port)})
		}
	}
	return c
}

// Accounts is what Populate needs of the account service.
type Accounts interface {
	Authenticate(ctx context.Context, authID, token string) (account.Account, error)
	Accounts(ctx context.Context) ([]account.Account, error)
	CreateAccount(ctx context.Context, name string) (account.Account, string, error)
	RotateToken(ctx context.Context, authID string) (string, error)
	CreateEndpoint(ctx context.Context, owner account.Account, spec account.EndpointSpec) (account.Endpoint, error)
}

// Populate makes sure that there is an account whose token the environment
// knows and, the first time, makes the demo endpoints in it.
func (e *Env) Populate(ctx context.Context, accounts Accounts) error {
	owner, err := e.login(ctx, accounts)
	if err != nil {
		return fmt.Errorf("demo account: %w", err)
	}
	if e.state.Endpoints {
		return nil
	}
	for _, name := range Usernames {
		_, err := accounts.CreateEndpoint(ctx, owner, account.EndpointSpec{
			Username: account.Some(name), Password: account.Some(e.Password(name)),
		})
		var taken *account.Conflict // by a first start that did not get to its end
		if err != nil && !errors.As(err, &taken) {
			return fmt.Errorf("demo endpoint %s: %w", name, err)
		}
	}
	e.state.Endpoints = true
	return e.state.write(e.statePath())
}

// chooseAdminToken makes the token of server administration once; the state
// keeps it.
func (e *Env) chooseAdminToken() error {
	if e.state.AdminToken != "" {
		return nil
	}
	e.state.AdminToken = rand.Text()
	return e.state.write(e.statePath())
}

// login finds an account to use: the one in the state, else the oldest main
// account, else a new one. A token that was rotated or lost is rotated again.
func (e *Env) login(ctx context.Context, accounts Accounts) (account.Account, error) {
	if e.state.AuthID != "" {
		a, err := accounts.Authenticate(ctx, e.state.AuthID, e.state.AuthToken)
		if err == nil || !errors.Is(err, account.ErrUnauthorized) {
			return a, err
		}
	}
	all, err := accounts.Accounts(ctx)
	if err != nil {
		return account.Account{}, err
	}
	var found account.Account
	for _, a := range all {
		if a.AuthID == e.state.AuthID || found.AuthID == "" && a.Parent == "" {
			found = a
		}
	}
	token := ""
	if found.AuthID == "" {
		found, token, err = accounts.CreateAccount(ctx, "demo")
	} else {
		token, err = accounts.RotateToken(ctx, found.AuthID)
	}
	if err != nil {
		return account.Account{}, err
	}
	e.state.AuthID, e.state.AuthToken = found.AuthID, token
	return found, e.state.write(e.statePath())
}

// Password is a demo endpoint's first password. It is derived from the
// folder's key, so it can be printed at each start although it is stored
// nowhere.
func (e *Env) Password(username string) string {
	mac := hmac.New(sha256.New, e.key)
	mac.Write([]byte("onhook dev password\x00" + username))
	return strings.ToLower(base32.StdEncoding.EncodeToString(mac.Sum(nil)[:15]))
}

func (e *Env) path(name string) string { return filepath.Join(e.dir, name) }
func (e *Env) statePath() string       { return e.path("state.json") }
func (e *Env) infoPath() string        { return e.path("dev.json") }

// addrs are the addresses SIP listens on.
func (e *Env) addrs() []netip.Addr {
	if e.listen.IsValid() && e.listen != loopback {
		return []netip.Addr{loopback, e.listen}
	}
	return []netip.Addr{loopback}
}

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

func listenAddr(text string) (netip.Addr, error) {
	if text == "" {
		return netip.Addr{}, nil
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" || addr.IsUnspecified() || addr.IsMulticast() {
		return netip.Addr{}, fmt.Errorf("--listen %s: name one address of this machine, such as %s", text, strings.Join(localAddrs(), " or "))
	}
	return addr.Unmap(), nil
}

// localAddrs are the addresses by which others may reach this machine.
func localAddrs() []string {
	found, _ := net.InterfaceAddrs()
	var list []string
	for _, a := range found {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && !p.Addr().IsLoopback() && !p.Addr().IsLinkLocalUnicast() {
			list = append(list, p.Addr().String())
		}
	}
	if len(list) == 0 {
		list = append(list, "192.168.1.20")
	}
	return list
}

func hostPort(addr netip.Addr, port uint16) string {
	return net.JoinHostPort(addr.String(), strconv.Itoa(int(port)))
}
