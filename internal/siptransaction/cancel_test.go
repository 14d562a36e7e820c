package siptransaction

import (
	"net/netip"
	"strings"
	"testing"

	"onhook/internal/sip"
)

type sendFunc func(flow sip.Flow, msg []byte) error

func (f sendFunc) Send(flow sip.Flow, msg []byte) error { return f(flow, msg) }

func netipPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// RFC 3261 9.2: CANCEL at every state of its INVITE.
func TestCancelReceived(t *testing.T) {
	for _, c := range []struct {
		name  string
		flow  sip.Flow
		steps []step
		want  string
	}{
		{"pending", udp, []step{{10, "180"}, {100, "in cancel"}, {110, "487"}, {120, "ack"}}, "10 > 180, 100 > 200, 100 cancel call, 110 > 487"},
		{"before any response", tcp, []step{{100, "in cancel"}}, "100 > 200, 100 cancel call"},
		{"retransmitted", udp, []step{{100, "in cancel"}, {110, "180"}, {600, "in cancel"}, {1600, "in cancel"}}, "100 > 200, 100 cancel call, 110 > 180, 600 > 200, 1600 > 200"},
		{"twice on TCP", tcp, []step{{100, "in cancel"}, {110, "180"}, {600, "in cancel"}}, "100 > 200, 100 cancel call, 110 > 180, 600 > 200"},
		{"after a 2xx", udp, []step{{10, "200"}, {100, "in cancel"}}, "10 > 200, 100 > 200"},
		{"after a failure", tcp, []step{{10, "486"}, {100, "in cancel"}}, "10 > 486, 100 > 200"},
		{"after the ACK", udp, []step{{10, "486"}, {20, "ack"}, {100, "in cancel"}}, "10 > 486, 100 > 200"},
		{"after the end", tcp, []step{{10, "486"}, {20, "ack"}, {100, "in cancel"}}, "10 > 486, 100 > 481"},
	} {
		t.Run(c.name, func(t *testing.T) {
			run(t, Config{}, func(b *bench) {
				b.tx = b.begin(request("INVITE", cookie+"1"), c.flow)
				b.tx.SetUser("call")
				b.play("INVITE", c.flow, true, c.steps)
				b.want(list(c.want)...)
			})
		})
	}
}

func TestCancelMatchesNothing(t *testing.T) {
	run(t, Config{}, func(b *bench) {
		if !b.receive(request("CANCEL", cookie+"9"), udp) {
			t.Error("CANCEL was left")
		}
		b.want("0 > 481")
		m := parse(t, b.last())
		if m.To.Tag() == "" || m.CSeqMethod != "CANCEL" || m.CSeq != 7 || strings.Count(b.last(), "Via:") != 2 {
			t.Errorf("answer:\n%s", b.last())
		}
		b.receive(request("CANCEL", cookie+"9"), udp)
		if b.last() != string(m.Bytes()) {
			t.Error("a retransmission got another answer")
		}
		if st := b.l.Stats(); st.CancelMisses != 1 {
			t.Errorf("%+v", st)
		}
		b.until(32000)
		b.idle()
	})
}

// A CANCEL from another address than the INVITE's cannot end the call.
func TestCancelFromElsewhere(t *testing.T) {
	run(t, Config{}, func(b *bench) {
		b.begin(request("INVITE", cookie+"1"), udp)
		other := udp
		other.Remote = netipPort("203.0.113.5:5060")
		b.receive(request("CANCEL", cookie+"1"), other)
		b.want("0 > 481")
	})
}

// RFC 3261 9.2: the To tag of the answer to a CANCEL is that of the INVITE's response.
func TestCancelTag(t *testing.T) {
	run(t, Config{}, func(b *bench) {
		b.tx = b.begin(request("INVITE", cookie+"1"), udp)
		b.respond(180)
		b.receive(request("CANCEL", cookie+"1"), udp)
		if tag := parse(t, b.last()).To.Tag(); tag != "b1" {
			t.Errorf("tag %q", tag)
		}
		tx := b.begin(request("INVITE", cookie+"2"), udp)
		if tx.Cancelled() {
			t.Error("cancelled before the CANCEL")
		}
		b.receive(request("CANCEL", cookie+"2"), udp)
		if !tx.Cancelled() {
			t.Error("not cancelled")
		}
		if tag := parse(t, b.last()).To.Tag(); tag == "" || tag != tx.ToTag() {
			t.Errorf("tag %q, ToTag %q", tag, tx.ToTag())
		}
	})
}

