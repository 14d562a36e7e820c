package callback

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// ErrForbidden is a target in a network that the server does not call: its own
// machine's and private ones, unless they are allowed.
var ErrForbidden = errors.New("the target is in a network that callbacks may not reach")

// DefaultTimeout is how long a request may take, from the name's resolution to
// the end of the answer's headers.
const DefaultTimeout = 10 * time.Second

// Config says how requests are made.
type Config struct {
	AllowNetworks []netip.Prefix   // private ones that may be called all the same
	Prefix        string           // of the signature headers; "": DefaultPrefix
	Timeout       time.Duration    // 0: DefaultTimeout
	Now           func() time.Time // nil: time.Now
}

// Client makes requests. It is safe for concurrent use.
type Client struct {
	cfg  Config
	http *http.Client
}

// New makes a Client.
func New(cfg Config) *Client {
	cfg.Prefix = cmp.Or(cfg.Prefix, DefaultPrefix)
	cfg.Timeout = cmp.Or(cfg.Timeout, DefaultTimeout)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	c := &Client{cfg: cfg}
	dialer := &net.Dialer{Timeout: cfg.Timeout, Control: c.control}
	c.http = &http.Client{
		Timeout: cfg.Timeout,
		// A redirect is an answer like any other: the target that was checked
		// and signed for is the one that counts.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:           dialer.DialContext,
			ForceAttemptHTTP2:     true,
			MaxIdleConns:          256,
			MaxIdleConnsPerHost:   8,
			IdleConnTimeout:       time.Minute,
			TLSHandshakeTimeout:   cfg.Timeout,
			ResponseHeaderTimeout: cfg.Timeout,
			DisableCompression:    true,
			// No Proxy: one would resolve names where we cannot check them.
			MaxResponseHeaderBytes: 64 << 10,
		},
	}
	return c
}

// control refuses an address at the moment of dialling, when the name is
// resolved and nothing is sent yet.
func (c *Client) control(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %s", ErrForbidden, address)
	}
	if !c.Allowed(to.Addr()) {
		return fmt.Errorf("%w: %s", ErrForbidden, to.Addr())
	}
	return nil
}

// special are networks that are nobody's on the Internet, or lead back into
// some, besides those that netip tells.
// RFC 6890 2.2: the registries of such networks.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("3fff::/20"), netip.MustParsePrefix("5f00::/16"), netip.MustParsePrefix("fec0::/10"),
}

// Allowed reports whether an address may be called.
func (c *Client) Allowed(addr netip.Addr) bool {
	addr = addr.Unmap()
	for _, p := range c.cfg.AllowNetworks {
		if p.Contains(addr.WithZone("")) {
			return true
		}
	}
	if !addr.IsGlobalUnicast() || addr.IsPrivate() { // loopback, link-local, multicast and unspecified are not global
		return false
	}
	for _, p := range special {
		if p.Contains(addr) {
			return false
		}
	}
	return true
}

// MaxURL is how long a target may be.
const MaxURL = 2048

// Check says what is wrong with a target, as far as that can be said without
// resolving its name; "" when nothing is.
func (c *Client) Check(target string) string {
	u, err := url.Parse(target)
	switch {
	case len(target) > MaxURL:
		return fmt.Sprintf("Must be at most %d characters", MaxURL)
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Hostname() == "" || u.Opaque != "":
		return "Must be an absolute http or https URL"
	case u.User != nil:
		return "Must not contain a user name or password"
	case u.Fragment != "":
		return "Must not contain a fragment"
	}
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil && !c.Allowed(addr) {
		return "Is in a network that this server does not call"
	}
	return ""
}

// Request is one event on its way to a webhook.
type Request struct {
	URL     string
	EventID string
	Body    []byte // JSON
	Keys    Keys
}

// Post sends an event and returns the status of the answer.
func (c *Client) Post(ctx context.Context, r Request) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL, bytes.NewReader(r.Body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "onhook")
	req.Header.Set("Onhook-Event-Id", r.EventID)
	Sign(req.Header, c.cfg.Prefix, r.Keys, r.URL, NewNonce())
	SignBody(req.Header, r.Keys, r.Body, c.cfg.Now())
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	// A little is read so that the connection may serve the next one.
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10)
	return resp.StatusCode, nil
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }
