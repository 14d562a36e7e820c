package server

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"onhook/internal/config"
	"onhook/internal/location"
)

// again starts another server on the same data and ports. Accounts and tokens
// are those of before.
func (in *instance) again(t *testing.T, cfg config.Config) *instance {
	t.Helper()
	for i := range cfg.SIP.Listeners {
		cfg.SIP.Listeners[i].Address = in.Addr(i).String()
	}
	if err := in.stop(); err != nil {
		t.Fatal(err)
	}
	next := start(t, cfg)
	next.owner, next.token = in.owner, in.token
	return next
}

// call places a call from a stranger to bob, who rings.
func (s socket) call() {
	s.send(fmt.Sprintf("INVITE sip:bob@example.com SIP/2.0\nVia: SIP/2.0/UDP %[1]s;rport;branch=z9hG4bKinvite\nMax-Forwards: 70\n"+
		"From: <sip:caller@elsewhere.example>;tag=caller\nTo: <sip:bob@example.com>\nCall-ID: call\nCSeq: 1 INVITE\nContact: <sip:caller@%[1]s>\nContent-Length: 0\n\n",
		s.LocalAddr()))
}

// eventually gets a path until the answer is right.
func (in *instance) eventually(t *testing.T, path string, right func(map[string]any) bool) map[string]any {
	t.Helper()
	var body map[string]any
	eventually(t, path+" as it should be", func() bool { body = in.get(t, path); return right(body) })
	return body
}

func oneLive(body map[string]any) bool { calls, _ := body["calls"].([]any); return len(calls) == 1 }

// A call from before a restart is live after it; the API ends it, both phones
// hear a BYE, and its record tells the whole of it.
func TestCallIsEndedThroughTheAPI(t *testing.T) {
	cfg := testConfig(t)
	in := start(t, cfg)
	endpoint := in.createBob(t)
	in.login(t, 1, "password-1")
	bob, caller := socket{t, in.client}, dial(t, in)
	caller.call()
	bob.send(ok(bob.receive("INVITE "), bob.LocalAddr()))
	caller.receive("SIP/2.0 200")
	account := "/v1/Account/" + in.owner.AuthID
	in.eventually(t, account+"/Call/?status=live", oneLive)
	in = in.again(t, cfg)

	live := in.get(t, account+"/Call/?status=live")
	if !oneLive(live) {
		t.Fatalf("live: %v", live)
	}
	id := live["calls"].([]any)[0].(string)
	req, err := http.NewRequest("DELETE", "http://"+in.APIAddr().String()+account+"/Call/"+id+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(in.owner.AuthID, in.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != 204 {
		t.Fatal(resp, err)
	}
	defer resp.Body.Close()
	toBob, toCaller := bob.receive("BYE "), caller.receive("BYE ")
	if !strings.Contains(toBob, "tag=callee") || !strings.Contains(toCaller, "Reason: Q.850") {
		t.Errorf("to bob\n%s\nto the caller\n%s", toBob, toCaller)
	}
	bob.send(ok(toBob, bob.LocalAddr()))
	caller.send(ok(toCaller, caller.LocalAddr()))

	record := in.eventually(t, account+"/cdr/"+id, func(body map[string]any) bool { return body["uuid"] == id })
	for field, want := range map[string]any{"direction": "inbound", "endpoint_id": endpoint.ID.String(), "call_status": "completed", "hangup_source": "API Request",
		"hangup_cause_code": 4020.0, "from": "sip:caller@elsewhere.example", "to": "sip:bob@example.com", "transport": "udp", "sip_code": 200.0} {
		if record[field] != want {
			t.Errorf("%s is %v, wants %v", field, record[field], want)
		}
	}
}

// The phones of a call that rang when the server stopped are told so by the next
// one; nobody waits for ever.
func TestCallRangAtRestart(t *testing.T) {
	cfg := testConfig(t)
	cfg.ShutdownTimeout = 0 // as if it were killed: what is under way is left
	in := start(t, cfg)
	in.createBob(t)
	in.login(t, 1, "password-1")
	bob, caller := socket{t, in.client}, dial(t, in)
	caller.call()
	bob.send(strings.Replace(ok(bob.receive("INVITE "), bob.LocalAddr()), "200 OK", "180 Ringing", 1))
	caller.receive("SIP/2.0 180")
	journalled := func() bool { n, err := countRecords(in); return err == nil && n == 2 } // the epochs and the call
	eventually(t, "the call is in the journal", journalled)
	in = in.again(t, cfg)
	if answer := caller.receive("SIP/2.0 480"); !strings.Contains(answer, "CSeq: 1 INVITE") {
		t.Errorf("%s", answer)
	}
	bob.send(ok(bob.receive("CANCEL "), bob.LocalAddr()))
	in.eventually(t, "/v1/Account/"+in.owner.AuthID+"/cdr", func(body map[string]any) bool { return body["count"] == 1.0 })
}

func countRecords(in *instance) (n int, err error) {
	err = in.callLog.Load(func(location.Key, []byte) error { n++; return nil })
	return n, err
}
