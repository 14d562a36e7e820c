package storesqlite

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"onhook/internal/account"
	"onhook/internal/callrecord"
)

// BenchmarkSaveRecords stores call records in batches of an outbox: of a server
// with a thousand calls a second, and one with more than it can write at once.
// They are of calls between any two of 4000 endpoints. The time is all threads'.
func BenchmarkSaveRecords(b *testing.B) {
	for _, size := range []int{100, 500} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s, err := Open(b.Context(), filepath.Join(b.TempDir(), "db"), testKeys(b))
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
			random := rand.New(rand.NewPCG(1, 2))
			endpoint := func() account.EndpointID { return account.EndpointID(1e14 + random.Uint64N(4000)*7919) }
			batch := make([]*callrecord.Record, size)
			var cpu time.Duration
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				for i := range batch {
					at := start.Add(time.Duration(n*len(batch)+i) * time.Millisecond)
					batch[i] = &callrecord.Record{ID: callrecord.NewID(at), Account: "MA_AAAAAAAA", Main: "MA_AAAAAAAA", Endpoint: endpoint(), Peer: endpoint(),
						Direction: callrecord.Internal, From: "sip:alice@sip.test", To: "sip:bob@sip.test", Start: at, Answer: at, End: at, Status: callrecord.Completed,
						Cause: callrecord.NormalHangup, Source: callrecord.Caller, SIPCode: 200, Codec: "PCMU", UserAgent: "phone/1", Transport: "udp",
						Legs: []callrecord.Leg{{To: "sip:bob@sip.test", Contact: "sip:bob@192.0.2.1:5060", Start: at, Answer: at, End: at, SIPCode: 200}}}
				}
				before := processTime()
				if err := s.SaveRecords(b.Context(), batch); err != nil {
					b.Fatal(err)
				}
				cpu += processTime() - before
			}
			b.ReportMetric(float64(cpu.Nanoseconds())/float64(b.N*len(batch)), "cpu-ns/record")
		})
	}
}

func processTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
