package siptransaction

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"onhook/internal/sip"
)

var (
	udp = sip.Flow{Transport: sip.UDP, Remote: netip.MustParseAddrPort("192.0.2.1:5060")}
	tcp = sip.Flow{Transport: sip.TCP, Conn: 7, Remote: netip.MustParseAddrPort("192.0.2.1:40000")}
)

// bench runs a Layer in a bubble of fake time and writes down, with the time,
// what it sends and whom it calls.
type bench struct {
	t       *testing.T
	l       *Layer
	start   time.Time
	mu      sync.Mutex
	trace   []string
	sent    [][]byte
	sendErr error
	tx      *Server
	c       *Client
}

func run(t *testing.T, c Config, f func(b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, start: time.Now()}
		c.Sender, c.Handler = b, b
		b.l = New(c)
		done := make(chan error)
		go func() { done <- b.l.Run(t.Context()) }()
		synctest.Wait()
		f(b)
		b.l.Close()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func (b *bench) note(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := time.Since(b.start)
	b.trace = append(b.trace, fmt.Sprintf("%d ", at.Milliseconds())+fmt.Sprintf(format, args...))
}

func (b *bench) Send(flow sip.Flow, msg []byte) error {
	line, _, _ := strings.Cut(string(msg), "\r\n")
	line = strings.TrimPrefix(strings.TrimSuffix(line, " SIP/2.0"), "SIP/2.0 ")
	word, _, _ := strings.Cut(line, " ")
	b.note("> %s", word)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent = append(b.sent, slices.Clone(msg))
	return b.sendErr
}

// failSends makes Send fail; nil ends it.
func (b *bench) failSends(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sendErr = err
}

func (b *bench) Cancel(tx *Server, cancel *sip.Message) { b.note("cancel %v", tx.User()) }

func (b *bench) Response(c *Client, resp *sip.Message) {
	b.note("up %d", resp.Status)
}

func (b *bench) Failed(c *Client, err error) { b.note("failed: %v", err) }

// until lets the time pass, and all that is due.
func (b *bench) until(ms int) {
	<-time.After(time.Duration(ms)*time.Millisecond - time.Since(b.start))
	synctest.Wait()
}

func (b *bench) want(want ...string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Equal(b.trace, want) {
		b.t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(b.trace, "\n\t"), strings.Join(want, "\n\t"))
	}
	b.trace = nil
}

// idle checks that nothing is left of any transaction.
func (b *bench) idle() {
	b.t.Helper()
	st := b.l.Stats()
	if st.Servers+st.Clients+st.Finished+st.FinishedBytes+st.Timers+st.Connections != 0 || b.l.live.Load() != 0 {
		b.t.Errorf("something is left: %+v, live %d", st, b.l.live.Load())
	}
}

func (b *bench) last() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.sent[len(b.sent)-1])
}

func parse(t testing.TB, text string) *sip.Message {
	t.Helper()
	m := new(sip.Message)
	if err := m.Parse([]byte(text)); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return m
}

const cookie = "z9hG4bK"

// request writes a request; edit pairs replace parts of it.
func request(method, branch string, edit ...string) string {
	return strings.NewReplacer(append(edit, "\n", "\r\n")...).Replace(method + ` sip:bob@example.com SIP/2.0
Via: SIP/2.0/UDP 192.0.2.1:5060;branch=` + branch + `
Via: SIP/2.0/UDP 198.51.100.1;branch=z9hG4bKfirst
Route: <sip:p1.example.com;lr>, <sip:p2.example.com;lr>
Route: <sip:p3.example.com;lr>
Max-Forwards: 70
From: Alice <sip:alice@example.com>;tag=a1
To: <sip:bob@example.com>
Call-ID: call@example.com
CSeq: 7 ` + method + `
Content-Length: 0

`)
}

// response writes a response to request(method, branch).
func response(status int, method, branch string) string {
	tag := ";tag=b1"
	if status == 100 {
		tag = ""
	}
	return strings.ReplaceAll(fmt.Sprintf(`SIP/2.0 %d %s
Via: SIP/2.0/UDP 192.0.2.1:5060;branch=%s
From: Alice <sip:alice@example.com>;tag=a1
To: <sip:bob@example.com>%s
Call-ID: call@example.com
CSeq: 7 %s
Content-Length: 0

`, status, sip.ReasonPhrase(status), branch, tag, method), "\n", "\r\n")
}

// receive gives a message to the layer and notes whether it was taken.
func (b *bench) receive(text string, flow sip.Flow) bool {
	b.t.Helper()
	buf := []byte(text)
	m := new(sip.Message)
	if err := m.Parse(buf); err != nil {
		b.t.Fatalf("%v in\n%s", err, text)
	}
	taken := b.l.Receive(m, flow)
	overwrite(buf)
	return taken
}

// begin starts a server transaction as a handler does.
func (b *bench) begin(text string, flow sip.Flow) *Server {
	b.t.Helper()
	buf := []byte(text)
	m := new(sip.Message)
	if err := m.Parse(buf); err != nil {
		b.t.Fatalf("%v in\n%s", err, text)
	}
	if b.l.Receive(m, flow) {
		b.t.Fatalf("new %s was absorbed", m.Method)
	}
	tx, ok := b.l.Begin(m, flow)
	if !ok {
		b.t.Fatalf("new %s could not begin", m.Method)
	}
	overwrite(buf)
	return tx
}

// overwrite spoils a buffer as the transport does once its handler returned.
func overwrite(buf []byte) {
	for i := range buf {
		buf[i] = '#'
	}
}

func (b *bench) respond(status int) {
	buf := []byte(response(status, b.tx.Method(), cookie+"1"))
	b.tx.Respond(status, buf)
	overwrite(buf)
}

func (b *bench) send(method string, flow sip.Flow) {
	b.t.Helper()
	buf := []byte(request(method, cookie+"1"))
	c, err := b.l.Request(flow, buf, b)
	if err != nil {
		b.t.Fatal(err)
	}
	overwrite(buf)
	b.c = c
}

// steps are what happens at which millisecond.
type step struct {
	at int
	do string // "again", "ack", "cancel", "closed", "<status>" of the method under test
}

func (b *bench) play(method string, flow sip.Flow, server bool, steps []step) {
	b.t.Helper()
	over := false // nothing is left of the transaction
	for _, s := range steps {
		b.until(s.at)
		var status int
		switch s.do {
		case "again":
			b.noteTaken(b.receive(request(method, cookie+"1"), flow))
		case "ack":
			b.noteTaken(b.receive(request("ACK", cookie+"1"), flow))
		case "in cancel":
			b.noteTaken(b.receive(request("CANCEL", cookie+"1"), flow))
		case "cancel":
			b.c.Cancel([]byte("Reason: SIP;cause=200\r\n"))
		case "cancel ok":
			b.noteTaken(b.receive(response(200, "CANCEL", cookie+"1"), flow))
		case "over":
			b.l.Over(b.c.ID())
		case "closed":
			b.l.FlowClosed(flow, errors.New("connection closed"))
		case "idle":
			b.idle()
			over = true
		default:
			if _, err := fmt.Sscan(s.do, &status); err != nil {
				b.t.Fatalf("unknown step %q", s.do)
			}
			if server {
				b.respond(status)
			} else if taken := b.receive(response(status, method, cookie+"1"), flow); taken == over {
				b.t.Errorf("response %d taken: %v", status, taken)
			}
		}
	}
}

func (b *bench) noteTaken(taken bool) {
	if !taken {
		b.note("left")
	}
}
