// Package trace asks the running program why attempts failed: an independent
// phone fails to register and to call, and the Trace resource tells the reason,
// shows the messages and writes a capture that tshark reads.
package trace

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"onhook/test/devserver"
	"onhook/test/peers"
	"onhook/test/sippeer"
)

func TestMain(m *testing.M) { os.Exit(devserver.Main(m)) }

type attempt struct {
	Kind, Outcome, Reason, Sentence string
	Messages                        []struct{ From, To, Transport, Text string }
}

func attempts(t *testing.T, s *devserver.Server, id string) []attempt {
	t.Helper()
	var out struct{ Attempts []attempt }
	if _, err := s.API("GET", "Endpoint/"+id+"/Trace/", nil, &out); err != nil {
		t.Fatal(err)
	}
	return out.Attempts
}

func phone(t *testing.T, s *devserver.Server, transport string, e devserver.Endpoint, password string) *sippeer.Phone {
	t.Helper()
	p, err := sippeer.NewPhone(s.Target(), transport, e.Username, password)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func register(t *testing.T, p *sippeer.Phone, want int) {
	t.Helper()
	if resp, err := p.Register(300); err != nil || resp.Status() != want {
		t.Fatalf("REGISTER: %v, want %d, got\n%v", err, want, resp)
	}
}

// download reads a form of the Trace resource.
func download(t *testing.T, s *devserver.Server, id, format string) []byte {
	t.Helper()
	req, err := http.NewRequest("GET", s.APIURL+"/v1/Account/"+s.AuthID+"/Endpoint/"+id+"/Trace/?format="+format, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(s.AuthID, s.AuthToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v: %s", resp.Status, err, body)
	}
	return body
}

func TestWrongPassword(t *testing.T) {
	s := devserver.Shared(t)
	e := s.CreateEndpoint(t, "trace_wrong", nil)
	register(t, phone(t, s, "tcp", e, "not the password"), 401)
	all := attempts(t, s, e.ID)
	if len(all) != 1 || all[0].Kind != "register" || all[0].Outcome != "failed" || all[0].Reason != "bad_digest" || all[0].Sentence == "" || len(all[0].Messages) != 4 {
		t.Fatalf("%+v", all)
	}
	again := all[0].Messages[2]
	if !strings.Contains(again.Text, `response="***"`) || !strings.HasPrefix(again.Text, "REGISTER ") || again.Transport != "tcp" || again.To != s.SIP.TCP {
		t.Errorf("the second REGISTER is shown as %+v", again)
	}
	register(t, phone(t, s, "tcp", e, e.Password), 200)
	if all = attempts(t, s, e.ID); len(all) != 2 || all[0].Outcome != "succeeded" || all[0].Reason != "" {
		t.Errorf("%+v", all)
	}
	if text := string(download(t, s, e.ID, "text")); !strings.Contains(text, ": failed bad_digest: ") || strings.Index(text, "failed") > strings.Index(text, "succeeded") {
		t.Errorf("as text:\n%s", text)
	}
}

func TestUnregistered(t *testing.T) {
	s := devserver.Shared(t)
	from, to := s.CreateEndpoint(t, "trace_from", nil), s.CreateEndpoint(t, "trace_to", nil)
	caller := phone(t, s, "tcp", from, from.Password)
	register(t, caller, 200)
	invite := &sippeer.Message{Start: "INVITE " + to.URI + " SIP/2.0", Headers: []sippeer.Header{
		{Name: "Via", Value: caller.Via()}, {Name: "Max-Forwards", Value: "70"}, {Name: "From", Value: "<" + from.URI + ">;tag=t"},
		{Name: "To", Value: "<" + to.URI + ">"}, {Name: "Call-ID", Value: "trace-call"}, {Name: "CSeq", Value: "1 INVITE"}, {Name: "Contact", Value: caller.Contact},
	}}
	if resp, err := caller.Ask(invite); err != nil || resp.Status() != 480 {
		t.Fatalf("%v\n%v", err, resp)
	}
	for _, id := range []string{from.ID, to.ID} { // the call concerns both
		all := attempts(t, s, id)
		if all[0].Kind != "call" || all[0].Outcome != "failed" || all[0].Reason != "unregistered" || !strings.HasPrefix(all[0].Messages[0].Text, "INVITE ") {
			t.Errorf("%+v", all)
		}
	}
}

// The capture is one that tshark reads, whatever the ports are.
func TestCapture(t *testing.T) {
	tshark := peers.Tshark(t)
	s := devserver.Shared(t)
	e := s.CreateEndpoint(t, "trace_pcap", nil)
	for _, transport := range []string{"udp", "wss"} {
		register(t, phone(t, s, transport, e, e.Password), 200)
	}
	file := filepath.Join(t.TempDir(), "trace.pcap")
	if err := os.WriteFile(file, download(t, s, e.ID, "pcap"), 0o600); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd := exec.Command(tshark, "-r", file, "-T", "fields", "-e", "sip.Method", "-e", "sip.Status-Code", "-e", "sip.from.user")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v\n%s", err, &stderr)
	}
	const each = "REGISTER\t\tNAME\n\t401\tNAME\nREGISTER\t\tNAME\n\t200\tNAME\n"
	if want := strings.ReplaceAll(each+each, "NAME", e.Username); string(out) != want {
		t.Errorf("tshark reads\n%s\nwant\n%s", out, want)
	}
}