// RFC 3261 9.1: CANCEL of a request of ours.
func TestCancelSent(t *testing.T) {
	for _, c := range []struct {
		name  string
		flow  sip.Flow
		steps []step
		want  string
	}{
		{"after a provisional", tcp, []step{{100, "180"}, {200, "cancel"}, {210, "cancel ok"}, {220, "487"}, {220, "idle"}},
			"0 > INVITE, 100 up 180, 200 > CANCEL, 220 > ACK, 220 up 487"},
		{"waits for a provisional", tcp, []step{{100, "cancel"}, {200, "100"}, {300, "180"}, {310, "cancel ok"}, {320, "487"}, {320, "idle"}},
			"0 > INVITE, 200 > CANCEL, 200 up 100, 300 up 180, 320 > ACK, 320 up 487"},
		{"a final comes first", tcp, []step{{100, "cancel"}, {200, "486"}, {200, "idle"}}, "0 > INVITE, 200 > ACK, 200 up 486"},
		{"a 2xx comes first", tcp, []step{{100, "cancel"}, {200, "200"}, {32200, "idle"}}, "0 > INVITE, 200 up 200"},
		{"a 2xx crosses it", tcp, []step{{100, "180"}, {200, "cancel"}, {210, "200"}, {220, "cancel ok"}, {32210, "idle"}},
			"0 > INVITE, 100 up 180, 200 > CANCEL, 210 up 200"},
		{"twice", tcp, []step{{100, "180"}, {200, "cancel"}, {300, "cancel"}}, "0 > INVITE, 100 up 180, 200 > CANCEL"},
		{"too late", tcp, []step{{100, "486"}, {200, "cancel"}}, "0 > INVITE, 100 > ACK, 100 up 486"},
		{"nobody answers", tcp, []step{{100, "180"}, {200, "cancel"}, {300, "183"}, {32200, "idle"}, {33000, "200"}},
			"0 > INVITE, 100 up 180, 200 > CANCEL, 300 up 183, 32200 failed: transaction timed out"},
		{"not even a provisional", tcp, []step{{100, "cancel"}, {32000, "idle"}}, "0 > INVITE, 32000 failed: transaction timed out"},
		{"is retransmitted", udp, []step{{100, "180"}, {200, "cancel"}, {2000, "cancel ok"}, {2010, "cancel ok"}, {3000, "487"}, {35000, "idle"}},
			"0 > INVITE, 100 up 180, 200 > CANCEL, 700 > CANCEL, 1700 > CANCEL, 3000 > ACK, 3000 up 487"},
		{"the connection ends", tcp, []step{{100, "180"}, {200, "cancel"}, {300, "closed"}, {300, "idle"}},
			"0 > INVITE, 100 up 180, 200 > CANCEL, 300 failed: connection closed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			run(t, Config{}, func(b *bench) {
				b.send("INVITE", c.flow)
				b.play("INVITE", c.flow, false, c.steps)
				b.want(list(c.want)...)
			})
		})
	}
}

func TestCancelOfAnotherMethod(t *testing.T) {
	run(t, Config{}, func(b *bench) {
		b.send("INFO", tcp)
		b.play("INFO", tcp, false, []step{{10, "100"}, {20, "cancel"}})
		b.want("0 > INFO", "10 up 100")
	})
}

// RFC 3261 9.1: Request-URI, Call-ID, To, number of CSeq and From are the
// INVITE's, the one Via its topmost, and its Routes are there.
func TestCancelMessage(t *testing.T) {
	run(t, Config{}, func(b *bench) {
		b.send("INVITE", udp)
		b.play("INVITE", udp, false, []step{{10, "180"}, {20, "cancel"}})
		want := request("CANCEL", cookie+"1",
			"Via: SIP/2.0/UDP 198.51.100.1;branch=z9hG4bKfirst\n", "",
			"CSeq: 7 CANCEL\n", "CSeq: 7 CANCEL\r\nReason: SIP;cause=200\r\n")
		if b.last() != want {
			t.Errorf("got\n%s\nwant\n%s", b.last(), want)
		}
	})
}
