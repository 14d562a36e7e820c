// Package baresip drives real baresip phones without a sound card: it writes
// their configuration, starts them and speaks to their control port.
package baresip

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"onhook/test/devserver"
	"onhook/test/peers"
)

const config = `poll_method epoll
sip_listen 127.0.0.1:0
sip_cafile %[1]s
net_interface 127.0.0.1
audio_source ausine,440
audio_player aubridge,none
audio_alert aubridge,none
ausrc_srate 48000
ausrc_channels 2
rtp_stats yes
module_path %[2]s
module g711.so
module ausine.so
module aubridge.so
module srtp.so
module ctrl_tcp.so
module_tmp account.so
module_app menu.so
ctrl_tcp_listen 127.0.0.1:%[3]d
`

// video is the configuration's addition for a phone with a camera and a screen
// that do not exist.
const video = `video_source fakevideo,nil
video_display fakevideo,nil
video_size 320x240
video_fps 10
module vp8.so
module fakevideo.so
`

// notListening is what a phone prints, and goes on, when it has no control port.
const notListening = "ctrl_tcp: failed to listen"

// Phone is a running baresip with one account.
type Phone struct {
	URI string // of its account, as others dial it

	process *devserver.Process
	control net.Conn
	name    string
	video   bool

	mu      sync.Mutex
	events  []Event
	answers []string
	changed chan struct{}
}

// Event is what baresip reports about registrations and calls.
type Event struct {
	Type    string `json:"type"`
	PeerURI string `json:"peeruri"`
	Param   string `json:"param"`
}

// Start runs a phone for an endpoint over a transport; parameters are added to
// its account line. It ends with the test.
func Start(t testing.TB, s *devserver.Server, e devserver.Endpoint, transport, parameters string) *Phone {
	t.Helper()
	return run(t, s, e, transport, parameters, false)
}

// StartWithVideo is Start of a phone that offers and takes video.
func StartWithVideo(t testing.TB, s *devserver.Server, e devserver.Endpoint, transport, parameters string) *Phone {
	t.Helper()
	return run(t, s, e, transport, parameters, true)
}

func run(t testing.TB, s *devserver.Server, e devserver.Endpoint, transport, parameters string, withVideo bool) *Phone {
	t.Helper()
	program, modules := peers.Baresip(t), peers.BaresipModules(t)
	address := map[string]string{"udp": s.SIP.UDP, "tcp": s.SIP.TCP, "tls": s.SIP.TLS}[transport]
	p := &Phone{
		URI:     fmt.Sprintf("sip:%s@%s;transport=%s", e.Username, address, transport),
		name:    e.Username,
		changed: make(chan struct{}),
		video:   withVideo,
	}
	if err := p.start(t.TempDir(), program, modules, devserver.FreePort(t), s.CAFile, e.Password, parameters); err != nil {
		t.Fatalf("starting baresip: %v", err)
	}
	t.Cleanup(func() {
		p.process.Kill()
		if t.Failed() {
			t.Logf("baresip %s:\n%s", p.name, p.Log())
		}
	})
	return p
}

func (p *Phone) start(dir, program, modules string, port int, caFile, password, parameters string) (err error) {
	settings := fmt.Sprintf(config, caFile, modules, port)
	if p.video {
		settings = strings.Replace(settings, "module g711.so\n", "module g711.so\n"+video, 1)
	}
	files := map[string]string{
		"config":   settings,
		"accounts": fmt.Sprintf("<%s>;auth_pass=%s;regint=60%s\n", p.URI, password, parameters),
		"contacts": "",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	cmd := exec.Command(program, "-f", dir)
	cmd.Dir = dir
	if p.process, err = devserver.Command(cmd); err != nil {
		return err
	}
	err = devserver.Until(30*time.Second, func() error {
		select {
		case <-p.process.Done():
			return devserver.Final(fmt.Errorf("it ended: %v\n%s", p.process.Err(), p.Log()))
		default:
		}
		p.control, err = net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		return err
	})
	if err == nil && strings.Contains(p.Log(), notListening) {
		err = fmt.Errorf("the control port is somebody else's:\n%s", p.Log())
	}
	if err != nil {
		p.process.Kill()
		return err
	}
	go p.read(bufio.NewReader(p.control))
	return nil
}

// read takes netstrings ("12:{…},") off the control connection until it ends.
func (p *Phone) read(r *bufio.Reader) {
	for {
		digits, err := r.ReadString(':')
		if err != nil {
			return
		}
		length, err := strconv.Atoi(strings.TrimSuffix(digits, ":"))
		if err != nil {
			return
		}
		raw := make([]byte, length+1)
		if _, err := io.ReadFull(r, raw); err != nil {
			return
		}
		p.received(raw[:length])
	}
}

func (p *Phone) received(raw []byte) {
	var m struct {
		Event
		Response bool   `json:"response"`
		Data     string `json:"data"`
	}
	if json.Unmarshal(raw, &m) != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if m.Response {
		p.answers = append(p.answers, m.Data)
	} else {
		p.events = append(p.events, m.Event)
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// Log returns the end of what the phone printed, without its running meter.
func (p *Phone) Log() string { return meter.ReplaceAllString(p.process.Log(), "") }

var meter = regexp.MustCompile(`\x1b\[[0-9;]*m|\[\d+:\d+:\d+\] audio=\S+ \(bit/s\)[\x1b\[K\r ]*`)

// wait blocks until f holds, looking again at each message of the phone.
func (p *Phone) wait(limit time.Duration, f func() bool) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		p.mu.Lock()
		ok, changed := f(), p.changed
		p.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-p.process.Done():
			return false
		case <-timer.C:
			return false
		}
	}
}

