package siptransport

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"time"

	"onhook/internal/sip"
)

const (
	idleClients  = 1000
	idleLimit    = 14 << 10 // bytes of heap and stack for one idle WSS client
	idleRace     = 4 << 10  // more with the race detector, whose code needs larger stacks
	idleEnv      = "SIPTRANSPORT_IDLE_CLIENTS_OF"
	idleAllReady = "ready\n"
)

// A registered browser that is silent costs at most idleLimit of our memory.
// The clients live in another process, so that theirs is not counted.
func TestIdleClientMemory(t *testing.T) {
	for _, tr := range []sip.Transport{sip.TCP, sip.TLS, sip.WSS} {
		t.Run(tr.String(), func(t *testing.T) {
			s := start(t, []Listener{listen(tr, "127.0.0.1")}, func(c *Config) { c.Guard = openGuard() })
			s.answer = func(m *sip.Message, flow sip.Flow) {
				s.SetBound(flow, true)
				_ = s.Send(flow, []byte(ok(m.CallID)))
			}
			before := memory()
			cmd := exec.Command(os.Args[0], "-test.run=^TestIdleClientsChild$")
			cmd.Env = append(os.Environ(), idleEnv+"="+strconv.Itoa(int(tr))+" "+s.addr(0))
			cmd.Stderr = os.Stderr
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			expect(t, stdout, idleAllReady)
			for range idleClients {
				s.next(t, "message")
			}
			each := (memory() - before) / idleClients
			t.Logf("%d bytes for an idle %s client", each, tr)
			limit := int64(idleLimit)
			if raceDetector {
				limit += idleRace
			}
			if each > limit {
				t.Errorf("%d bytes for an idle %s client, at most %d are allowed", each, tr, limit)
			}
			_ = stdin.Close()
			_ = cmd.Wait()
			for range idleClients {
				s.next(t, "closed")
			}
		})
	}
}

// memory returns the bytes of live heap and stacks.
func memory() int64 {
	for range 6 { // stacks shrink by half a cycle, pools empty in two
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// TestIdleClientsChild is the other process of TestIdleClientMemory.
func TestIdleClientsChild(t *testing.T) {
	var transport int
	var addr string
	if _, err := fmt.Sscanf(os.Getenv(idleEnv), "%d %s", &transport, &addr); err != nil {
		t.Skip("is run by TestIdleClientMemory, as its second process")
	}
	tr := sip.Transport(transport)
	conns := make([]net.Conn, idleClients)
	for i := range conns {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		if tr.Secure() {
			c = tls.Client(c, &tls.Config{InsecureSkipVerify: true}) // the parent's certificate is not known here
		}
		conns[i] = c
		req := options(tr.String(), callID(i))
		if tr.WebSocket() {
			w, _ := upgrade(t, c, "Sec-WebSocket-Protocol: sip\r\n")
			w.frame(fin|opText, req)
			w.expectFrame(fin|opText, ok(callID(i)))
			continue
		}
		write(t, c, req)
		expect(t, c, ok(callID(i)))
	}
	if _, err := os.Stdout.WriteString(idleAllReady); err != nil {
		t.Fatal(err)
	}
	_, _ = bufio.NewReader(os.Stdin).ReadByte()
	runtime.KeepAlive(conns)
}
