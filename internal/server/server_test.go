package server

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"onhook/internal/account"
	"onhook/internal/config"
	"onhook/internal/event"
)

// instance is a server in this process, on ports of its own.
type instance struct {
	*Server
	cfg    config.Config
	stop   func() error
	owner  account.Account
	token  string
	client *net.UDPConn
}

func testConfig(t testing.TB) config.Config {
	cfg := config.Default()
	cfg.Domains = []string{"example.com"}
	cfg.DataDir = t.TempDir()
	cfg.API.Address = "127.0.0.1:0"
	cfg.SIP.Listeners = []config.Listener{{Transport: "udp", Address: "127.0.0.1:0"}, {Transport: "tcp", Address: "127.0.0.1:0"}}
	cfg.ShutdownTimeout = time.Second
	return cfg
}

func start(t *testing.T, cfg config.Config) *instance {
	t.Helper()
	s, err := New(t.Context(), cfg, Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	select {
	case <-s.Started():
	case err := <-done:
		t.Fatal(err)
	}
	in := &instance{Server: s, cfg: cfg}
	stopped := false
	in.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel(ErrStopNow)
		return <-done
	}
	t.Cleanup(func() {
		if err := in.stop(); err != nil {
			t.Error(err)
		}
	})
	in.client, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(s.Addr(0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.client.Close() })
	return in
}

