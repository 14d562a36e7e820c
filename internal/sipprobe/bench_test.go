package sipprobe

import (
	"testing"
	"time"

	"onhook/internal/location"
	"onhook/internal/location/journaltest"
	"onhook/internal/sip"
)

// BenchmarkProbe is one probe and its answer among 100,000 bindings.
func BenchmarkProbe(b *testing.B) {
	const bindings = 100_000
	index := location.New(location.Config{Journal: journaltest.NewDiscard(), MaxPending: bindings + 1})
	go func() { _ = index.Run(b.Context()) }()
	for n := range bindings {
		if err := index.Update(location.Key(n), adder{Contact: "sip:alice@10.0.0.1:5060;transport=udp", Q: 1000, CallID: "c", Flow: flow(n), BehindNAT: true}); err != nil {
			b.Fatal(err)
		}
	}
	answer := new(sip.Message)
	var p *Prober
	p = New(Config{Index: index, SentBy: func(sip.Flow) string { return "198.51.100.1:5060" }, Send: func(flow sip.Flow, msg []byte) error {
		if err := answer.Parse(sip.AppendBody(sip.AppendReply(nil, parse(b, msg), flow.Remote, 200, "", "d"), nil)); err != nil {
			b.Fatal(err)
		}
		p.Response(answer)
		return nil
	}})
	b.ReportAllocs()
	for b.Loop() {
		p.next(time.Now())
		p.overdue(time.Now().Add(time.Hour))
	}
}

func parse(b *testing.B, msg []byte) *sip.Message {
	m := new(sip.Message)
	if err := m.Parse(msg); err != nil {
		b.Fatal(err)
	}
	return m
}
