// Package torture replays the messages of RFC 4475 (our own wording of them)
// against the running program: each gets its verdict's answer or silence, and
// the program serves on.
package torture

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"onhook/test/devserver"
	"onhook/test/peers"
	"onhook/test/sippeer"
)

func TestMain(m *testing.M) { os.Exit(devserver.Main(m)) }

func folder() string { return filepath.Join(peers.Root(), "internal", "sip", "testdata", "torture") }

// verdict is a line of verdicts.txt, which explains the words.
type verdict struct {
	name string
	what string // accept, refuse, server, drop
	code int    // 0: silence, or any for accept
}

func verdicts(t *testing.T) []verdict {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder(), "verdicts.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var out []verdict
	for _, line := range strings.Split(string(text), "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) < 3 {
			continue
		}
		v := verdict{name: words[0], what: words[2]}
		if len(words) > 3 && words[3] != "drop" {
			if v.code, err = strconv.Atoi(words[3]); err != nil {
				t.Fatalf("verdict %q: %v", line, err)
			}
		}
		if len(words) > 3 && words[3] == "drop" {
			v.what = "drop"
		}
		out = append(out, v)
	}
	if len(out) < 40 {
		t.Fatalf("only %d verdicts", len(out))
	}
	return out
}

// answerLimit bounds the wait for an answer.
const answerLimit = 30 * time.Second

var viaHost = regexp.MustCompile(`(?i)((?:^|\n)(?:Via|v)[ \t]*:\s*SIP\s*/\s*[0-9.]+\s*/\s*[A-Z]+\s+)[^\s;,]+(\s*:\s*\d+)?`)

// message reads a case and moves it to the server's domain; over UDP its
// topmost Via names us, because without rport that is where the answer goes
// (RFC 3261 18.2.2). The body stays as it is.
func message(t *testing.T, name string, c *sippeer.Conn, domain string) (raw []byte, response bool) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(folder(), name+".sip"))
	if err != nil {
		t.Fatal(err)
	}
	head, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	head = bytes.ReplaceAll(head, []byte("example.com"), []byte(domain))
	if c.Transport == "udp" {
		if at := viaHost.FindSubmatchIndex(head); at != nil {
			head = append(append(append([]byte(nil), head[:at[3]]...), c.Local()...), head[at[1]:]...)
		}
	}
	return append(append(head, "\r\n\r\n"...), body...), bytes.HasPrefix(raw, []byte("SIP/"))
}

func TestReplay(t *testing.T) {
	for _, transport := range []string{"udp", "ws", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := devserver.Shared(t)
			for _, v := range verdicts(t) {
				t.Run(v.name, func(t *testing.T) { replay(t, s, transport, v) })
			}
		})
	}
}

func replay(t *testing.T, s *devserver.Server, transport string, v verdict) {
	conn, err := sippeer.Dial(s.Target(), transport)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, response := message(t, v.name, conn, s.Domain)
	if err := conn.SendRaw(raw); err != nil {
		t.Fatal(err)
	}
	probe := conn
	if transport == "tcp" {
		// A stream may rightly be closed, or wait for the rest of a message.
		if probe, err = sippeer.Dial(s.Target(), transport); err != nil {
			t.Fatal(err)
		}
		defer probe.Close()
	}
	if err := probe.Ping(s.Domain); err != nil {
		t.Fatalf("afterwards the server does not serve: %v", err)
	}
	if transport == "tcp" {
		checkStream(t, v, conn.Mailbox())
		return
	}
	silent := response || v.what == "drop"
	if !silent {
		// The answer may take as long as a lookup does.
		if err := conn.Wait(answerLimit, isAnswer); err != nil {
			t.Fatalf("verdict %s %d, but there is no answer: %v", v.what, v.code, err)
		}
	}
	check(t, v, silent, conn.Mailbox())
}

func check(t *testing.T, v verdict, silent bool, got []*sippeer.Message) {
	t.Helper()
	if silent {
		if len(got) > 0 {
			t.Errorf("verdict %s, but there comes\n%s", v.what, got[0])
		}
		return
	}
	status := got[0].Status()
	switch {
	case v.what == "accept" && (status == 400 || status >= 500):
		t.Errorf("it is to be accepted, but there comes\n%s", got[0])
	case v.what != "accept" && status != v.code:
		t.Errorf("verdict %s %d, but there comes\n%s", v.what, v.code, got[0])
	}
}

// onStreams are cases that a stream sees otherwise: bytes past the Content-Length
// are the next message, and RFC 2543's lack of one is refused (RFC 3261 18.3).
var onStreams = map[string]bool{"dblreq": true, "inv2543": true}

// checkStream knows only what a stream must not do: answer what is to be
// accepted with a refusal of its form.
func checkStream(t *testing.T, v verdict, got []*sippeer.Message) {
	t.Helper()
	for _, m := range got {
		if v.what == "drop" || v.what == "accept" && m.Status() == 400 && !onStreams[v.name] {
			t.Errorf("verdict %s, but there comes\n%s", v.what, m)
		}
	}
}

func isAnswer(m *sippeer.Message) bool { return m.Status() >= 200 }

// TestCasesAreAll: a message without a verdict, and the reverse, fail.
func TestCasesAreAll(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(folder(), "*.sip"))
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, v := range verdicts(t) {
		named[v.name] = true
	}
	var missing []string
	for _, file := range files {
		if name := strings.TrimSuffix(filepath.Base(file), ".sip"); !named[name] {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 || len(files) != len(named) {
		t.Errorf("%d files, %d verdicts; without verdict: %v", len(files), len(named), missing)
	}
}
