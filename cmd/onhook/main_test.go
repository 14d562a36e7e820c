package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// output collects what the program prints and wakes up who waits for it.
type output struct {
	mu   sync.Mutex
	cond *sync.Cond
	buf  bytes.Buffer
	done bool
}

func newOutput() *output {
	o := &output{}
	o.cond = sync.NewCond(&o.mu)
	return o
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.cond.Broadcast()
	return o.buf.Write(p)
}

func (o *output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.done = true
	o.cond.Broadcast()
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// waitFor returns whether text was printed before the program ended.
func (o *output) waitFor(text string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !strings.Contains(o.buf.String(), text) && !o.done {
		o.cond.Wait()
	}
	return strings.Contains(o.buf.String(), text)
}

// program is a running Main.
type program struct {
	stdout, stderr *output
	both           *output
	signals        chan os.Signal
	exit           chan int
}

func start(args ...string) *program {
	p := &program{stdout: newOutput(), stderr: newOutput(), both: newOutput(), signals: make(chan os.Signal), exit: make(chan int, 1)}
	m := Main{Stdout: io.MultiWriter(p.stdout, p.both), Stderr: io.MultiWriter(p.stderr, p.both), Signals: p.signals}
	go func() {
		code := m.Run(args)
		for _, o := range []*output{p.stdout, p.stderr, p.both} {
			o.end()
		}
		p.exit <- code
	}()
	return p
}

// startUntil starts the program and waits until it has printed text.
func startUntil(t *testing.T, text string, args ...string) *program {
	t.Helper()
	p := start(args...)
	if !p.both.waitFor(text) {
		t.Fatalf("onhook %s ended with %d:\n%s", strings.Join(args, " "), <-p.exit, p.both)
	}
	return p
}

func (p *program) stop(t *testing.T, sig os.Signal) {
	t.Helper()
	p.signals <- sig
	if code := <-p.exit; code != exitOK {
		t.Errorf("exit code %d after %v:\n%s", code, sig, p.stderr)
	}
}

// run executes a command that ends by itself.
func run(args ...string) (code int, stdout, stderr string) {
	p := start(args...)
	code = <-p.exit
	return code, p.stdout.String(), p.stderr.String()
}

type devInfo struct {
	APIURL    string `json:"api_url"`
	AuthID    string `json:"auth_id"`
	AuthToken string `json:"auth_token"`
	SIP       struct{ UDP, TCP, TLS, WS, WSS string }
}

func readInfo(t *testing.T, dir string) (info devInfo) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "dev.json"))
	if err == nil {
		err = json.Unmarshal(text, &info)
	}
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// usernames asks the API for an account's endpoints; status 200 is expected.
func usernames(t *testing.T, info devInfo) (names []string) {
	t.Helper()
	status, body := get(t, info)
	var list struct{ Objects []struct{ Username string } }
	if err := json.Unmarshal(body, &list); err != nil || status != http.StatusOK {
		t.Fatalf("status %d, %v: %s", status, err, body)
	}
	for _, e := range list.Objects {
		names = append(names, e.Username)
	}
	return names
}

func get(t *testing.T, info devInfo) (status int, body []byte) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 60 * time.Second}
	req, err := http.NewRequest("GET", info.APIURL+"/v1/Account/"+info.AuthID+"/Endpoint/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(info.AuthID, info.AuthToken)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body
}

const ready = "onhook dev is ready"

func TestDev(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	p := startUntil(t, ready, "dev", "--dir", dir, "--ephemeral-ports")
	info := readInfo(t, dir)
	if got := fmt.Sprint(usernames(t, info)); got != "[bob alice]" {
		t.Errorf("endpoints %s", got)
	}
	p.stop(t, syscall.SIGTERM)
	if strings.Contains(p.stderr.String(), info.AuthToken) {
		t.Errorf("the log shows the token:\n%s", p.stderr)
	}
	p2 := startUntil(t, ready, "dev", "--dir", dir)
	if again := readInfo(t, dir); again != info {
		t.Errorf("after the restart: %+v, before: %+v", again, info)
	}
	if got := fmt.Sprint(usernames(t, info)); got != "[bob alice]" {
		t.Errorf("endpoints after the restart %s", got)
	}
	p2.stop(t, syscall.SIGINT)
}

