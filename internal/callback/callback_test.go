package callback

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// The published vector.
func TestVector(t *testing.T) {
	h := http.Header{}
	Sign(h, DefaultPrefix, Keys{Account: "test_auth_token_0123456789"}, "https://your-domain.com/webhook?x=1", "12345678901234567890")
	for name, want := range map[string]string{
		"X-Vobiz-Signature-V2": "ESDHDLa/aBzFueBC9s0/66A8oiCamPlf+hNNc7AxGBM=", "X-Vobiz-Signature-V2-Nonce": "12345678901234567890",
		"X-Vobiz-Signature-V3": "Hix04AgsGKPU38AA4Iwxguy14xZO++xh1x1KdQ9aADA=", "X-Vobiz-Signature-V3-Nonce": "12345678901234567890",
		"X-Vobiz-Signature-MA-V2": "", "X-Vobiz-Signature-MA-V3": "",
	} {
		if got := h.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	// A sub-account's callbacks carry the parent's signatures, too; other names by configuration.
	Sign(h, "X-Acme", Keys{Account: "a", Parent: "test_auth_token_0123456789"}, "https://your-domain.com/webhook#f", "12345678901234567890")
	if got := h.Get("X-Acme-Signature-MA-V2"); got != "ESDHDLa/aBzFueBC9s0/66A8oiCamPlf+hNNc7AxGBM=" {
		t.Error(got)
	}
	if got := h.Get("X-Acme-Signature-MA-V3"); got != "Hix04AgsGKPU38AA4Iwxguy14xZO++xh1x1KdQ9aADA=" {
		t.Error(got)
	}
	// printf 1700000000.{} | openssl dgst -sha256 -hmac key
	SignBody(h, Keys{Account: "key", Webhook: "key"}, []byte(`{}`), time.Unix(1700000000, 0))
	const want = "t=1700000000,v1=9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae"
	if got := h.Get("Onhook-Signature"); got != want || h.Get("Onhook-Webhook-Signature") != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestNonce(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		n := NewNonce()
		if len(n) != 20 || strings.Trim(n, "0123456789") != "" || seen[n] {
			t.Fatalf("nonce %q", n)
		}
		seen[n] = true
	}
}

func TestAllowed(t *testing.T) {
	c := New(Config{AllowNetworks: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("::1/128")}})
	for addr, want := range map[string]bool{
		"8.8.8.8": true, "2606:4700::1111": true, "::ffff:8.8.8.8": true, "10.1.2.3": true, "::ffff:10.1.2.3": true, "::1": true,
		"127.0.0.1": false, "127.9.9.9": false, "::ffff:127.0.0.1": false, "10.2.0.1": false, "172.16.0.1": false, "192.168.1.1": false,
		"169.254.169.254": false, "fe80::1": false, "fe80::1%eth0": false, "fd00::1": false, "0.0.0.0": false, "::": false, "224.0.0.1": false,
		"255.255.255.255": false, "100.64.0.1": false, "64:ff9b::7f00:1": false, "2002:7f00:1::": false, "198.18.0.1": false, "240.0.0.1": false,
	} {
		if got := c.Allowed(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
}

func TestCheck(t *testing.T) {
	c := New(Config{})
	for _, good := range []string{"https://example.com/hook?x=1", "http://example.com:8080", "https://8.8.8.8/", "http://[2606:4700::1111]/"} {
		if msg := c.Check(good); msg != "" {
			t.Errorf("%s: %s", good, msg)
		}
	}
	for _, bad := range []string{"", "/hook", "ftp://example.com", "https://", "https://:443/", "http://user:pw@example.com/", "http://example.com/#x",
		"http://127.0.0.1/", "http://[::1]:80/", "http://[::ffff:10.0.0.1]/", "http://169.254.169.254/latest", "mailto:x@example.com",
		"https://example.com/" + strings.Repeat("x", 2048)} {
		if c.Check(bad) == "" {
			t.Errorf("%s is a good target", bad)
		}
	}
}

// A name that leads into a private network is refused when it is dialled, and a
// redirect is not followed.
func TestPost(t *testing.T) {
	var got *http.Request
	var body []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		if r.URL.Path == "/redirect" {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusTemporaryRedirect)
		}
	}))
	t.Cleanup(server.Close)
	_, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "http://"), ":")
	request := Request{URL: "http://localhost:" + port + "/hook?a=b", EventID: "E1", Body: []byte(`{"id":"E1"}`), Keys: Keys{Account: "token"}}
	_, err := New(Config{}).Post(t.Context(), request)
	if !errors.Is(err, ErrForbidden) || got != nil {
		t.Errorf("%v, received %v", err, got)
	}
	c := New(Config{AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}})
	t.Cleanup(c.Close)
	status, err := c.Post(t.Context(), request)
	if err != nil || status != 200 || string(body) != `{"id":"E1"}` || got.Header.Get("Onhook-Event-Id") != "E1" || got.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %v %s %v", status, err, body, got)
	}
	check := http.Header{}
	Sign(check, DefaultPrefix, request.Keys, "http://localhost:"+port+"/hook", got.Header.Get("X-Vobiz-Signature-V3-Nonce"))
	if check.Get("X-Vobiz-Signature-V3") != got.Header.Get("X-Vobiz-Signature-V3") || got.Header.Get("Onhook-Signature") == "" {
		t.Errorf("signatures %v", got.Header)
	}
	request.URL = server.URL + "/redirect"
	if status, err = c.Post(t.Context(), request); err != nil || status != http.StatusTemporaryRedirect {
		t.Errorf("%d %v", status, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = c.Post(ctx, request); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A target that takes the request and says nothing has failed in time.
func TestSlowTarget(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then does the server notice that the client has gone
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	c := New(Config{AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Timeout: 50 * time.Millisecond})
	t.Cleanup(c.Close)
	_, err := c.Post(t.Context(), Request{URL: server.URL, EventID: "E1", Body: []byte("{}"), Keys: Keys{Account: "token"}})
	var late net.Error
	if !errors.As(err, &late) || !late.Timeout() {
		t.Errorf("a target that does not answer: %v", err)
	}
}
