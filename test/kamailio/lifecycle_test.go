package kamailio

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"onhook/test/devserver"
	"onhook/test/flows"
)

// callOut goes out by the trunk and is ended through the API: the carrier wants
// the password for the BYE too.
const callOut = `
far callee udp carrier.test user=+49301234
phone alice udp
alice > INVITE tel:+49301234 auth
callee < INVITE
    From: <sip:+4930199@carrier.test>;tag=${alice.tag}
callee > 200
alice < 200
alice > ACK
callee < ACK
alice ends
alice < BYE
callee < BYE
alice > 200 BYE
callee > 200 BYE
`

// callIn comes in by the number.
const callIn = `
far caller udp carrier.test user=+4940777
phone callee udp username=%s
caller > INVITE sip:+4930100@carrier.test
callee < INVITE
    X-Onhook-Call-Id
callee > 200
caller < 200
caller > ACK
callee < ACK
callee > BYE
caller < BYE
caller > 200 BYE
callee < 200 BYE
`

// callBeyond comes in while the one line is in use, and the carrier's caller hears
// that it is.
const callBeyond = `
far callee udp carrier.test user=+49305678
far caller udp carrier.test user=+4940777
phone alice udp
alice > INVITE tel:+49305678 auth
callee < INVITE
callee > 180
alice < 180
caller > INVITE sip:+4930100@carrier.test
caller < 486 INVITE
    X-Onhook-Reason: phones.trunk_busy
caller > ACK
callee > 603
callee < ACK
alice < 603 INVITE
alice > ACK
`

// refusedOut and refusedIn are answered at once: by us, and by the carrier, where
// nobody is registered any more.
const (
	refusedOut = `
phone alice udp
alice > INVITE tel:+49301234 auth
alice < %d INVITE
    X-Onhook-Reason: %s
alice > ACK
`
	refusedIn = `
far caller udp carrier.test user=+4940777
caller > INVITE sip:+4930100@carrier.test
caller < 404 INVITE
    !X-Onhook-Reason
caller > ACK
`
)

// A trunk is made, used both ways, changed and deleted while the server runs, by
// its command line. What the carrier knows follows.
func TestTrunkLifecycle(t *testing.T) {
	far := Start(t)
	s := devserver.Serve(t, "onhook.test", fmt.Sprintf("dns:\n  servers: [%q]\ndefault_region: DE\n", far.DNS(t)))
	onhook := func(stdin string, args ...string) string {
		t.Helper()
		binary, err := devserver.Binary()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(binary, args...)
		cmd.Env = append(os.Environ(), "ONHOOK_URL="+s.APIURL, "ONHOOK_ADMIN_TOKEN="+devserver.AdminToken)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("onhook %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	play := func(what, flow string) {
		t.Helper()
		if err := flows.Play(flow, flows.Setting{Target: s.Target(), API: flows.ServerAPI{Server: s}, Far: far.Target}); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	registration := func(want, because string) {
		t.Helper()
		err := devserver.Until(30*time.Second, func() error {
			var trunk struct {
				Registration struct{ State, Error string }
			}
			if err := json.Unmarshal([]byte(onhook("", "trunk", "get", "carrier", "--json")), &trunk); err != nil {
				return devserver.Final(err)
			}
			if r := trunk.Registration; r.State != want || !strings.Contains(r.Error, because) {
				return fmt.Errorf("the registration is %q: %s", r.State, r.Error)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}

	play("no trunk yet", fmt.Sprintf(refusedOut, 404, "phones.no_route"))
	onhook("carrier-secret\n", "trunk", "create", "carrier", "sip:carrier.test", "--username", "customer", "--password-stdin", "--register",
		"--prefix", "+49", "--caller-id", "+4930199", "--caller-id-in", "from")
	onhook("", "number", "create", "+4930100", "--endpoint", "front")
	registration("registered", "")
	play("a call out", callOut)
	play("a call in", fmt.Sprintf(callIn, "front"))

	onhook("", "trunk", "update", "carrier", "--max-calls", "1")
	play("a call in where one goes out", callBeyond)
	onhook("", "trunk", "update", "carrier", "--max-calls", "0")

	onhook("", "number", "update", "+4930100", "--endpoint", "back")
	play("a call in to another", fmt.Sprintf(callIn, "back"))

	onhook("no longer\n", "trunk", "update", "carrier", "--password-stdin")
	registration("failed", "does not accept the password")
	play("a call out with the wrong password", fmt.Sprintf(refusedOut, 502, "phones.trunk_refused"))
	play("a call in, and the registration with the old password is gone", refusedIn)

	onhook("carrier-secret\n", "trunk", "update", "carrier", "--password-stdin")
	registration("registered", "")
	play("a call out with the right one", callOut)
	onhook("", "number", "update", "+4930100", "--endpoint", "other")
	play("a call in with the right one", fmt.Sprintf(callIn, "other"))

	sealed(t, filepath.Join(s.Dir, "data"), "carrier-secret")

	onhook("", "trunk", "delete", "carrier")
	play("a call out by a trunk that is gone", fmt.Sprintf(refusedOut, 404, "phones.no_route"))
	err := devserver.Until(10*time.Second, func() error { // the goodbye is on its way
		return flows.Play(refusedIn, flows.Setting{Target: s.Target(), API: flows.ServerAPI{Server: s}, Far: far.Target})
	})
	if err != nil {
		t.Errorf("a call in by a trunk that is gone: %v", err)
	}
	if log := s.Log(); strings.Contains(log, "carrier-secret") || strings.Contains(log, "no longer") {
		t.Error("a password is in the log")
	}
}

// sealed looks through all that a server keeps for a password.
func sealed(t *testing.T, dir, password string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if files++; strings.Contains(string(text), password) {
			t.Errorf("the password is in %s", path)
		}
		return err
	})
	if err != nil || files < 3 {
		t.Errorf("%d files, %v", files, err)
	}
}
