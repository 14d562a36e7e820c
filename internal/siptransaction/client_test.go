package siptransaction

import (
	"errors"
	"strings"
	"testing"

	"onhook/internal/sip"
)

// TestClientMachines goes through every transition of the INVITE and the
// non-INVITE client transaction.
func TestClientMachines(t *testing.T) {
	for _, c := range []struct {
		name   string
		method string
		flow   sip.Flow
		steps  []step
		want   string
	}{
		// RFC 3261 17.1.1.2: Timer A doubles, Timer B after 64*T1.
		{"INVITE without an answer", "INVITE", udp, []step{{31990, "again"}, {32000, "idle"}},
			"0 > INVITE, 500 > INVITE, 1500 > INVITE, 3500 > INVITE, 7500 > INVITE, 15500 > INVITE, 31500 > INVITE, 31990 left, 32000 failed: transaction timed out"},
		{"INVITE without an answer on TCP", "INVITE", tcp, []step{{32000, "idle"}}, "0 > INVITE, 32000 failed: transaction timed out"},
		{"a provisional ends both timers", "INVITE", udp, []step{{600, "100"}, {700, "180"}, {100000, "180"}},
			"0 > INVITE, 500 > INVITE, 600 up 100, 700 up 180, 100000 up 180"},
		// RFC 3261 17.1.1.2 Completed: ACK for each failure, passed up once, Timer D.
		{"failed INVITE", "INVITE", udp, []step{{100, "180"}, {200, "486"}, {700, "486"}, {800, "180"}, {900, "200"}, {32190, "486"}, {32200, "idle"}},
			"0 > INVITE, 100 up 180, 200 > ACK, 200 up 486, 700 > ACK, 32190 > ACK"},
		{"failed at once", "INVITE", udp, []step{{100, "403"}, {32100, "idle"}}, "0 > INVITE, 100 > ACK, 100 up 403"},
		{"failed on TCP", "INVITE", tcp, []step{{100, "403"}, {100, "idle"}, {200, "403"}}, "0 > INVITE, 100 > ACK, 100 up 403"},
		// RFC 6026 7.2 Accepted: every 2xx goes up, nothing else, Timer M.
		{"accepted", "INVITE", udp, []step{{100, "180"}, {200, "200"}, {700, "200"}, {800, "180"}, {900, "486"}, {32190, "200"}, {32200, "idle"}, {32300, "200"}},
			"0 > INVITE, 100 up 180, 200 up 200, 700 up 200, 32190 up 200"},
		{"accepted, and the call is over", "INVITE", udp, []step{{100, "200"}, {150, "200"}, {200, "over"}, {200, "idle"}, {700, "200"}, {800, "over"}}, "0 > INVITE, 100 up 200, 150 up 200"},
		{"over while it rings is nothing", "INVITE", udp, []step{{100, "180"}, {200, "over"}, {300, "200"}, {700, "200"}}, "0 > INVITE, 100 up 180, 300 up 200, 700 up 200"},
		{"accepted at once on TCP", "INVITE", tcp, []step{{100, "202"}, {200, "closed"}, {32100, "idle"}}, "0 > INVITE, 100 up 202"},

		// RFC 3261 17.1.2.2: Timer E doubles to T2, Timer F after 64*T1.
		{"without an answer", "MESSAGE", udp, []step{{32000, "idle"}},
			"0 > MESSAGE, 500 > MESSAGE, 1500 > MESSAGE, 3500 > MESSAGE, 7500 > MESSAGE, 11500 > MESSAGE, 15500 > MESSAGE, 19500 > MESSAGE, 23500 > MESSAGE, 27500 > MESSAGE, 31500 > MESSAGE, 32000 failed: transaction timed out"},
		{"without an answer on TCP", "MESSAGE", tcp, []step{{32000, "idle"}}, "0 > MESSAGE, 32000 failed: transaction timed out"},
		{"proceeding", "MESSAGE", udp, []step{{600, "100"}, {700, "100"}, {10000, "200"}, {10100, "200"}, {14990, "200"}, {15000, "idle"}},
			"0 > MESSAGE, 500 > MESSAGE, 600 up 100, 700 up 100, 1500 > MESSAGE, 5500 > MESSAGE, 9500 > MESSAGE, 10000 up 200"},
		{"proceeding for too long", "MESSAGE", tcp, []step{{600, "100"}, {32000, "idle"}}, "0 > MESSAGE, 600 up 100, 32000 failed: transaction timed out"},
		{"answered", "BYE", udp, []step{{100, "481"}, {200, "100"}, {300, "481"}, {5100, "idle"}}, "0 > BYE, 100 up 481"},
		{"answered on TCP", "BYE", tcp, []step{{100, "200"}, {100, "idle"}}, "0 > BYE, 100 up 200"},

		// The end of a connection (RFC 3261 17.1.4).
		{"connection ends while calling", "INVITE", tcp, []step{{100, "closed"}, {100, "idle"}, {200, "closed"}}, "0 > INVITE, 100 failed: connection closed"},
		{"connection ends while proceeding", "INFO", tcp, []step{{100, "100"}, {200, "closed"}, {200, "idle"}, {300, "200"}}, "0 > INFO, 100 up 100, 200 failed: connection closed"},
		{"UDP has no connection", "INFO", udp, []step{{100, "closed"}, {200, "200"}}, "0 > INFO, 200 up 200"},
	} {
		t.Run(c.name, func(t *testing.T) {
			run(t, Config{}, func(b *bench) {
				b.send(c.method, c.flow)
				b.play(c.method, c.flow, false, c.steps)
				b.want(list(c.want)...)
			})
		})
	}
}

