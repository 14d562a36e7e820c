package sipproxy

import (
	"log/slog"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"onhook/internal/location"
	"onhook/internal/routing"
	"onhook/internal/sip"
	"onhook/internal/siptransaction"
)

// wire is a transport that keeps the last message to each side.
type wire struct {
	mu       sync.Mutex
	toCaller []byte
	toDevice []byte
}

func (w *wire) Send(flow sip.Flow, msg []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if flow.Remote == caller {
		w.toCaller = append(w.toCaller[:0], msg...)
	} else {
		w.toDevice = append(w.toDevice[:0], msg...)
	}
	return nil
}

func (w *wire) Dial(sip.Transport, netip.AddrPort, string) (sip.Flow, error) {
	return sip.Flow{}, errFlowGone
}
func (w *wire) Alive(sip.Flow) bool                                              { return true }
func (w *wire) SentBy(sip.Flow) string                                           { return "192.0.2.1:5060" }
func (w *wire) Lookup(_ location.Key, dst []location.Binding) []location.Binding { return dst }

const offer = "v=0\r\no=alice 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n"

// bench plays whole calls over TCP: no retransmission timers, no half minute of
// finished transactions that would measure the memory of the benchmark.
type bench struct {
	b        testing.TB
	wire     *wire
	layer    *siptransaction.Layer
	proxy    *Proxy
	from, to sip.Flow
	m        sip.Message
	buf      []byte
}

func (x *bench) receive(text []byte, flow sip.Flow) {
	x.buf = append(x.buf[:0], text...)
	if err := x.m.Parse(x.buf); err != nil {
		x.b.Fatal(err)
	}
	if x.layer.Receive(&x.m, flow) {
		return
	}
	if x.m.Method == sip.ACK {
		x.proxy.ACK(&x.m, flow)
		return
	}
	if x.m.To.Tag() == "" {
		tx, ok := x.layer.Begin(&x.m, flow)
		if !ok {
			x.b.Fatal("no transaction")
		}
		x.proxy.Forward(tx, &x.m, flow, Caller{}, routing.Decision{Callee: routing.Endpoint{ID: 7},
			Targets: []location.Binding{{Contact: "sip:bob@192.0.2.20:5060", Q: 1000, Flow: x.to}}})
		return
	}
	a, refusal := x.proxy.Admit(&x.m, flow)
	if refusal != nil {
		x.b.Fatal(refusal)
	}
	tx, ok := x.layer.Begin(&x.m, flow)
	if !ok {
		x.b.Fatal("no transaction")
	}
	x.proxy.ForwardInDialog(tx, &x.m, flow, a)
}

// answer makes a device's answer to what it got last.
func (x *bench) answer(status int, body string) []byte {
	var req sip.Message
	if err := req.Parse(x.wire.toDevice); err != nil {
		x.b.Fatal(err)
	}
	msg := sip.AppendReply(nil, &req, netip.AddrPort{}, status, "", "bobtag")
	for c := req.Values(sip.RecordRoute); c.Next(); {
		msg = sip.AppendHeader(msg, sip.RecordRoute, c.Value)
	}
	return sip.AppendBody(sip.AppendHeader(msg, sip.Contact, "<sip:bob@192.0.2.20:5060>"), []byte(body))
}

func newBench(b testing.TB) *bench {
	b.Helper()
	w := &wire{}
	layer := siptransaction.New(siptransaction.Config{Sender: w, MaxTransactions: 1 << 30})
	proxy, err := New(Config{Transport: w, Transactions: layer, Bindings: w, Key: []byte("key"), Logger: slog.New(slog.DiscardHandler),
		Ours: func(host string, _ uint16) bool { return host == "192.0.2.1" }})
	if err != nil {
		b.Fatal(err)
	}
	return &bench{b: b, wire: w, layer: layer, proxy: proxy,
		from: sip.Flow{Transport: sip.TCP, Conn: 1, Remote: caller}, to: sip.Flow{Transport: sip.TCP, Conn: 2, Remote: deviceA}}
}

var inviteWithOffer = strings.Replace(strings.Replace(crlf(invite), "/UDP", "/TCP", 1), "Content-Length: 0\r\n\r\n",
	"Content-Type: application/sdp\r\nContent-Length: "+strconv.Itoa(len(offer))+"\r\n\r\n"+offer, 1)

// call plays one call.
func (x *bench) call(receive func([]byte, sip.Flow)) {
	branch := siptransaction.NewBranch()
	receive([]byte(strings.Replace(inviteWithOffer, "z9hG4bKinvite", branch, 1)), x.from)
	ringing, ok := x.answer(180, ""), x.answer(200, offer)
	receive(ringing, x.to)
	receive(ok, x.to)
	var answered sip.Message
	if err := answered.Parse(x.wire.toCaller); err != nil {
		x.b.Fatal(err)
	}
	ack, bye := crlf(inDialog("ACK", 1, &answered)), crlf(inDialog("BYE", 2, &answered))
	receive([]byte(strings.Replace(ack, "z9hG4bKACK", branch+"a", 1)), x.from)
	receive([]byte(strings.Replace(bye, "z9hG4bKBYE", branch+"b", 1)), x.from)
	receive(x.answer(200, ""), x.to)
}

// A forwarded ACK costs its branch, its admission and its cookie.
func TestAllocationsOfACK(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector makes sync.Pool forget at random")
	}
	x := newBench(t)
	x.receive([]byte(strings.Replace(crlf(invite), "/UDP", "/TCP", 1)), x.from)
	x.receive(x.answer(200, ""), x.to)
	var answered sip.Message
	if err := answered.Parse(x.wire.toCaller); err != nil {
		t.Fatal(err)
	}
	ack := []byte(crlf(inDialog("ACK", 1, &answered)))
	got := testing.AllocsPerRun(200, func() { x.receive(ack, x.from) })
	if x.proxy.Stats().Stray != 0 {
		t.Fatal("the ACK was dropped")
	}
	if got > 4 {
		t.Errorf("%v allocations", got)
	}
}

// A whole call costs what its transactions, its fork and its state cost: what the
// test itself makes is not counted.
func TestAllocationsOfCall(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector makes sync.Pool forget at random")
	}
	x := newBench(t)
	const most = 37
	var spent uint64
	var before, after runtime.MemStats
	counted := func(text []byte, flow sip.Flow) {
		runtime.ReadMemStats(&before)
		x.receive(text, flow)
		runtime.ReadMemStats(&after)
		spent += after.Mallocs - before.Mallocs
	}
	const calls = 100
	for i := range calls + 1 {
		if i == 1 {
			spent = 0 // the first fills pools and tables
		}
		x.call(counted)
	}
	if got := float64(spent) / calls; got > most {
		t.Errorf("%v allocations, want at most %v", got, most)
	}
	if n := x.proxy.Stats().Calls; n != 0 {
		t.Fatalf("%d calls are open", n)
	}
}

// BenchmarkCall is INVITE, 180, 200, ACK, BYE, 200 through the proxy, with the
// parsing of the six and the test's own making of three answers.
func BenchmarkCall(b *testing.B) {
	x := newBench(b)
	b.ReportAllocs()
	for b.Loop() {
		x.call(x.receive)
	}
	if n := x.proxy.Stats().Calls; n != 0 {
		b.Fatalf("%d calls are open", n)
	}
}
