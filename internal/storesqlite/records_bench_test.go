package storesqlite

import (
	"path/filepath"
	"testing"
	"time"

	"onhook/internal/callrecord"
)

// BenchmarkSaveRecords stores call records in the batches of a busy outbox.
func BenchmarkSaveRecords(b *testing.B) {
	s, err := Open(b.Context(), filepath.Join(b.TempDir(), "db"), testKeys(b))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	batch := make([]*callrecord.Record, 100)
	for n := 0; b.Loop(); n++ {
		for i := range batch {
			at := start.Add(time.Duration(n*len(batch)+i) * time.Millisecond)
			batch[i] = &callrecord.Record{ID: callrecord.NewID(at), Account: "MA_AAAAAAAA", Main: "MA_AAAAAAAA", Endpoint: 100_000_000_000_001, Peer: 100_000_000_000_002,
				Direction: callrecord.Internal, From: "sip:alice@sip.test", To: "sip:bob@sip.test", Start: at, Answer: at, End: at, Status: callrecord.Completed,
				Cause: callrecord.NormalHangup, Source: callrecord.Caller, SIPCode: 200, Codec: "PCMU", UserAgent: "phone/1", Transport: "udp",
				Legs: []callrecord.Leg{{To: "sip:bob@sip.test", Contact: "sip:bob@192.0.2.1:5060", Start: at, Answer: at, End: at, SIPCode: 200}}}
		}
		if err := s.SaveRecords(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batch)), "ns/record")
}
