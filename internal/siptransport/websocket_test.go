package siptransport

import (
	"io"
	"strings"
	"testing"

	"onhook/internal/sip"
)

func webServer(t *testing.T, change func(*Config)) *server {
	return start(t, []Listener{listen(sip.WS, "127.0.0.1")}, change)
}

// RFC 7118 5: text and binary messages alike; Content-Length may be absent.
func TestTextAndBinaryWithoutContentLength(t *testing.T) {
	s := webServer(t, nil)
	w := s.web(s.dialTCP(0))
	bare := strings.Replace(options("WS", "bare"), "Content-Length: 0\r\n", "", 1)
	for _, op := range []byte{opText, opBinary} {
		w.frame(fin|op, bare)
		if e := s.next(t, "message"); e.text != bare {
			t.Fatalf("got %q", e.text)
		}
		withBody := strings.Replace(bare, "OPTIONS", "MESSAGE", 2) + "hello"
		w.frame(fin|op, withBody)
		if e := s.next(t, "message"); e.text != withBody {
			t.Fatalf("got %q", e.text)
		}
	}
}

// RFC 7118 5: a message that is not UTF-8 goes out as binary.
func TestBinaryOutgoing(t *testing.T) {
	s := webServer(t, nil)
	w := s.web(s.dialTCP(0))
	w.frame(fin|opText, options("WS", "a"))
	flow := s.next(t, "message").flow
	msg := ok("a") + "\xff\xfe"
	if err := s.Send(flow, []byte(msg)); err != nil {
		t.Fatal(err)
	}
	w.expectFrame(fin|opBinary, msg)
}

// RFC 6455 5.4: a message in fragments, with control frames between them.
func TestFragments(t *testing.T) {
	s := webServer(t, nil)
	w := s.web(s.dialTCP(0))
	req := options("WS", "a")
	for _, op := range []byte{opText, opBinary} {
		w.frame(op, req[:10])
		w.frame(fin|opPing, "between")
		w.expectFrame(fin|opPong, "between")
		w.frame(opContinuation, req[10:11])
		w.frame(opContinuation, "")
		w.frame(fin|opContinuation, req[11:])
		if e := s.next(t, "message"); e.text != req {
			t.Fatalf("got %q", e.text)
		}
	}
	w.frame(fin|opText, req)
	s.next(t, "message")
}

// RFC 6455 5.5.3: a pong bears the payload of its ping.
func TestPingWithPayload(t *testing.T) {
	s := webServer(t, nil)
	w := s.web(s.dialTCP(0))
	for _, payload := range []string{"", "x", strings.Repeat("p", 125)} {
		w.frame(fin|opPing, payload)
		w.expectFrame(fin|opPong, payload)
	}
}

// A frame may come a byte at a time, and several at once.
func TestFramesCutAnywhere(t *testing.T) {
	s := webServer(t, nil)
	c := s.dialTCP(0)
	w := s.web(c)
	var b capture
	(&webClient{Conn: &b, t: t}).frame(fin|opText, options("WS", "a"))
	for i := range b.sent {
		write(t, c, b.sent[i:i+1])
	}
	s.next(t, "message")
	write(t, c, b.sent+b.sent+b.sent[:20])
	s.next(t, "message")
	s.next(t, "message")
	write(t, c, b.sent[20:])
	s.next(t, "message")
	w.frame(fin|opPing, "x")
	w.expectFrame(fin|opPong, "x")
}

// RFC 6455 5.5.1, 7.1.5: a close frame is answered with its status, then the
// connection ends.
func TestClosingHandshake(t *testing.T) {
	for name, tc := range map[string]struct {
		payload string
		status  int
	}{
		"normal":      {"\x03\xe8", 1000},
		"going away":  {"\x03\xe9bye", 1001},
		"application": {"\x0f\xa0", 4000},
		"none":        {"", 1000},
		"forbidden":   {"\x03\xed", 1002}, // 1005 is never sent
	} {
		t.Run(name, func(t *testing.T) {
			s := webServer(t, nil)
			w := s.web(s.dialTCP(0))
			w.frame(fin|opClose, tc.payload)
			w.expectClose(tc.status)
			_ = w.Close()
			s.next(t, "closed")
		})
	}
}

