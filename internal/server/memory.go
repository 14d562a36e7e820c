package server

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// A call or an API request leaves some garbage behind. With Go's default a
// collection follows whenever it is as much as what lives, which in a server
// with few endpoints is soon: calls would spend a tenth of their CPU there. So
// there may be this much garbage in any case; a large server has half as much
// garbage as it has live, since there the default would double its memory.
const garbageRoom = 128 << 20

const (
	memoryLook    = time.Second
	leastPercent  = 50
	usualPercent  = 100 // Go's default
	mostPercent   = 1000
	percentChange = 10 // smaller ones are not worth stopping the program
)

// tendMemory keeps the collector's pace as garbageRoom wants it until ctx ends.
// A GOGC in the environment is the operator's word. First of all it gives back
// what the loading of endpoints and bindings has left behind.
func tendMemory(ctx context.Context) error {
	debug.FreeOSMemory()
	if os.Getenv("GOGC") != "" {
		return nil
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	tick := time.NewTicker(memoryLook)
	defer tick.Stop()
	percent := usualPercent
	for {
		metrics.Read(live)
		if want := percentFor(live[0].Value.Uint64()); max(want-percent, percent-want) >= percentChange {
			debug.SetGCPercent(want)
			percent = want
		}
		select {
		case <-ctx.Done():
			debug.SetGCPercent(usualPercent)
			return nil
		case <-tick.C:
		}
	}
}

// percentFor is the GOGC that leaves garbageRoom to a heap.
func percentFor(live uint64) int {
	return int(min(max(garbageRoom*100/max(live, 1), leastPercent), mostPercent))
}
