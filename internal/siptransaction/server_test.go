package siptransaction

import (
	"net/netip"
	"strings"
	"testing"

	"onhook/internal/sip"
)

// TestServerMachines goes through every transition of the INVITE and the
// non-INVITE server transaction.
func TestServerMachines(t *testing.T) {
	for _, c := range []struct {
		name   string
		method string
		flow   sip.Flow
		steps  []step
		want   string
	}{
		// RFC 3261 17.2.1: without a response for 200 ms the layer sends 100, and
		// again for each retransmission.
		{"100 by itself", "INVITE", udp, []step{{100, "again"}, {500, "again"}, {600, "180"}, {700, "again"}},
			"200 > 100, 500 > 100, 600 > 180, 700 > 180"},
		{"no 100 after a provisional", "INVITE", udp, []step{{50, "100"}, {1000, "180"}}, "50 > 100, 1000 > 180"},
		{"no 100 after a final", "INVITE", tcp, []step{{50, "486"}, {60, "ack"}, {70, "idle"}, {1000, "idle"}}, "50 > 486"},
		// RFC 3261 17.2.1 Completed: Timer G from T1 to T2, Timer H after 64*T1.
		{"failed INVITE without ACK", "INVITE", udp, []step{{100, "486"}, {32090, "again"}, {32100, "idle"}},
			"100 > 486, 600 > 486, 1600 > 486, 3600 > 486, 7600 > 486, 11600 > 486, 15600 > 486, 19600 > 486, 23600 > 486, 27600 > 486, 31600 > 486, 32090 > 486"},
		{"failed INVITE with ACK", "INVITE", udp, []step{{100, "486"}, {700, "again"}, {800, "ack"}, {900, "ack"}, {1000, "again"}, {5790, "again"}, {5800, "idle"}, {5810, "ack"}},
			"100 > 486, 600 > 486, 700 > 486, 5810 left"},
		{"failed INVITE on TCP", "INVITE", tcp, []step{{100, "603"}, {32090, "again"}, {32100, "idle"}}, "100 > 603, 32090 > 603"},
		{"failed INVITE on TCP with ACK", "INVITE", tcp, []step{{100, "603"}, {200, "ack"}, {200, "idle"}}, "100 > 603"},
		{"late responses to a failed INVITE", "INVITE", udp, []step{{100, "486"}, {110, "180"}, {120, "200"}, {130, "487"}, {140, "ack"}, {150, "200"}},
			"100 > 486, 120 > 200, 150 > 200"}, // RFC 3261 16.7: a 2xx is never kept from the caller
		// RFC 6026 7.1 Accepted: retransmissions are absorbed, further 2xx sent,
		// any ACK goes up, Timer L ends it.
		{"accepted INVITE", "INVITE", udp, []step{{100, "200"}, {200, "again"}, {300, "200"}, {400, "ack"}, {500, "486"}, {600, "180"}, {32090, "again"}, {32100, "idle"}, {32105, "200"}, {32106, "486"}, {32110, "again"}},
			"100 > 200, 300 > 200, 400 left, 32105 > 200, 32110 left"},
		{"accepted INVITE on TCP", "INVITE", tcp, []step{{100, "200"}, {32090, "again"}, {32100, "idle"}}, "100 > 200"},
		{"ACK before any final response", "INVITE", udp, []step{{10, "ack"}, {100, "180"}}, "100 > 180"},

		// RFC 3261 17.2.2.
		{"trying", "MESSAGE", udp, []step{{100, "again"}, {31000, "again"}}, ""},
		{"proceeding", "MESSAGE", udp, []step{{100, "100"}, {200, "again"}, {300, "202"}}, "100 > 100, 200 > 100, 300 > 202"},
		{"completed", "REGISTER", udp, []step{{100, "200"}, {200, "again"}, {32000, "again"}, {32090, "again"}, {32100, "idle"}, {32110, "again"}},
			"100 > 200, 200 > 200, 32000 > 200, 32090 > 200, 32110 left"},
		{"completed on TCP", "REGISTER", tcp, []step{{100, "200"}, {100, "idle"}, {110, "again"}}, "100 > 200, 110 left"},
		{"late responses", "MESSAGE", udp, []step{{100, "200"}, {110, "486"}, {120, "100"}, {130, "again"}}, "100 > 200, 130 > 200"},
		{"never answered", "MESSAGE", udp, []step{{63990, "again"}, {64000, "idle"}, {64010, "200"}, {64020, "again"}}, "64020 left"},
	} {
		t.Run(c.name, func(t *testing.T) {
			run(t, Config{}, func(b *bench) {
				b.tx = b.begin(request(c.method, cookie+"1"), c.flow)
				b.play(c.method, c.flow, true, c.steps)
				b.want(list(c.want)...)
			})
		})
	}
}