// WaitEvent waits for an event of a type, one reported earlier included.
func (p *Phone) WaitEvent(t testing.TB, eventType string, limit time.Duration) Event {
	t.Helper()
	var found Event
	ok := p.wait(limit, func() bool {
		for _, e := range p.events {
			if e.Type == eventType {
				found = e
				return true
			}
		}
		return false
	})
	if !ok {
		p.mu.Lock()
		events := p.events
		p.mu.Unlock()
		t.Fatalf("%s: no %s within %v; events: %+v\n%s", p.name, eventType, limit, events, p.Log())
	}
	return found
}

// WaitLog waits until the phone has printed what a regular expression matches:
// its first registration may be over before its control port is open.
func (p *Phone) WaitLog(t testing.TB, expression string, limit time.Duration) {
	t.Helper()
	re := regexp.MustCompile(expression)
	err := devserver.Until(limit, func() error {
		if !re.MatchString(p.Log()) {
			return fmt.Errorf("%s has not printed %q:\n%s", p.name, expression, p.Log())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Command runs a command of baresip's menu and returns what it prints.
func (p *Phone) Command(t testing.TB, command, params string) string {
	t.Helper()
	raw, err := json.Marshal(map[string]string{"command": command, "params": params})
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	before := len(p.answers)
	p.mu.Unlock()
	if _, err := fmt.Fprintf(p.control, "%d:%s,", len(raw), raw); err != nil {
		t.Fatalf("%s: %s: %v\n%s", p.name, command, err, p.Log())
	}
	var answer string
	if !p.wait(30*time.Second, func() bool {
		if len(p.answers) > before {
			answer = p.answers[before]
			return true
		}
		return false
	}) {
		t.Fatalf("%s does not answer %s\n%s", p.name, command, p.Log())
	}
	return answer
}

var (
	sentCount     = regexp.MustCompile(`TX: packets=(\d+)`)
	receivedCount = regexp.MustCompile(`rcvd=(\d+)`)
	totals        = regexp.MustCompile(`(?m)^packets:\s+(\d+)\s+(\d+)\s*$`)
)

// Packets returns how many RTP packets the running call has sent and received.
func (p *Phone) Packets(t testing.TB) (sent, received int) {
	t.Helper()
	text := p.Command(t, "audio_debug", "")
	return number(sentCount, text, 1), number(receivedCount, text, 1)
}

// VideoPackets is Packets of the call's video stream.
func (p *Phone) VideoPackets(t testing.TB) (sent, received int) {
	t.Helper()
	text := p.Command(t, "video_debug", "")
	return number(sentCount, text, 1), number(receivedCount, text, 1)
}

// Totals returns the packets sent and received of the call that ended, from the
// summary the phone prints.
func (p *Phone) Totals(t testing.TB) (sent, received int) {
	t.Helper()
	err := devserver.Until(30*time.Second, func() error {
		if !totals.MatchString(p.Log()) {
			return fmt.Errorf("%s printed no summary of the call:\n%s", p.name, p.Log())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return number(totals, p.Log(), 1), number(totals, p.Log(), 2)
}

func number(re *regexp.Regexp, text string, group int) int {
	found := re.FindStringSubmatch(text)
	if found == nil {
		return 0
	}
	n, _ := strconv.Atoi(found[group])
	return n
}