// RFC 3261 17.1.1.3: the ACK is the INVITE's but for To, which is the response's.
func TestACKMessage(t *testing.T) {
	run(t, Config{}, func(b *bench) {
		b.send("INVITE", udp)
		b.play("INVITE", udp, false, []step{{10, "486"}})
		want := request("ACK", cookie+"1",
			"Via: SIP/2.0/UDP 198.51.100.1;branch=z9hG4bKfirst\n", "",
			"To: <sip:bob@example.com>", "To: <sip:bob@example.com>;tag=b1")
		if b.last() != want {
			t.Errorf("got\n%s\nwant\n%s", b.last(), want)
		}
	})
}

func TestClosedConnectionFailsItsOwn(t *testing.T) {
	run(t, Config{}, func(b *bench) {
		for i, conn := range []uint64{7, 8, 7, 9, 7} {
			flow := tcp
			flow.Conn = conn
			if _, err := b.l.Request(flow, []byte(request("INFO", NewBranch())), b); err != nil {
				t.Fatal(i, err)
			}
		}
		b.want("0 > INFO", "0 > INFO", "0 > INFO", "0 > INFO", "0 > INFO")
		b.l.FlowClosed(tcp, errors.New("reset"))
		b.want("0 failed: reset", "0 failed: reset", "0 failed: reset")
		if st := b.l.Stats(); st.Clients != 2 || st.Connections != 2 {
			t.Errorf("%+v", st)
		}
	})
}

func TestRequestRefused(t *testing.T) {
	run(t, Config{MaxTransactions: 2}, func(b *bench) {
		if _, err := b.l.Request(udp, []byte(request("ACK", cookie+"1")), b); err != ErrMethod {
			t.Errorf("ACK: %v", err)
		}
		if _, err := b.l.Request(udp, []byte("INVITE sip:x SIP/2.0\r\n\r\n"), b); err == nil {
			t.Error("half a request was sent")
		}
		b.want()
		b.failSends(errors.New("queue full"))
		if _, err := b.l.Request(tcp, []byte(request("INFO", cookie+"1")), b); err != b.sendErr {
			t.Errorf("failing sender: %v", err)
		}
		b.idle()
		b.failSends(nil)
		b.send("INFO", udp)
		if _, err := b.l.Request(udp, []byte(request("INFO", cookie+"1")), b); err != ErrDuplicate {
			t.Errorf("same branch: %v", err)
		}
		b.send("INVITE", udp)
		if _, err := b.l.Request(udp, []byte(request("INFO", cookie+"2")), b); err != ErrFull {
			t.Errorf("third of two: %v", err)
		}
	})
}

// A retransmission that cannot be sent is counted; the transaction goes on.
func TestRetransmissionFailure(t *testing.T) {
	run(t, Config{}, func(b *bench) {
		b.send("INFO", udp)
		b.failSends(errors.New("queue full"))
		b.until(500)
		b.failSends(nil)
		b.play("INFO", udp, false, []step{{600, "200"}})
		b.want("0 > INFO", "500 > INFO", "600 up 200")
		if st := b.l.Stats(); st.SendFailures != 1 {
			t.Errorf("%+v", st)
		}
	})
}

func TestStrayResponse(t *testing.T) {
	run(t, Config{}, func(b *bench) {
		b.send("INVITE", udp)
		for _, text := range []string{response(200, "INVITE", cookie+"2"), response(200, "BYE", cookie+"1")} {
			if b.receive(text, udp) {
				t.Error("a stray response was taken")
			}
		}
		b.want("0 > INVITE")
		if st := b.l.Stats(); st.Stray != 2 {
			t.Errorf("%+v", st)
		}
	})
}

// Requests with folded lines are unfolded in the copy, and ACKs made from it.
func TestFoldedRequest(t *testing.T) {
	run(t, Config{}, func(b *bench) {
		text := request("INVITE", cookie+"1", "From: Alice ", "From: Alice\r\n ")
		if _, err := b.l.Request(udp, []byte(text), b); err != nil {
			t.Fatal(err)
		}
		b.receive(response(486, "INVITE", cookie+"1"), udp)
		if ack := parse(t, b.last()); ack.Method != "ACK" || ack.From.Tag() != "a1" {
			t.Errorf("ACK:\n%s", b.last())
		}
	})
}

func TestNewBranch(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		br := NewBranch()
		if !strings.HasPrefix(br, sip.MagicCookie) || len(br) < len(sip.MagicCookie)+20 || seen[br] {
			t.Fatalf("branch %q", br)
		}
		seen[br] = true
	}
}