func list(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ", ")
}

func TestServerTimersAreConfigurable(t *testing.T) {
	run(t, Config{T1: 100e6, T2: 200e6, T4: 300e6, TryingAfter: 50e6}, func(b *bench) {
		b.tx = b.begin(request("INVITE", cookie+"1"), udp)
		b.play("INVITE", udp, true, []step{{100, "486"}, {850, "ack"}, {1140, "again"}, {1150, "idle"}})
		b.want("50 > 100", "100 > 486", "200 > 486", "400 > 486", "600 > 486", "800 > 486")
	})
}

// RFC 3261 17.2.3: what makes two requests one transaction.
func TestServerMatching(t *testing.T) {
	other := udp
	other.Remote = netipPort("198.51.100.9:5060")
	moved := udp
	moved.Remote = netipPort("192.0.2.1:6060")
	base := request("OPTIONS", cookie+"1")
	for _, c := range []struct {
		name string
		text string
		flow sip.Flow
		same bool
	}{
		{"retransmission", base, udp, true},
		{"from another port (NAT)", base, moved, true},
		{"other branch", request("OPTIONS", cookie+"2"), udp, false},
		{"other method", request("INFO", cookie+"1"), udp, false},
		{"other sent-by host", request("OPTIONS", cookie+"1", "UDP 192.0.2.1:5060", "UDP 192.0.2.2:5060"), udp, false},
		{"other sent-by port", request("OPTIONS", cookie+"1", "UDP 192.0.2.1:5060", "UDP 192.0.2.1:5061"), udp, false},
		{"other source with the same private sent-by", base, other, false},
		{"other CSeq and Call-ID do not matter", request("OPTIONS", cookie+"1", "CSeq: 7", "CSeq: 8", "call@", "other@"), udp, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			run(t, Config{}, func(b *bench) {
				b.begin(base, udp)
				if got := b.receive(c.text, c.flow); got != c.same {
					t.Errorf("matched: %v, want %v", got, c.same)
				}
			})
		})
	}
}

// RFC 3261 17.2.3, last part: matching for elements that follow RFC 2543.
func TestServerMatchingRFC2543(t *testing.T) {
	same := func(method string, edit ...string) (matched bool) {
		run(t, Config{}, func(b *bench) {
			b.begin(request(method, "1"), udp)
			matched = b.receive(request(method, "1", edit...), udp)
		})
		return matched
	}
	for _, method := range []string{"INVITE", "INFO"} {
		if !same(method) {
			t.Errorf("%s: a retransmission did not match", method)
		}
		for what, edit := range map[string][]string{
			"Request-URI": {"sip:bob@example.com SIP", "sip:carol@example.com SIP"},
			"From tag":    {"tag=a1", "tag=a2"},
			"Call-ID":     {"call@", "other@"},
			"CSeq":        {"CSeq: 7", "CSeq: 8"},
			"Via":         {"192.0.2.1:5060;", "192.0.2.1:5060;x=y;"},
		} {
			if same(method, edit...) {
				t.Errorf("%s: matched with another %s", method, what)
			}
		}
	}
	if same("INFO", "To: <sip:bob@example.com>", "To: <sip:bob@example.com>;tag=x") {
		t.Error("INFO: matched with another To tag")
	}
}

