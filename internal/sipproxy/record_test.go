package sipproxy

import (
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"onhook/internal/callrecord"
	"onhook/internal/sip"
)

var alice = Caller{Endpoint: 3, Owner: "MA_ALICE", Main: "MA_ALICE", Identity: "sip:alice@example.com"}

// withBody gives a message a body.
func withBody(text, body string) string {
	head, _, _ := strings.Cut(text, "Content-Length")
	return head + "Content-Type: application/sdp\nContent-Length: " + strconv.Itoa(len(crlf(body))) + "\n\n" + body
}

// record returns the record of the one call that has ended, as an account sees it.
func (w *world) record(account string) *callrecord.Record {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	var found *callrecord.Record
	for _, r := range w.records {
		if r.Account == account {
			if found != nil {
				w.t.Fatal("more than one record")
			}
			found = r
		}
	}
	if found == nil {
		w.t.Fatalf("no record of %s", account)
	}
	return found
}

// A call between two accounts: what each sees of it, to the millisecond.
func TestRecordOfCall(t *testing.T) {
	inWorld(t, func(w *world) {
		feed := w.feeds.Subscribe(10)
		defer feed.Close()
		began := time.Now().UTC()
		text := strings.NewReplacer("From: <sip", "From: \"Alice \\\"A\\\"\" <sip", "Contact:", "User-Agent: phone/1\nContact:").Replace(invite)
		w.begin(text, udp(caller), alice, binding(deviceA), binding(deviceB))
		w.next(caller, "SIP/2.0 100")
		a, b := w.next(deviceA, "INVITE"), w.next(deviceB, "INVITE")
		time.Sleep(1500 * time.Millisecond)
		w.receive(deviceB, response(b, 486, "b"))
		time.Sleep(500 * time.Millisecond)
		w.receive(deviceA, withBody(response(a, 200, "a"), "v=0\nm=audio 4000 RTP/AVP 96 0\na=rtpmap:0 PCMU/8000\na=rtpmap:96 opus/48000/2\n"))
		ok := w.next(caller, "SIP/2.0 200")
		w.receive(caller, inDialog("ACK", 1, ok))
		time.Sleep(3250 * time.Millisecond)
		w.receive(deviceA, bye(a, "a", 5))
		time.Sleep(time.Second) // the answer to the BYE adds nothing
		w.receive(caller, response(w.next(caller, "BYE"), 200, "alice"))

		got := w.record("MA_ALICE")
		want := &callrecord.Record{
			ID: got.ID, Account: "MA_ALICE", Main: "MA_ALICE", Endpoint: 3, Direction: callrecord.Outbound,
			From: "sip:alice@elsewhere.example", To: "sip:bob@example.com", CallerName: `Alice "A"`,
			Start: began, Answer: began.Add(2 * time.Second), End: began.Add(5250 * time.Millisecond),
			Status: callrecord.Completed, Cause: callrecord.NormalHangup, Source: callrecord.Callee, SIPCode: 200,
			Codec: "opus", UserAgent: "phone/1", Transport: "udp",
			Legs: []callrecord.Leg{
				{To: "sip:bob@example.com", Contact: "sip:bob@192.0.2.20:5060", Start: began, Answer: began.Add(2 * time.Second), End: began.Add(5250 * time.Millisecond), SIPCode: 200},
				{To: "sip:bob@example.com", Contact: "sip:bob@192.0.2.21:5060", Start: began, End: began.Add(1500 * time.Millisecond), SIPCode: 486},
			},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("record\n%+v, wants\n%+v", got, want)
		}
		other := *w.record("MA_BOB")
		if other.ID != got.ID || other.Endpoint != 7 || other.Direction != callrecord.Inbound || other.Peer != 0 {
			t.Errorf("bob's record\n%+v", other)
		}
		events := ""
		told, _ := feed.Take(nil)
		for _, e := range told {
			events += e.Type.String() + " "
			if e.Type == callrecord.Answered && (e.Record.Status != callrecord.InProgress || !e.Record.Live()) {
				t.Errorf("answered: %+v", e.Record)
			}
		}
		if events != "started started answered answered ended ended " {
			t.Errorf("events %s", events)
		}
	})
}

