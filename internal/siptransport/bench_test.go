package siptransport

import (
	"net"
	"testing"

	"onhook/internal/sip"
)

// BenchmarkUDP has one client keep 64 requests under way and read the answers.
// The figure contains the client's own work on the same cores.
func BenchmarkUDP(b *testing.B) {
	answer := []byte(ok("a"))
	tr := New(Config{Listeners: []Listener{listen(sip.UDP, "127.0.0.1")}, Guard: openGuard()}, nil)
	tr.handler = &recorder{answer: func(_ *sip.Message, flow sip.Flow) { _ = tr.Send(flow, answer) }}
	if err := tr.Listen(); err != nil {
		b.Fatal(err)
	}
	go func() { _ = tr.Run(b.Context()) }()
	c, err := net.Dial("udp", tr.Addr(0).String())
	if err != nil {
		b.Fatal(err)
	}
	req, buf := []byte(options("UDP", "a")), make([]byte, 2048)
	b.ReportAllocs()
	for done := 0; done < b.N; {
		n := min(64, b.N-done)
		for range n {
			if _, err := c.Write(req); err != nil {
				b.Fatal(err)
			}
		}
		for range n {
			if _, err := c.Read(buf); err != nil {
				b.Fatal(err)
			}
		}
		done += n
	}
	_ = c.Close()
	_ = tr.Close()
}
