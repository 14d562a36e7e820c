package flows

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"onhook/test/devserver"
	"onhook/test/peers"
)

// traced is a call of which the trace of its caller shows every message.
const traced = `
phone alice udp
phone bob tls
alice > INVITE bob auth
bob < INVITE
bob > 180
alice < 180
bob > 200
alice < 200 INVITE
alice > ACK
bob < ACK
alice > BYE
bob < BYE
bob > 200 BYE
alice < 200 BYE
`

// firstMade is the API that remembers the first endpoint that was made.
type firstMade struct {
	ServerAPI
	id string
}

func (a *firstMade) CreateEndpoint(prefix string, fields map[string]any) (devserver.Endpoint, error) {
	e, err := a.ServerAPI.CreateEndpoint(prefix, fields)
	if a.id == "" {
		a.id = e.ID
	}
	return e, err
}

// tshark reads the exported capture: the messages in their order, with their
// addresses, and none that it finds malformed.
func TestTraceIsReadByTshark(t *testing.T) {
	program := peers.Tshark(t)
	s := devserver.Shared(t)
	api := &firstMade{ServerAPI: ServerAPI{s}}
	if err := Play(traced, Setting{Target: s.Target(), API: api}); err != nil {
		t.Fatal(err)
	}
	var shown struct {
		Attempts []struct {
			Messages []struct{ From, To, Text string }
		}
	}
	if _, err := s.API("GET", "Endpoint/"+api.id+"/Trace/", nil, &shown); err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := len(shown.Attempts) - 1; i >= 0; i-- { // oldest first
		for _, m := range shown.Attempts[i].Messages {
			start, _, _ := strings.Cut(m.Text, "\r\n")
			want = append(want, start+" "+m.From+" "+m.To)
		}
	}
	if len(want) < 15 { // REGISTER, and a challenged call over two flows
		t.Fatalf("the trace is\n%s", strings.Join(want, "\n"))
	}
	_, capture, err := s.APIBytes("GET", "Endpoint/"+api.id+"/Trace/?format=pcap", nil)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "trace.pcap")
	if err := os.WriteFile(file, capture, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program, "-r", file, "-T", "fields", "-E", "separator=|", "-e", "sip.Request-Line", "-e", "sip.Status-Line",
		"-e", "exported_pdu.ipv4_src", "-e", "exported_pdu.src_port", "-e", "exported_pdu.ipv4_dst", "-e", "exported_pdu.dst_port", "-e", "_ws.malformed").Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	for i, line := range lines {
		f := strings.Split(line, "|")
		if len(f) != 7 || f[6] != "" {
			t.Fatalf("tshark reads %q", line)
		}
		if got := fmt.Sprintf("%s%s %s:%s %s:%s", f[0], f[1], f[2], f[3], f[4], f[5]); i >= len(want) || got != want[i] {
			t.Errorf("tshark reads %q", got)
		}
	}
	if len(lines) != len(want) {
		t.Errorf("tshark reads %d messages of %d", len(lines), len(want))
	}
}