func TestBrokenFrames(t *testing.T) {
	for name, tc := range map[string]struct {
		send   func(w *webClient)
		status int
	}{
		"unmasked":                  {func(w *webClient) { write(w.t, w.Conn, "\x81\x01x") }, 1002},
		"reserved bit":              {func(w *webClient) { w.frame(fin|0x40|opText, "x") }, 1002},
		"unknown opcode":            {func(w *webClient) { w.frame(fin|3, "x") }, 1002},
		"continuation of nothing":   {func(w *webClient) { w.frame(fin|opContinuation, "x") }, 1002},
		"new message in the middle": {func(w *webClient) { w.frame(opText, "x"); w.frame(fin|opText, "y") }, 1002},
		"fragmented ping":           {func(w *webClient) { w.frame(opPing, "x") }, 1002},
		"long ping":                 {func(w *webClient) { w.frame(fin|opPing, strings.Repeat("x", 126)) }, 1002},
		"too big":                   {func(w *webClient) { write(w.t, w.Conn, "\x81\xff\x00\x00\x00\x00\x00\x01\x00\x01mask") }, 1009},
		"too big in fragments": {func(w *webClient) {
			w.frame(opText, strings.Repeat("x", 40_000))
			w.frame(opContinuation, strings.Repeat("x", 40_000))
		}, 1009},
	} {
		t.Run(name, func(t *testing.T) {
			s := webServer(t, nil)
			w := s.web(s.dialTCP(0))
			tc.send(w)
			w.expectClose(tc.status)
			_ = w.Close()
			s.next(t, "closed")
			if st := s.Stats(); st.Malformed != 1 {
				t.Fatalf("counted %d malformed", st.Malformed)
			}
		})
	}
}

// RFC 7118 4.1: the subprotocol is required. Other refusals are HTTP's.
func TestRefusedHandshakes(t *testing.T) {
	for name, tc := range map[string]struct{ request, status string }{
		"no subprotocol":      {upgradeRequest + "\r\n", "400"},
		"another subprotocol": {upgradeRequest + "Sec-WebSocket-Protocol: mqtt, xmpp\r\n\r\n", "400"},
		"not an upgrade":      {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
		"POST":                {strings.Replace(upgradeRequest, "GET", "POST", 1) + "Sec-WebSocket-Protocol: sip\r\n\r\n", "405"},
		"version 8":           {strings.Replace(upgradeRequest, "Version: 13", "Version: 8", 1) + "Sec-WebSocket-Protocol: sip\r\n\r\n", "426"},
		"foreign origin":      {upgradeRequest + "Sec-WebSocket-Protocol: sip\r\nOrigin: https://evil.test\r\n\r\n", "403"},
		"no origin":           {upgradeRequest + "Sec-WebSocket-Protocol: sip\r\n\r\n", "403"},
		"too large":           {upgradeRequest + strings.Repeat("X-Filler: "+strings.Repeat("x", 1000)+"\r\n", 9) + "\r\n", ""},
		"SIP":                 {options("WS", "a"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := webServer(t, func(c *Config) { c.Origins = []string{"https://phone.test"} })
			c := s.dialTCP(0)
			write(t, c, tc.request)
			got := expectEnd(t, c)
			if tc.status != "" && !strings.HasPrefix(got, "HTTP/1.1 "+tc.status+" ") || strings.Contains(got, " 101 ") {
				t.Fatalf("got %q", got)
			}
			eventually(t, "counted", func() bool { return s.Stats().HandshakeError == 1 })
		})
	}
}

func TestHandshakeVariants(t *testing.T) {
	for name, more := range map[string]string{
		"several subprotocols": "Sec-WebSocket-Protocol: xmpp, sip\r\nOrigin: https://phone.test\r\n",
		"several header lines": "Sec-WebSocket-Protocol: xmpp\r\nSec-WebSocket-Protocol: sip\r\nOrigin: https://phone.test\r\n",
		"an extension":         "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\nSec-WebSocket-Protocol: sip\r\nOrigin: https://phone.test\r\n",
		"lower case":           "sec-websocket-protocol: sip\r\norigin: https://phone.test\r\n",
		"a long cookie":        "Cookie: " + strings.Repeat("x", 6000) + "\r\nSec-WebSocket-Protocol: sip\r\nOrigin: https://phone.test\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := webServer(t, func(c *Config) { c.Origins = []string{"https://phone.test"} })
			w, head := upgrade(t, s.dialTCP(0), more)
			if !strings.HasPrefix(head, "HTTP/1.1 101 ") || !strings.Contains(head, "Sec-WebSocket-Protocol: sip\r\n") || strings.Contains(head, "Extensions") {
				t.Fatalf("got %q", head)
			}
			w.frame(fin|opText, options("WS", "a"))
			s.next(t, "message")
		})
	}
}

// The server pings; a peer that answers stays, one that does not is gone.
func TestServerPings(t *testing.T) {
	s := webServer(t, func(c *Config) { c.PingInterval = long })
	w := s.web(s.dialTCP(0))
	w.frame(fin|opText, options("WS", "a"))
	s.SetBound(s.next(t, "message").flow, true)
	for range 2 {
		w.expectFrame(fin|opPing, "")
		w.frame(fin|opPong, "")
	}
	for { // silence from here on
		if _, err := io.ReadFull(w.r, make([]byte, 2)); err != nil {
			break
		}
	}
	if e := s.next(t, "closed"); e.err != ErrPeerVanished {
		t.Fatalf("closed with %v", e.err)
	}
}