// exchange sends a request and returns the answer.
func (in *instance) exchange(t *testing.T, msg string) string {
	t.Helper()
	if _, err := io.WriteString(in.client, strings.ReplaceAll(msg, "\n", "\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := in.client.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 65536)
	n, err := in.client.Read(buf)
	if err != nil {
		t.Fatalf("no answer to\n%s", msg)
	}
	return string(buf[:n])
}

var nonce = regexp.MustCompile(`nonce="([^"]+)"`)

// register sends a REGISTER of bob's, with credentials where nonce is given.
func (in *instance) register(t *testing.T, cseq int, nonce, password string) string {
	t.Helper()
	return in.ofBob(t, "REGISTER", "sip:example.com", cseq, nonce, password)
}

// ofBob sends a request of bob's to himself, with credentials where nonce is given.
func (in *instance) ofBob(t *testing.T, method, uri string, cseq int, nonce, password string) string {
	t.Helper()
	header := map[string]string{"REGISTER": "Authorization"}[method]
	if header == "" {
		header = "Proxy-Authorization"
	}
	auth := ""
	if nonce != "" {
		h := func(s string) string {
			sum := md5.Sum([]byte(s))
			return hex.EncodeToString(sum[:])
		}
		response := h(h("bob:example.com:"+password) + ":" + nonce + ":00000001:c:auth:" + h(method+":"+uri))
		auth = fmt.Sprintf("%s: Digest username=\"bob\", realm=\"example.com\", nonce=\"%s\", uri=\"%s\", response=\"%s\", algorithm=MD5, qop=auth, nc=00000001, cnonce=\"c\"\n",
			header, nonce, uri, response)
	}
	addr := in.client.LocalAddr().String()
	return in.exchange(t, fmt.Sprintf("%[4]s %[5]s SIP/2.0\nVia: SIP/2.0/UDP %[1]s;rport;branch=z9hG4bK%[4]s%[2]d\nMax-Forwards: 70\nFrom: <sip:bob@example.com>;tag=b\nTo: <sip:bob@example.com>\n"+
		"Call-ID: %[4]s\nCSeq: %[2]d %[4]s\nContact: <sip:bob@%[1]s>\nUser-Agent: test\n%[3]sContent-Length: 0\n\n", addr, cseq, auth, method, uri))
}

func (in *instance) login(t *testing.T, cseq int, password string) string {
	t.Helper()
	first := in.register(t, cseq, "", password)
	match := nonce.FindStringSubmatch(first)
	if !strings.HasPrefix(first, "SIP/2.0 401") || match == nil {
		t.Fatalf("no challenge:\n%s", first)
	}
	return in.register(t, cseq+1, match[1], password)
}

func (in *instance) get(t *testing.T, path string) map[string]any {
	t.Helper()
	req, err := http.NewRequest("GET", "http://"+in.APIAddr().String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(in.owner.AuthID, in.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var body map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	return body
}

func (in *instance) createBob(t *testing.T) account.Endpoint {
	t.Helper()
	var err error
	if in.owner, in.token, err = in.Accounts().CreateAccount(t.Context(), "Test"); err != nil {
		t.Fatal(err)
	}
	bob, err := in.Accounts().CreateEndpoint(t.Context(), in.owner, account.EndpointSpec{Username: account.Some("bob"), Password: account.Some("password-1")})
	if err != nil {
		t.Fatal(err)
	}
	return bob
}

func TestRegisterAndRestart(t *testing.T) {
	cfg := testConfig(t)
	in := start(t, cfg)
	bob := in.createBob(t)
	path := "/v1/Account/" + in.owner.AuthID + "/Endpoint/" + bob.ID.String() + "/"
	if got := in.get(t, path)["sip_registered"]; got != "false" {
		t.Fatalf("sip_registered %v before", got)
	}
	if got := in.login(t, 1, "wrong-password"); !strings.HasPrefix(got, "SIP/2.0 401") {
		t.Fatalf("wrong password:\n%s", got)
	}
	if got := in.login(t, 3, "password-1"); !strings.HasPrefix(got, "SIP/2.0 200") {
		t.Fatalf("right password:\n%s", got)
	}
	e := in.get(t, path)
	if e["sip_registered"] != "true" || e["sip_contact"] != in.client.LocalAddr().String() || e["sip_user_agent"] != "test" {
		t.Fatalf("endpoint %v", e)
	}
	if err := in.stop(); err != nil {
		t.Fatal(err)
	}
	again := start(t, cfg)
	again.owner, again.token = in.owner, in.token
	if e := again.get(t, path); e["sip_registered"] != "true" {
		t.Fatalf("after a restart: %v", e)
	}
	_, err := again.Accounts().UpdateEndpoint(t.Context(), in.owner, bob.ID, account.EndpointPatch{Password: account.Some("password-2")})
	if err != nil {
		t.Fatal(err)
	}
	if e := again.get(t, path); e["sip_registered"] != "false" {
		t.Fatalf("after a new password: %v", e)
	}
	if got := again.login(t, 10, "password-1"); !strings.HasPrefix(got, "SIP/2.0 401") {
		t.Fatalf("the old password:\n%s", got)
	}
	if got := again.login(t, 12, "password-2"); !strings.HasPrefix(got, "SIP/2.0 200") {
		t.Fatalf("the new password:\n%s", got)
	}
}

// A disabled sub-account's phones are logged out and refused, which only those
// who know a password learn; nothing else about it changes, over a restart too.
func TestDisabledSubAccount(t *testing.T) {
	cfg := testConfig(t)
	in := start(t, cfg)
	var err error
	if in.owner, in.token, err = in.Accounts().CreateAccount(t.Context(), "main"); err != nil {
		t.Fatal(err)
	}
	sub, _, err := in.Accounts().CreateSubAccount(t.Context(), in.owner, account.SubAccountSpec{Name: account.Some("sub")})
	if err != nil {
		t.Fatal(err)
	}
	bob, err := in.Accounts().CreateEndpoint(t.Context(), sub, account.EndpointSpec{Username: account.Some("bob"), Password: account.Some("password-1")})
	if err != nil {
		t.Fatal(err)
	}
	path := "/v1/Account/" + in.owner.AuthID + "/Endpoint/" + bob.ID.String() + "/"
	enable := func(enabled bool) {
		t.Helper()
		body := fmt.Sprintf(`{"enabled":%t}`, enabled)
		if status, _, answer := in.ask(t, "PUT", "/v1/accounts/"+in.owner.AuthID+"/sub-accounts/"+sub.AuthID, body); status != 200 {
			t.Fatalf("enabled %t: %d %s", enabled, status, answer)
		}
	}
	cseq := 0
	expect := func(what, answer, status, reason string) {
		t.Helper()
		if !strings.HasPrefix(answer, "SIP/2.0 "+status) || strings.Contains(answer, "X-Onhook-Reason: "+reason) != (reason != "") {
			t.Errorf("%s: wants %s %s, got\n%s", what, status, reason, answer)
		}
	}
	login := func(password, status, reason string) {
		t.Helper()
		cseq += 2
		expect("REGISTER with "+password, in.login(t, cseq, password), status, reason)
	}
	call := func(status, reason string) {
		t.Helper()
		cseq += 2
		const uri = "sip:nobody@example.com"
		first := in.ofBob(t, "MESSAGE", uri, cseq, "", "")
		match := nonce.FindStringSubmatch(first)
		if match == nil {
			t.Fatalf("no challenge:\n%s", first)
		}
		expect("MESSAGE", in.ofBob(t, "MESSAGE", uri, cseq+1, match[1], "password-1"), status, reason)
	}
	login("password-1", "200", "")
	call("404", "endpoint.unknown")
	enable(false)
	if e := in.get(t, path); e["sip_registered"] != "false" || e["username"] != "bob" {
		t.Errorf("while disabled: %v", e)
	}
	login("wrong-password", "401", "auth.bad_credentials")
	login("password-1", "403", "account.disabled")
	call("403", "account.disabled")
	if err := in.stop(); err != nil {
		t.Fatal(err)
	}
	again := start(t, cfg)
	again.owner, again.token = in.owner, in.token
	in = again
	login("password-1", "403", "account.disabled")
	enable(true)
	login("password-1", "200", "")
	call("404", "endpoint.unknown")
}

// What is refused, and how, before anything is known of the caller.
func TestRefusals(t *testing.T) {
	in := start(t, testConfig(t))
	in.createBob(t)
	request := func(method, uri, from string, more ...string) string {
		return fmt.Sprintf("%s %s SIP/2.0\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bK%x\nFrom: <%s>;tag=a\nTo: <%s>\nCall-ID: c\nCSeq: 1 %s\n%sContent-Length: 0\n\n",
			method, uri, in.client.LocalAddr(), md5.Sum([]byte(method+uri+from+strings.Join(more, ""))), from, uri, method, strings.Join(more, ""))
	}
	const stranger = "sip:stranger@elsewhere.example"
	for _, c := range []struct{ name, msg, status, reason string }{
		{"OPTIONS to the domain", request("OPTIONS", "sip:example.com", stranger), "200", ""},
		{"OPTIONS to the address", request("OPTIONS", "sip:"+in.Addr(0).String(), stranger), "200", ""},
		{"unregistered, from outside", request("INVITE", "sip:bob@example.com", stranger), "480", ""},
		{"unknown, from outside", request("INVITE", "sip:nobody@example.com", stranger), "480", ""},
		{"relay", request("INVITE", "sip:victim@elsewhere.example", stranger), "403", "relay.denied"},
		{"relay by Route", request("INVITE", "sip:bob@example.com", stranger, "Route: <sip:example.com;lr>, <sip:elsewhere.example;lr>\n"), "403", "relay.denied"},
		{"phone number from outside", request("INVITE", "sip:+15551234@example.com", stranger), "403", "relay.denied"},
		{"From of ours", request("INVITE", "sip:bob@example.com", "sip:bob@example.com"), "407", ""},
		{"MESSAGE, From of ours", request("MESSAGE", "sip:bob@example.com", "sip:nobody@example.com"), "407", ""},
		{"no hops left", request("INVITE", "sip:bob@example.com", stranger, "Max-Forwards: 0\n"), "483", "request.too_many_hops"},
		{"Proxy-Require", request("INVITE", "sip:bob@example.com", stranger, "Proxy-Require: magic\n"), "420", "request.extension"},
		{"scheme", request("OPTIONS", "unknown:thing", stranger), "416", "request.scheme"},
		{"foreign registrar", request("REGISTER", "sip:elsewhere.example", stranger), "403", "relay.denied"},
		{"within no dialog", strings.Replace(request("BYE", "sip:bob@example.com", stranger), ">\nCall-ID", ">;tag=x\nCall-ID", 1), "481", "dialog.unknown"},
	} {
		got := in.exchange(t, c.msg)
		if !strings.HasPrefix(got, "SIP/2.0 "+c.status) {
			t.Errorf("%s: wants %s, got\n%s", c.name, c.status, got)
		}
		if has := strings.Contains(got, "X-Onhook-Reason: "+c.reason); c.reason != "" && !has || c.reason == "" && strings.Contains(got, "X-Onhook-Reason") {
			t.Errorf("%s: wants reason %q, got\n%s", c.name, c.reason, got)
		}
	}
}

func TestPortTaken(t *testing.T) {
	first := start(t, testConfig(t))
	for _, c := range []struct {
		name string
		edit func(*config.Config)
		want string
	}{
		{"udp", func(c *config.Config) { c.SIP.Listeners[0].Address = first.Addr(0).String() }, first.Addr(0).String()},
		{"tcp", func(c *config.Config) { c.SIP.Listeners[1].Address = first.Addr(1).String() }, first.Addr(1).String()},
		{"api", func(c *config.Config) { c.API.Address = first.APIAddr().String() }, first.APIAddr().String()},
	} {
		cfg := testConfig(t)
		c.edit(&cfg)
		s, err := New(t.Context(), cfg, Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, wants an error that names %s", c.name, err, c.want)
		}
	}
	cfg := testConfig(t)
	cfg.DataDir = first.cfg.DataDir
	if _, err := New(t.Context(), cfg, Options{Logger: slog.New(slog.DiscardHandler)}); err == nil {
		t.Error("two servers on one data directory")
	} else if errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A refresh is an event where the configuration says so.
func TestRefreshEvents(t *testing.T) {
	for refreshes, want := range map[bool][]event.Type{
		false: {event.EndpointRegistered, event.EndpointUnregistered},
		true:  {event.EndpointRegistered, event.EndpointRefreshed, event.EndpointUnregistered},
	} {
		cfg := testConfig(t)
		cfg.Events.Refreshes = refreshes
		in := start(t, cfg)
		bob := in.createBob(t)
		stream := in.events.Subscribe(in.owner.AuthID, event.Filter{}, nil)
		for cseq := 1; cseq < 5; cseq += 2 {
			if got := in.login(t, cseq, "password-1"); !strings.HasPrefix(got, "SIP/2.0 200") {
				t.Fatal(got)
			}
		}
		if err := (registrations{in.path}).EndAll(t.Context(), bob.ID); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		for len(want) > 0 {
			e, err := stream.Next(ctx)
			if err == nil && e.Type == event.EndpointCreated { // may still have been on its way
				continue
			}
			if err != nil || e.Type != want[0] {
				t.Fatalf("with refreshes %t: %s %v, want %s", refreshes, e.Type, err, want[0])
			}
			want = want[1:]
		}
	}
}
