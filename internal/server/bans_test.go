package server

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"onhook/internal/account"
	"onhook/internal/config"
)

const adminToken = "admin-token-of-the-test"

// attempt is one login of a user over UDP, with the challenge it takes: status
// and reason of its second answer.
func (in *instance) attempt(t *testing.T, cseq *int, user, password string) string {
	t.Helper()
	send := func(auth string) string {
		*cseq++
		addr := in.client.LocalAddr().String()
		return in.exchange(t, fmt.Sprintf("REGISTER sip:example.com SIP/2.0\nVia: SIP/2.0/UDP %[1]s;rport;branch=z9hG4bK%[2]d\nMax-Forwards: 70\nFrom: <sip:%[3]s@example.com>;tag=b\nTo: <sip:%[3]s@example.com>\nCall-ID: %[3]s\nCSeq: %[2]d REGISTER\nContact: <sip:%[3]s@%[1]s>\n%[4]sContent-Length: 0\n\n", addr, *cseq, user, auth))
	}
	first := send("")
	match := nonce.FindStringSubmatch(first)
	if !strings.HasPrefix(first, "SIP/2.0 401") || match == nil {
		t.Fatalf("no challenge:\n%s", first)
	}
	h := func(s string) string {
		sum := md5.Sum([]byte(s))
		return hex.EncodeToString(sum[:])
	}
	response := h(h(user+":example.com:"+password) + ":" + match[1] + ":00000001:c:auth:" + h("REGISTER:sip:example.com"))
	answer := send(fmt.Sprintf("Authorization: Digest username=\"%s\", realm=\"example.com\", nonce=\"%s\", uri=\"sip:example.com\", response=\"%s\", algorithm=MD5, qop=auth, nc=00000001, cnonce=\"c\"\n", user, match[1], response))
	status := strings.Fields(answer)[1]
	if _, reason, ok := strings.Cut(answer, "X-Onhook-Reason: "); ok {
		reason, _, _ = strings.Cut(reason, "\r\n")
		status += " " + reason
	}
	return status
}

// admin calls the server's administration.
func (in *instance) admin(t *testing.T, method, path string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+in.APIAddr().String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Admin-Token", adminToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var body map[string]any
	if len(text) > 0 {
		if err := json.Unmarshal(text, &body); err != nil {
			t.Fatal(err)
		}
	}
	return resp.StatusCode, body
}

func (in *instance) metrics(t *testing.T) string {
	t.Helper()
	resp, err := http.Get("http://" + in.APIAddr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func startWithBans(t *testing.T, mode string) *instance {
	t.Helper()
	cfg := testConfig(t)
	cfg.API.AdminToken, cfg.Auth.Bans = adminToken, mode
	in := start(t, cfg)
	in.createBob(t)
	_, err := in.Accounts().CreateEndpoint(t.Context(), in.owner, account.EndpointSpec{Username: account.Some("alice"), Password: account.Some("password-2")})
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func TestWrongPasswordsBanOnePair(t *testing.T) {
	in := startWithBans(t, config.BansOn)
	cseq := 0
	expect := func(user, password, want string) {
		t.Helper()
		if got := in.attempt(t, &cseq, user, password); got != want {
			t.Fatalf("%s with %s: %s, want %s", user, password, got, want)
		}
	}
	for range 30 { // the 401 that every login begins with is no wrong password
		expect("bob", "password-1", "200")
	}
	for range 9 {
		expect("bob", "guess", "401 auth.bad_credentials")
	}
	expect("bob", "password-1", "200") // forgives
	for _, user := range []string{"bob", "nobody"} {
		for range 10 {
			expect(user, "guess", "401 auth.bad_credentials")
		}
		expect(user, "guess", "403 auth.banned")
	}
	expect("bob", "password-1", "403 auth.banned")
	expect("BOB", "guess", "403 auth.banned")
	expect("alice", "password-2", "200") // the same address

	status, body := in.admin(t, "GET", "/v1/admin/bans/")
	list, _ := body["objects"].([]any)
	if status != 200 || len(list) != 2 {
		t.Fatalf("%d %v", status, body)
	}
	text := in.metrics(t)
	for _, want := range []string{`onhook_auth_bans{mode="on"} 2`, `onhook_auth_bans_total{mode="on"} 2`, `onhook_auth_ban_refused_total{mode="on"} 4`, "onhook_auth_wrong_digests_total 29"} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no %s in /metrics", want)
		}
	}
	for _, x := range list {
		ban := x.(map[string]any)
		if ban["source"] != "127.0.0.1" || ban["reason"] != "auth.wrong_digests" || ban["domain"] != "example.com" {
			t.Errorf("listed %v", ban)
		}
		if ban["username"] == "bob" {
			if status, _ := in.admin(t, "DELETE", "/v1/admin/bans/"+ban["ban_id"].(string)); status != 204 {
				t.Errorf("lifted: %d", status)
			}
		}
	}
	expect("bob", "password-1", "200")
	expect("nobody", "guess", "403 auth.banned")
	if status, _ := in.admin(t, "DELETE", "/v1/admin/bans/"); status != 204 {
		t.Errorf("all lifted: %d", status)
	}
	expect("nobody", "guess", "401 auth.bad_credentials")
}

// A wrong digest on a nonce that is not good shows no source: anybody may write
// any address on a datagram.
func TestStaleNoncesNeverBan(t *testing.T) {
	in := startWithBans(t, config.BansOn)
	cseq := 0
	for range 15 {
		cseq++
		if got := in.register(t, cseq, "bm90IG91cnM", "guess"); !strings.HasPrefix(got, "SIP/2.0 401") || !strings.Contains(got, "stale=true") {
			t.Fatalf("wants stale=true:\n%s", got)
		}
	}
	if !strings.Contains(in.metrics(t), "onhook_auth_wrong_digests_total 0\n") {
		t.Error("stale nonces are counted")
	}
	if got := in.attempt(t, &cseq, "bob", "password-1"); got != "200" {
		t.Errorf("right password: %s", got)
	}
}

func TestBansThatRefuseNothing(t *testing.T) {
	for mode, listed := range map[string]int{config.BansDryRun: 1, config.BansOff: 0} {
		in := startWithBans(t, mode)
		cseq := 0
		for range 12 {
			if got := in.attempt(t, &cseq, "bob", "guess"); got != "401 auth.bad_credentials" {
				t.Fatalf("%s: %s", mode, got)
			}
		}
		if got := in.attempt(t, &cseq, "bob", "password-1"); got != "200" {
			t.Errorf("%s: %s", mode, got)
		}
		_, body := in.admin(t, "GET", "/v1/admin/bans/")
		if list := body["objects"].([]any); len(list) != listed || body["mode"] != mode {
			t.Errorf("%s: %v", mode, body)
		}
	}
}
