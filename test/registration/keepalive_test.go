package registration

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"

	"onhook/test/devserver"
)

const keepaliveLimit = 30 * time.Second

// RFC 5626 4.4.1: a double CRLF is answered with one.
func TestStreamKeepalive(t *testing.T) {
	t.Parallel()
	s := devserver.Shared(t)
	conn, err := net.DialTimeout("tcp", s.SIP.TCP, keepaliveLimit)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(keepaliveLimit))
	for range 3 {
		if _, err := conn.Write([]byte("\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		pong := make([]byte, 2)
		if _, err := io.ReadFull(conn, pong); err != nil || string(pong) != "\r\n" {
			t.Fatalf("the answer to a keepalive is %q, %v", pong, err)
		}
	}
}

// RFC 5626 4.4.2, RFC 8489: a STUN Binding request on the SIP port is told the
// address it came from.
func TestDatagramKeepalive(t *testing.T) {
	t.Parallel()
	s := devserver.Shared(t)
	conn, err := net.Dial("udp", s.SIP.UDP)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(keepaliveLimit))
	const cookie = 0x2112A442
	request := make([]byte, 20)
	binary.BigEndian.PutUint16(request, 1)
	binary.BigEndian.PutUint32(request[4:], cookie)
	_, _ = rand.Read(request[8:])
	if _, err := conn.Write(request); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 1500)
	n, err := conn.Read(answer)
	if err != nil || n < 32 {
		t.Fatalf("no STUN answer: %d bytes, %v", n, err)
	}
	answer = answer[:n]
	if binary.BigEndian.Uint16(answer) != 0x0101 || !bytes.Equal(answer[4:20], request[4:20]) {
		t.Fatalf("not the success response to our request: %x", answer)
	}
	for rest := answer[20:]; len(rest) >= 12; {
		kind, length := binary.BigEndian.Uint16(rest), int(binary.BigEndian.Uint16(rest[2:]))
		if kind == 0x0020 { // XOR-MAPPED-ADDRESS
			port := binary.BigEndian.Uint16(rest[6:]) ^ uint16(cookie>>16)
			if want := conn.LocalAddr().(*net.UDPAddr).Port; int(port) != want {
				t.Fatalf("told port %d, we are %d", port, want)
			}
			return
		}
		rest = rest[min(len(rest), 4+(length+3)&^3):]
	}
	t.Fatalf("no XOR-MAPPED-ADDRESS in %x", answer)
}

// RFC 7118 4.1: the subprotocol is sip; pings are answered with their payload.
func TestWebSocketHandshakeAndPing(t *testing.T) {
	t.Parallel()
	s := devserver.Shared(t)
	ctx, cancel := context.WithTimeout(context.Background(), keepaliveLimit)
	defer cancel()
	if ws, _, err := websocket.Dial(ctx, s.SIP.WS, &websocket.DialOptions{Subprotocols: []string{"chat"}}); err == nil {
		chosen := ws.Subprotocol()
		_ = ws.CloseNow()
		if chosen != "" {
			t.Errorf("the server agrees to the subprotocol %q", chosen)
		}
	}
	ws, _, err := websocket.Dial(ctx, s.SIP.WS, &websocket.DialOptions{
		Subprotocols: []string{"sip"},
		HTTPHeader:   http.Header{"Origin": {"https://anywhere.invalid"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }()
	go func() { _, _, _ = ws.Read(ctx) }() // takes the pong
	if err := ws.Ping(ctx); err != nil {
		t.Errorf("ping: %v", err)
	}
}