// bye is a device's BYE in the call whose INVITE it got.
func bye(invite *sip.Message, tag string, cseq int) string {
	route, _ := invite.Value(sip.RecordRoute)
	from, _ := invite.Value(sip.From)
	to, _ := invite.Value(sip.To)
	return "BYE sip:alice@192.0.2.10:5060 SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.20:5060;branch=z9hG4bKbye" + strconv.Itoa(cseq) + "\nMax-Forwards: 70\nRoute: " + route +
		"\nFrom: " + to + ";tag=" + tag + "\nTo: " + from + "\nCall-ID: " + invite.CallID + "\nCSeq: " + strconv.Itoa(cseq) + " BYE\nContent-Length: 0\n\n"
}

// How a call that is not answered comes out.
func TestRecordOfFailure(t *testing.T) {
	for _, c := range []struct {
		name    string
		play    func(w *world)
		status  int
		outcome callrecord.Outcome
		reason  string
	}{
		{"busy", func(w *world) {
			w.receive(deviceA, response(w.next(deviceA, "INVITE"), 486, "a"))
		}, 486, callrecord.Outcome{Status: callrecord.Busy, Cause: callrecord.BusyLine, Source: callrecord.Callee}, ""},
		{"the device fails", func(w *world) {
			w.receive(deviceA, response(w.next(deviceA, "INVITE"), 503, "a"))
		}, 500, callrecord.Outcome{Status: callrecord.Failed, Cause: callrecord.RemoteFailure, Source: callrecord.Callee}, ""},
		{"cancelled", func(w *world) {
			a := w.next(deviceA, "INVITE")
			w.receive(deviceA, response(a, 180, "a"))
			w.receive(caller, cancel)
			w.receive(deviceA, response(a, 487, "a"))
		}, 487, callrecord.Outcome{Status: callrecord.Cancelled, Cause: callrecord.ByCaller, Source: callrecord.Caller}, ""},
		{"nobody answers", func(w *world) {
			a := w.next(deviceA, "INVITE")
			w.receive(deviceA, response(a, 180, "a"))
			time.Sleep(191 * time.Second)
			w.receive(deviceA, response(a, 487, "a"))
		}, 408, callrecord.Outcome{Status: callrecord.NoAnswer, Cause: callrecord.RingTimeout, Source: callrecord.Platform}, "call.no_answer"},
		{"the device is silent", func(*world) {
			time.Sleep(33 * time.Second)
		}, 408, callrecord.Outcome{Status: callrecord.NoAnswer, Cause: callrecord.NoResponse, Source: callrecord.Platform}, "endpoint.no_response"},
		{"the device cannot be reached", func(w *world) {}, 480, callrecord.Outcome{Status: callrecord.Failed, Cause: callrecord.EndpointGone, Source: callrecord.Platform}, "endpoint.unreachable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.dead[deviceA] = strings.Contains(c.name, "reached")
				w.begin(invite, udp(caller), alice, binding(deviceA))
				c.play(w)
				r := w.record("MA_ALICE")
				if got := (callrecord.Outcome{Status: r.Status, Cause: r.Cause, Source: r.Source}); got != c.outcome || r.SIPCode != c.status || r.Reason != c.reason {
					t.Errorf("%+v, %d, %q", got, r.SIPCode, r.Reason)
				}
				if r.Live() || !r.Answer.IsZero() || w.proxy.Stats().Calls != 0 {
					t.Errorf("%+v, and %d calls are open", r, w.proxy.Stats().Calls)
				}
			})
		})
	}
}

