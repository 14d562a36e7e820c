package location_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"onhook/internal/location"
	"onhook/internal/location/journaltest"
)

// fill registers n endpoints with a contact each, as softphones write them.
func fill(tb testing.TB, x *location.Index, n int) {
	tb.Helper()
	last := make(chan error, 1)
	for key := range n {
		e := &edit{done: last, do: func(s *location.Set) error {
			s.Add(location.Binding{
				Contact:    fmt.Sprintf("sip:user%d@192.168.%d.%d:5060;transport=udp", key, key>>8&255, key&255),
				Params:     fmt.Sprintf(`;+sip.instance="<urn:uuid:00000000-0000-4000-8000-%012d>"`, key),
				InstanceID: fmt.Sprintf("urn:uuid:00000000-0000-4000-8000-%012d", key),
				Q:          1000, CallID: fmt.Sprintf("%032d@192.168.1.1", key), CSeq: 20, Flow: udp,
				UserAgent: "Linphone/5.2.0 (belle-sip/5.2.110)",
				Expires:   s.Now.Add(time.Hour + time.Duration(key)*time.Millisecond),
			})
			return nil
		}}
		if err := x.Update(location.Key(key+100_000_000_000_000), e); err != nil {
			tb.Fatal(err)
		}
		if err := <-last; err != nil {
			tb.Fatal(err)
		}
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A binding, with all that is kept for it, takes at most 700 bytes.
func TestBytesPerBinding(t *testing.T) {
	const n, limit = 100_000, 700
	before := heap()
	x := start(t, location.Config{Journal: journaltest.NewDiscard()})
	defer x.Close()
	fill(t, x, n)
	per := (heap() - before) / n
	t.Logf("%d bytes per binding at %d bindings", per, n)
	if per > limit {
		t.Errorf("%d bytes per binding, the limit is %d", per, limit)
	}
	runtime.KeepAlive(x)
}

// The first column is a refresh's cost in the index alone.
func BenchmarkRefresh(b *testing.B) {
	x := location.New(location.Config{Journal: journaltest.NewDiscard()})
	go func() { _ = x.Run(b.Context()) }()
	fill(b, x, 1000)
	last := make(chan error, 1)
	e := &edit{done: last, do: func(s *location.Set) error {
		next := s.Bindings[0]
		next.CSeq++
		s.Refresh(0, next)
		return nil
	}}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := x.Update(location.Key(i%1000+100_000_000_000_000), e); err != nil {
			b.Fatal(err)
		}
		<-last
	}
}

func BenchmarkLookup(b *testing.B) {
	x := location.New(location.Config{Journal: journaltest.NewDiscard()})
	go func() { _ = x.Run(b.Context()) }()
	fill(b, x, 1000)
	var dst []location.Binding
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		dst = x.Lookup(location.Key(i%1000+100_000_000_000_000), dst[:0])
	}
}
