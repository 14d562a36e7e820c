package sipproxy

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A call in progress takes up to 8 KB while its transactions still wait for what
// may be repeated, 4 KB afterwards, and never a goroutine.
func TestSizeOfCall(t *testing.T) {
	const n = 4000
	synctest.Test(t, func(t *testing.T) {
		x := newBench(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go x.layer.Run(ctx)
		first := strings.Replace(withBody(invite, strings.ReplaceAll(offer, "\r\n", "\n")), "/UDP", "/TCP", 1)
		goroutines, before := runtime.NumGoroutine(), heap()
		for i := range n {
			text := strings.NewReplacer("z9hG4bKinvite", fmt.Sprint("z9hG4bK", i), "call@", fmt.Sprint("call-", i, "@")).Replace(first)
			x.receive([]byte(crlf(text)), x.from)
			x.receive(x.answer(200, offer), x.to)
		}
		synctest.Wait()
		fresh := (heap() - before) / n
		time.Sleep(40 * time.Second)
		synctest.Wait()
		settled := (heap() - before) / n
		t.Logf("%d bytes a call, %d once its transactions are over", fresh, settled)
		if fresh > 8<<10 || settled > 4<<10 {
			t.Errorf("%d bytes a call, %d once its transactions are over", fresh, settled)
		}
		if got := runtime.NumGoroutine(); got > goroutines {
			t.Errorf("%d goroutines more", got-goroutines)
		}
		if calls := x.proxy.Stats().Calls; calls != n {
			t.Fatalf("%d calls are open", calls)
		}
		runtime.KeepAlive(x)
	})
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
