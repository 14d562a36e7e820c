package server

import (
	"encoding/hex"
	"io"
	"strings"
	"testing"
	"time"

	"onhook/internal/config"
)

// received waits for a datagram that begins with what is wanted.
func (in *instance) received(t *testing.T, want string, within time.Duration) string {
	t.Helper()
	if err := in.client.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 65536)
	for {
		n, err := in.client.Read(buf)
		if err != nil {
			t.Fatalf("no %q: %v", want, err)
		}
		if strings.HasPrefix(string(buf[:n]), want) {
			return string(buf[:n])
		}
	}
}

// A device over UDP is probed; the Registration resource shows whether it
// answers and when it was last heard of, keepalives included.
func TestProbes(t *testing.T) {
	cfg := testConfig(t)
	cfg.Registrar.Probe, cfg.Registrar.ProbeInterval = config.ProbeAll, time.Second
	in := start(t, cfg)
	bob := in.createBob(t)
	if got := in.login(t, 1, "password-1"); !strings.HasPrefix(got, "SIP/2.0 200") {
		t.Fatal(got)
	}
	binding := func() map[string]any {
		t.Helper()
		list := in.get(t, "/v1/Account/"+in.owner.AuthID+"/Endpoint/"+bob.ID.String()+"/Registration/")["objects"].([]any)
		if len(list) != 1 {
			t.Fatalf("%v", list)
		}
		return list[0].(map[string]any)
	}
	await := func(state string) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); binding()["state"] != state; <-time.After(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("still %v, want %s", binding(), state)
			}
		}
	}
	probe := in.received(t, "OPTIONS sip:bob@", 30*time.Second)
	lines := strings.Split(probe, "\r\n")
	answer := "SIP/2.0 486 Busy Here\r\n"
	for _, l := range lines[1:] {
		for _, name := range []string{"Via:", "From:", "To:", "Call-ID:", "CSeq:"} {
			if strings.HasPrefix(l, name) {
				answer += l + "\r\n"
			}
		}
	}
	registered := binding()["last_seen"]
	if _, err := io.WriteString(in.client, answer+"Content-Length: 0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	await("suspect") // the further ones are not answered
	if binding()["last_seen"].(string) < registered.(string) {
		t.Errorf("last seen %v, before %v", binding()["last_seen"], registered)
	}
	if s := in.path.probes.Stats(); s.Answered != 1 || s.Missed < 1 { // the second miss is counted after it shows
		t.Errorf("%+v", s)
	}
	stun, err := hex.DecodeString("000100002112a442000102030405060708090a0b")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.client.Write(stun); err != nil {
		t.Fatal(err)
	}
	in.received(t, "\x01\x01", 30*time.Second)
	if b := binding(); b["state"] != "reachable" {
		t.Errorf("after a keepalive %v", b)
	}
	await("suspect")
	if _, err := io.WriteString(in.client, "\r\n\r\n"); err != nil { // gets no answer
		t.Fatal(err)
	}
	await("reachable")
}

// An ACK to what only looks like the address of a device does no harm.
func TestACKToNobody(t *testing.T) {
	in := start(t, testConfig(t))
	for _, uri := range []string{"sip:example.com;gr=1", "sip:nobody@example.com;gr=1", "sip:app.example.com;gr", "sip:x@example.com;gr"} {
		if _, err := io.WriteString(in.client, "ACK "+uri+" SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKack\r\nMax-Forwards: 70\r\n"+
			"From: <sip:a@h>;tag=a\r\nTo: <"+uri+">;tag=b\r\nCall-ID: ack\r\nCSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	in.exchange(t, "OPTIONS sip:example.com SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKo;rport\nMax-Forwards: 70\nFrom: <sip:a@h>;tag=a\n"+
		"To: <sip:example.com>\nCall-ID: o\nCSeq: 1 OPTIONS\nContent-Length: 0\n\n")
	if n := in.path.stats.panics.Load(); n != 0 {
		t.Errorf("%d panics", n)
	}
}
