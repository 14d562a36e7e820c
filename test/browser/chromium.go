package browser

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"onhook/test/devserver"
	"onhook/test/peers"
)

//go:embed phone.html
var phoneHTML []byte

const (
	startLimit   = 90 * time.Second
	commandLimit = 60 * time.Second
)

var flags = []string{
	"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
	"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--disable-default-apps", "--disable-extensions",
	"--disable-background-timer-throttling", "--disable-renderer-backgrounding", "--disable-backgrounding-occluded-windows",
	"--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--autoplay-policy=no-user-gesture-required",
	// The test's certificate is of a CA nobody trusts; the pages come from loopback.
	"--ignore-certificate-errors",
	// Candidates with plain addresses, the loopback's included: there is no mDNS
	// here, and perhaps no other interface.
	"--disable-features=WebRtcHideLocalIpsWithMdns", "--allow-loopback-in-peer-connection",
	"--remote-debugging-port=0",
}

// Browser is a running Chromium and the server of its pages.
type Browser struct {
	process *devserver.Process
	pages   *httptest.Server
	socket  *websocket.Conn

	mu      sync.Mutex
	next    int
	waiting map[int]chan reply
}

type reply struct {
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// Start runs Chromium; it ends with the test.
func Start(t testing.TB) *Browser {
	t.Helper()
	program := peers.Chromium(t)
	script, err := bundle(peers.Package(t, "browser", "jssip"), "jssip", "JsSIP")
	if err != nil {
		t.Fatal(err)
	}
	b := &Browser{waiting: map[int]chan reply{}}
	mux := http.NewServeMux()
	mux.HandleFunc("/jssip.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		_, _ = w.Write([]byte(script))
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(phoneHTML) })
	b.pages = httptest.NewServer(mux)
	t.Cleanup(b.pages.Close)

	dir, err := os.MkdirTemp("", "onhook-chromium-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cmd := exec.Command(program, append(flags, "--user-data-dir="+dir, "about:blank")...)
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_CACHE_HOME="+dir)
	if b.process, err = devserver.Command(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.process.Kill)
	if err := b.connect(dir); err != nil {
		t.Fatalf("Chromium: %v\n%s", err, b.process.Log())
	}
	return b
}

// connect reads where the DevTools listen and opens a socket to them.
func (b *Browser) connect(dir string) error {
	var address string
	err := devserver.Until(startLimit, func() error {
		select {
		case <-b.process.Done():
			return devserver.Final(fmt.Errorf("it ended: %v", b.process.Err()))
		default:
		}
		raw, err := os.ReadFile(filepath.Join(dir, "DevToolsActivePort"))
		if err != nil {
			return err
		}
		port, path, ok := strings.Cut(strings.TrimSpace(string(raw)), "\n")
		if !ok {
			return errors.New("DevToolsActivePort is not whole")
		}
		address = "ws://127.0.0.1:" + port + path
		return nil
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	if b.socket, _, err = websocket.Dial(ctx, address, nil); err != nil {
		return err
	}
	b.socket.SetReadLimit(16 << 20)
	go b.read()
	return nil
}

func (b *Browser) read() {
	for {
		_, raw, err := b.socket.Read(context.Background())
		if err != nil {
			return
		}
		var m struct {
			ID int `json:"id"`
			reply
		}
		if json.Unmarshal(raw, &m) != nil || m.ID == 0 {
			continue
		}
		b.mu.Lock()
		waiter := b.waiting[m.ID]
		delete(b.waiting, m.ID)
		b.mu.Unlock()
		if waiter != nil {
			waiter <- m.reply
		}
	}
}

// command sends one DevTools command and decodes its result.
func (b *Browser) command(session, method string, params, result any) error {
	waiter := make(chan reply, 1)
	b.mu.Lock()
	b.next++
	id := b.next
	b.waiting[id] = waiter
	b.mu.Unlock()
	message := map[string]any{"id": id, "method": method, "params": params}
	if session != "" {
		message["sessionId"] = session
	}
	raw, err := json.Marshal(message)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	if err := b.socket.Write(ctx, websocket.MessageText, raw); err != nil {
		return err
	}
	select {
	case r := <-waiter:
		if r.Error != nil {
			return fmt.Errorf("%s: %s", method, r.Error.Message)
		}
		if result == nil {
			return nil
		}
		return json.Unmarshal(r.Result, result)
	case <-b.process.Done():
		return fmt.Errorf("%s: Chromium ended: %v", method, b.process.Err())
	case <-ctx.Done():
		return fmt.Errorf("%s: no result within %v", method, commandLimit)
	}
}

// Page is a tab with a phone in it.
type Page struct {
	browser *Browser
	session string
}

// Open opens a page and waits until its script has run.
func (b *Browser) Open(t testing.TB) *Page {
	t.Helper()
	var window struct{ BrowserContextID string }
	var target struct{ TargetID string }
	var attached struct{ SessionID string }
	// A context of its own, so that no page is another's background tab.
	err := b.command("", "Target.createBrowserContext", map[string]any{}, &window)
	if err == nil {
		err = b.command("", "Target.createTarget", map[string]any{"url": b.pages.URL, "browserContextId": window.BrowserContextID}, &target)
	}
	if err == nil {
		err = b.command("", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	}
	if err != nil {
		t.Fatalf("opening a page: %v\n%s", err, b.process.Log())
	}
	p := &Page{browser: b, session: attached.SessionID}
	if err := devserver.Until(startLimit, func() error {
		var ready string
		if err := p.evaluate("document.readyState + ' ' + typeof JsSIP", &ready); err != nil {
			return err
		}
		if ready != "complete object" {
			return fmt.Errorf("the page is %q", ready)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return p
}

// evaluate runs an expression, waits for its promise and decodes its value.
func (p *Page) evaluate(expression string, result any) error {
	var out struct {
		Result struct {
			Value json.RawMessage `json:"value"`
		} `json:"result"`
		ExceptionDetails *struct {
			Text      string `json:"text"`
			Exception struct {
				Description string `json:"description"`
			} `json:"exception"`
		} `json:"exceptionDetails"`
	}
	err := p.browser.command(p.session, "Runtime.evaluate", map[string]any{
		"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true,
	}, &out)
	if err != nil {
		return err
	}
	if e := out.ExceptionDetails; e != nil {
		return fmt.Errorf("%s: %s", e.Text, e.Exception.Description)
	}
	if result == nil || out.Result.Value == nil {
		return nil
	}
	return json.Unmarshal(out.Result.Value, result)
}

// Do runs a function of the page and returns what its promise gives; a failure
// shows what the page has logged.
func (p *Page) Do(t testing.TB, function string, arguments ...any) string {
	t.Helper()
	encoded := make([]string, len(arguments))
	for i, a := range arguments {
		raw, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		encoded[i] = string(raw)
	}
	var out string
	if err := p.evaluate(function+"("+strings.Join(encoded, ", ")+")", &out); err != nil {
		t.Fatalf("%s: %v\npage:\n%s", function, err, p.log())
	}
	return out
}

// Packets are counts of RTP packets.
type Packets struct{ Sent, Received int }

// packets counts the RTP packets of a kind, audio or video, of the page's call.
func (p *Page) packets(kind string) (n Packets, err error) {
	err = p.evaluate(fmt.Sprintf("packets(%q)", kind), &n)
	return n, err
}

// log is what the page has seen, a line or a message each.
func (p *Page) log() string {
	var lines []string
	_ = p.evaluate("log", &lines)
	return strings.Join(lines, "\n")
}