func TestDevFolderInUse(t *testing.T) {
	dir := t.TempDir()
	p := startUntil(t, ready, "dev", "--dir", dir, "--ephemeral-ports")
	info := readInfo(t, dir)
	code, _, stderr := run("dev", "--dir", dir, "--ephemeral-ports")
	if code != exitFailed || !strings.Contains(stderr, dir+" is in use") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if readInfo(t, dir) != info {
		t.Error("the second start touched dev.json")
	}
	p.stop(t, syscall.SIGINT)
}

// A taken port is named. SO_REUSEPORT would hide it for UDP.
func TestDevPortTaken(t *testing.T) {
	dir := t.TempDir()
	startUntil(t, ready, "dev", "--dir", dir, "--ephemeral-ports").stop(t, syscall.SIGINT)
	info := readInfo(t, dir)
	api, err := url.Parse(info.APIURL)
	if err != nil {
		t.Fatal(err)
	}
	take := map[string]func(address string) (io.Closer, error){
		info.SIP.UDP: func(a string) (io.Closer, error) { return net.ListenPacket("udp", a) },
		info.SIP.TLS: func(a string) (io.Closer, error) { return net.Listen("tcp", a) },
		api.Host:     func(a string) (io.Closer, error) { return net.Listen("tcp", a) },
	}
	for address, listen := range take {
		other, err := listen(address)
		if err != nil {
			t.Fatal(err)
		}
		code, stdout, stderr := run("dev", "--dir", dir)
		if code != exitFailed || !strings.Contains(stderr, address) || !strings.Contains(stderr, "--ephemeral-ports") || stdout != "" {
			t.Errorf("%s: exit code %d: %s", address, code, stderr)
		}
		if _, err := os.Stat(filepath.Join(dir, "dev.json")); err == nil {
			t.Errorf("%s: a failed start leaves a dev.json", address)
		}
		if err := other.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// SIGTERM waits for a request that is under way; a second one changes nothing,
// and SIGINT waits no longer.
// A server that waits for its database ends when it is told to.
func TestStopBeforeTheStart(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		dir := t.TempDir()
		file := filepath.Join(dir, "config.yaml")
		text := "domains: [example.com]\ndata_dir: " + dir + "\ndatabase: postgres://onhook:hidden@localhost/none?host=" + dir +
			"\nsip:\n  listeners:\n    - {transport: udp, address: 127.0.0.1:0}\napi:\n  address: 127.0.0.1:0\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p := startUntil(t, "waiting for the database", "serve", "--config", file)
		p.stop(t, sig)
		if text := p.both.String(); strings.Contains(text, "hidden") || strings.Count(text, "\n") != 2 {
			t.Errorf("%v:\n%s", sig, text)
		}
	}
}

func TestSecondSignalStopsAtOnce(t *testing.T) {
	dir, err := os.MkdirTemp("", "onhook-forced-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) }) // the server may still write: here the process does not end with Main
	p := startUntil(t, ready, "dev", "--dir", dir, "--ephemeral-ports")
	info := readInfo(t, dir)
	conn, err := net.Dial("tcp", strings.TrimPrefix(info.APIURL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /v1/Account/%s/Endpoint/ HTTP/1.1\r\nHost: x\r\nX-Auth-ID: %s\r\nX-Auth-Token: %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n", info.AuthID, info.AuthID, info.AuthToken)
	// The server asks for the body when its handler reads: the request is
	// under way, and never ends.
	line := make([]byte, len("HTTP/1.1 100"))
	if _, err := io.ReadFull(conn, line); err != nil || string(line) != "HTTP/1.1 100" {
		t.Fatalf("%q, %v", line, err)
	}
	p.signals <- syscall.SIGTERM
	if !p.stderr.waitFor("SIGINT stops at once") {
		t.Fatalf("no word about stopping:\n%s", p.stderr)
	}
	p.signals <- syscall.SIGTERM
	p.signals <- syscall.SIGINT
	if code := <-p.exit; code != exitFailed || !strings.Contains(p.stderr.String(), "interrupted while stopping") {
		t.Errorf("exit code %d:\n%s", code, p.stderr)
	}
}

func writeConfig(t *testing.T, extra string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "onhook.yaml")
	text := "domains: [sip.example.org]\ndata_dir: data\napi: {address: '127.0.0.1:0'}\n" +
		"sip: {listeners: [{transport: udp, address: '127.0.0.1:0'}]}\n" + extra
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

var tokenLine = regexp.MustCompile(`(?m)^auth_token  ([A-Za-z0-9]{40})$`)

func TestServePrintsTheFirstTokenOnce(t *testing.T) {
	file := writeConfig(t, "log: {format: json}\n")
	p := startUntil(t, "shown once", "serve", "--config", file)
	token := tokenLine.FindStringSubmatch(p.stdout.String())
	if token == nil {
		t.Fatalf("no token in %s", p.stdout)
	}
	code, _, stderr := run("serve", "--config", file)
	if code != exitFailed || !strings.Contains(stderr, filepath.Dir(file)+"/data is in use") {
		t.Errorf("second server: exit code %d: %s", code, stderr)
	}
	p.stop(t, syscall.SIGTERM)
	if strings.Contains(p.stderr.String(), token[1]) {
		t.Errorf("the log shows the token:\n%s", p.stderr)
	}
	again := startUntil(t, `"ready"`, "serve", "--config", file)
	again.stop(t, syscall.SIGTERM)
	if again.stdout.String() != "" {
		t.Errorf("the second start prints %s", again.stdout)
	}
}

func TestAccountCommands(t *testing.T) {
	file := writeConfig(t, "")
	code, created, stderr := run("account", "create", "--config", file, "--name", "ACME")
	if code != exitOK || !tokenLine.MatchString(created) {
		t.Fatalf("create: exit code %d: %s%s", code, created, stderr)
	}
	id := regexp.MustCompile(`MA_[A-Z0-9]{8}`).FindString(created)
	// A server that finds an account creates none.
	p := startUntil(t, "msg=ready", "serve", "--config", file)
	if code, list, stderr := run("account", "list", "--config", file); code != exitOK || !strings.Contains(list, id) || !strings.Contains(list, "ACME") || strings.Count(list, "MA_") != 1 {
		t.Errorf("list: exit code %d: %s%s", code, list, stderr)
	}
	code, rotated, stderr := run("account", "rotate-token", "--config", file, id)
	if code != exitOK || !tokenLine.MatchString(rotated) || rotated == created {
		t.Errorf("rotate-token: exit code %d: %s%s", code, rotated, stderr)
	}
	p.stop(t, syscall.SIGTERM)
	if p.stdout.String() != "" {
		t.Errorf("serve prints %s", p.stdout)
	}
	code, _, stderr = run("account", "rotate-token", "--config", file, "MA_00000000")
	if code != exitFailed || !strings.Contains(stderr, "there is no account MA_00000000") {
		t.Errorf("unknown account: exit code %d: %s", code, stderr)
	}
}

func TestConfigCommands(t *testing.T) {
	code, example, _ := run("config", "example")
	if code != exitOK || !strings.Contains(example, "domains: [sip.example.org]") {
		t.Errorf("example: exit code %d: %s", code, example)
	}
	good := writeConfig(t, "")
	if code, stdout, stderr := run("config", "check", good); code != exitOK || !strings.Contains(stdout, "is right") {
		t.Errorf("good: exit code %d: %s%s", code, stdout, stderr)
	}
	bad := writeConfig(t, "colour: red\nlog: {level: loud}\n")
	for _, args := range [][]string{{"config", "check", bad}, {"serve", "--config", bad}, {"account", "list", "--config", bad}} {
		code, _, stderr := run(args...)
		if code != exitUsage || !strings.Contains(stderr, bad+":5:1: colour: unknown key") || !strings.Contains(stderr, bad+":6:14: log.level:") {
			t.Errorf("%v: exit code %d: %s", args, code, stderr)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"dance"}, {"serve"}, {"dev", "--colour"}, {"config", "check"}} {
		if code, _, stderr := run(args...); code != exitUsage || !strings.Contains(stderr, "onhook: ") {
			t.Errorf("%v: exit code %d: %s", args, code, stderr)
		}
	}
	for _, args := range [][]string{nil, {"--help"}, {"serve", "--help"}, {"help"}, {"help", "endpoint", "list"}} {
		if code, stdout, _ := run(args...); code != exitOK || !strings.Contains(stdout, "Usage: onhook") {
			t.Errorf("%v: exit code %d: %s", args, code, stdout)
		}
	}
	for _, arg := range []string{"version", "--version"} {
		if code, stdout, _ := run(arg); code != exitOK || !strings.HasPrefix(stdout, "onhook ") {
			t.Errorf("%s: exit code %d: %s", arg, code, stdout)
		}
	}
	if code, _, stderr := run("serve", "--config", "/nowhere/onhook.yaml"); code != exitFailed || !strings.Contains(stderr, "/nowhere/onhook.yaml") {
		t.Errorf("missing file: exit code %d: %s", code, stderr)
	}
}
