package kamailio

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"onhook/test/devserver"
	"onhook/test/flows"
)

func TestMain(m *testing.M) { os.Exit(devserver.Main(m)) }

// trunks are those of the tests: the carrier, where we are a customer, and a
// first way to Austria that is overloaded.
const trunks = `
dns:
  servers: [%q]
  next_server_after: 1s
default_region: DE
trunks:
  - name: carrier
    uri: sip:carrier.test
    username: customer
    password: carrier-secret
    register: true
    prefixes: ["+49", "+43"]
    caller_id: "+4930199"
    caller_id_in: from
    priority: 2
  - name: full
    uri: sip:broken.test
    prefixes: ["+43"]
    priority: 1
numbers:
  - {number: "+4930100", endpoint: desk}
`

// Every *.flow file is a case, played against onhook with Kamailio as the other
// domain and as the carrier.
func TestFlows(t *testing.T) {
	far := Start(t)
	s := devserver.Serve(t, "onhook.test", fmt.Sprintf(trunks, far.DNS(t)))
	waitRegistered(t, s)
	files, err := filepath.Glob("*.flow")
	if err != nil || len(files) == 0 {
		t.Fatalf("no flows: %v", err)
	}
	t.Run("flows", func(t *testing.T) {
		for _, file := range files {
			t.Run(strings.TrimSuffix(file, ".flow"), func(t *testing.T) {
				t.Parallel()
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if err := flows.Play(string(text), flows.Setting{Target: s.Target(), API: flows.ServerAPI{Server: s}, Far: far.Target}); err != nil {
					t.Errorf("%s: %v", file, err)
				}
			})
		}
	})
	if out := trunkList(t, s); !strings.Contains(out, "carrier  registered") || !strings.Contains(out, "full     off") {
		t.Errorf("onhook trunk list prints\n%s", out)
	}
	if left := metric(t, s, `onhook_trunk_calls{trunk="carrier"}`); left != "0" {
		t.Errorf("%s calls are counted on the trunk after the last has ended", left)
	}
}

// trunkList runs the command of that name.
func trunkList(t *testing.T, s *devserver.Server) string {
	t.Helper()
	binary, err := devserver.Binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "trunk", "list")
	cmd.Env = append(os.Environ(), "ONHOOK_URL="+s.APIURL, "ONHOOK_ADMIN_TOKEN="+devserver.AdminToken)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("onhook trunk list: %v\n%s", err, out)
	}
	return string(out)
}

// waitRegistered waits until we are registered with the carrier.
func waitRegistered(t *testing.T, s *devserver.Server) {
	t.Helper()
	err := devserver.Until(30*time.Second, func() error {
		if up := metric(t, s, `onhook_trunk_registered{trunk="carrier"}`); up != "1" {
			return fmt.Errorf("trunk_registered is %q", up)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// metric returns one figure of /metrics.
func metric(t *testing.T, s *devserver.Server, name string) string {
	t.Helper()
	resp, err := http.Get(s.APIURL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