// An RFC 2543 ACK carries the To tag of the response; CANCEL is that of the INVITE.
func TestInviteRFC2543(t *testing.T) {
	run(t, Config{}, func(b *bench) {
		tx := b.begin(request("INVITE", "1"), udp)
		tx.SetUser("call")
		tx.Respond(180, []byte(response(180, "INVITE", "1")))
		if !b.receive(request("CANCEL", "1"), udp) {
			t.Error("CANCEL was left")
		}
		tx.Respond(487, []byte(response(487, "INVITE", "1")))
		ack := request("ACK", "1", "To: <sip:bob@example.com>", "To: <sip:bob@example.com>;tag=b1")
		if !b.receive(ack, udp) {
			t.Error("ACK was left")
		}
		b.want("0 > 180", "0 > 200", "0 cancel call", "0 > 487")
		b.until(5000)
		if st := b.l.Stats(); st.Servers != 0 || st.ACKTimeouts != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// RFC 3261 18.2.2, RFC 3581 4: every response, repeated or not, goes to where its
// request came from where it has rport (a NAT may have given a retransmission
// another port), else to the port of its Via.
func TestWhereResponsesGo(t *testing.T) {
	source := netipPort("192.0.2.1:6060")
	moved := netipPort("192.0.2.1:7070")
	for _, c := range []struct {
		name, sentBy  string
		transport     sip.Transport
		first, second netip.AddrPort
	}{
		{"rport", "192.0.2.1:5070;rport", sip.UDP, source, moved},
		{"Via port", "192.0.2.1:5070", sip.UDP, netipPort("192.0.2.1:5070"), netipPort("192.0.2.1:5070")},
		{"no port", "10.0.0.1", sip.UDP, netipPort("192.0.2.1:5060"), netipPort("192.0.2.1:5060")},
		{"connection", "192.0.2.1:5070", sip.TCP, source, moved},
	} {
		for _, method := range []string{"REGISTER", "INVITE", "CANCEL"} {
			var to []netip.AddrPort
			l := New(Config{Sender: sendFunc(func(flow sip.Flow, _ []byte) error {
				to = append(to, flow.Remote)
				return nil
			})})
			flow := sip.Flow{Transport: c.transport, Remote: source}
			m := parse(t, request(method, cookie+"1", "UDP 192.0.2.1:5060;", "UDP "+c.sentBy+";"))
			if !l.Receive(m, flow) {
				tx, _ := l.Begin(m, flow)
				if tx.Flow().Remote != c.first {
					t.Errorf("%s: Flow %v", c.name, tx.Flow())
				}
				status := 200
				if method == "INVITE" {
					status = 486
				}
				tx.Respond(status, []byte(response(status, method, cookie+"1")))
			}
			flow.Remote = moved
			if l.Receive(m, flow) && (len(to) != 2 || to[0] != c.first || to[1] != c.second) {
				t.Errorf("%s, %s: sent to %v", c.name, method, to)
			}
		}
	}
}

func TestBeginRefuses(t *testing.T) {
	l := New(Config{Sender: sendFunc(func(sip.Flow, []byte) error { return nil }), MaxTransactions: 2})
	for _, text := range []string{request("ACK", cookie+"1"), request("CANCEL", cookie+"1"), response(200, "INVITE", cookie+"1")} {
		if _, err := l.Open(parse(t, text), udp); err != ErrMethod {
			t.Errorf("%q: %v", text[:10], err)
		}
	}
	first := parse(t, request("REGISTER", cookie+"1"))
	tx, err := l.Open(first, udp)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Open(first, udp); err != ErrDuplicate {
		t.Errorf("same request twice: %v", err)
	}
	if _, err := l.Open(parse(t, request("INVITE", cookie+"2")), udp); err != nil {
		t.Fatal(err)
	}
	third := parse(t, request("REGISTER", cookie+"3"))
	if _, err := l.Open(third, udp); err != ErrFull {
		t.Errorf("third of two: %v", err)
	}
	if again, ok := l.Begin(third, udp); ok || again != nil {
		t.Error("Begin found room")
	}
	tx.Respond(200, []byte(response(200, "REGISTER", cookie+"1")))
	if _, err := l.Open(first, udp); err != ErrDuplicate {
		t.Errorf("answered request: %v", err)
	}
	if _, err := l.Open(third, udp); err != nil {
		t.Errorf("an answered transaction still takes room: %v", err)
	}
}