// A call within an account has one record; one of strangers has none.
func TestRecordsByAccount(t *testing.T) {
	inWorld(t, func(w *world) {
		mate := alice
		mate.Owner = "MA_BOB"
		w.begin(invite, udp(caller), mate, binding(deviceA))
		if live := w.proxy.Live("MA_BOB"); len(live) != 1 || live[0].Status != callrecord.Ringing || live[0].Direction != callrecord.Internal || live[0].Endpoint != 3 || live[0].Peer != 7 {
			t.Errorf("live: %+v", live)
		}
		if live := w.proxy.Live("MA_OTHER"); len(live) != 0 {
			t.Errorf("another account sees %+v", live)
		}
		id := w.proxy.Live("MA_BOB")[0].ID
		if got := w.proxy.LiveCall(id); len(got) != 1 || got[0].ID != id {
			t.Errorf("%+v", got)
		}
		w.receive(deviceA, response(w.next(deviceA, "INVITE"), 600, "a"))
		if r := w.record("MA_BOB"); r.Status != callrecord.Busy {
			t.Errorf("%+v", r)
		}
		if len(w.proxy.LiveCall(id))+len(w.proxy.Live("MA_BOB")) != 0 || w.proxy.CallsOf(7) != 0 {
			t.Error("it is still live")
		}
	})
}

// RFC 4028 8.3: a session that nobody refreshes is over, without a BYE of ours.
func TestSessionExpires(t *testing.T) {
	inWorld(t, func(w *world) {
		w.begin(invite, udp(caller), alice, binding(deviceA))
		w.next(caller, "SIP/2.0 100")
		a := w.next(deviceA, "INVITE")
		timed := func(text string) string {
			return strings.Replace(text, "Content-Length", "Session-Expires: 90;refresher=uac\nContent-Length", 1)
		}
		w.receive(deviceA, timed(response(a, 200, "a")))
		ok := w.next(caller, "SIP/2.0 200")
		w.receive(caller, inDialog("ACK", 1, ok))
		w.next(deviceA, "ACK")
		time.Sleep(80 * time.Second)
		w.receive(caller, inDialog("UPDATE", 2, ok))
		w.receive(deviceA, timed(response(w.next(deviceA, "UPDATE"), 200, "a")))
		w.next(caller, "SIP/2.0 200")
		time.Sleep(100 * time.Second) // past the first time, not past the second
		if w.proxy.Stats().Calls != 1 {
			t.Fatal("the refresh did not count")
		}
		time.Sleep(25 * time.Second)
		w.nothing(deviceA)
		w.nothing(caller)
		if r := w.record("MA_ALICE"); r.Cause != callrecord.SessionExpired || r.Status != callrecord.Completed {
			t.Errorf("%+v", r)
		}
	})
}

func TestCodecOf(t *testing.T) {
	for sdp, want := range map[string]string{
		"":                                 "",
		"v=0\r\nm=audio 1 RTP/AVP 0 8\r\n": "PCMU",
		"v=0\r\nm=audio 1 RTP/AVP 8\r\n":   "PCMA",
		"v=0\r\nm=audio 1 RTP/AVP 96 0\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:96 opus/48000/2\r\n": "opus",
		"v=0\r\nm=audio 1 RTP/AVP 97\r\na=rtpmap:97 X-new/8000\r\n":                             "X-new",
		"v=0\r\nm=audio 1 RTP/AVP 97\r\nm=video 2 RTP/AVP 97\r\na=rtpmap:97 VP8/90000\r\n":      "",
		"v=0\r\nm=video 2 RTP/AVP 97\r\nm=audio 1 RTP/AVP 18\r\n":                               "G729",
		"v=0\r\nm=audio 1 RTP/AVP\r\n":                                                          "",
		"v=0\r\ns=m=audio 1 RTP/AVP 0\r\n":                                                      "",
	} {
		if got := codecOf([]byte(sdp)); got != want {
			t.Errorf("%q: %q, wants %q", sdp, got, want)
		}
	}
}
