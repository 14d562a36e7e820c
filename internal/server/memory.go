package server

import (
	"context"
	"os"
	"path/filepath"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"
)

// A call or an API request leaves some garbage behind. With Go's default a
// collection follows whenever it is as much as what lives, which in a server
// with few endpoints is soon: calls would spend a tenth of their CPU there, and
// those that come meanwhile ring some milliseconds later. So there may be this
// much garbage in any case, or an eighth of all memory; a large server has half as
// much garbage as it has live, since there the default would double its memory.
const garbageRoom = 256 << 20

const (
	memoryLook    = time.Second
	leastPercent  = 50
	usualPercent  = 100 // Go's default
	mostPercent   = 1000
	percentChange = 10 // smaller ones are not worth stopping the program
)

// A server that has been quiet for a few looks gives back what it does not need:
// after a storm of registrations that is as much again as what lives, and the
// room above would keep it for hours.
const (
	quietLooks  = 3
	quietAllocs = 1 << 20  // bytes between two looks, at most
	leastWaste  = 32 << 20 // bytes, and a quarter of what lives; less is not worth a collection
)

// tendMemory keeps the collector's pace as garbageRoom wants it until ctx ends,
// and gives back what a busy time has left behind; first of all the loading of
// endpoints and bindings. A GOGC in the environment is the operator's word.
func tendMemory(ctx context.Context) error {
	debug.FreeOSMemory()
	if os.Getenv("GOGC") != "" {
		return nil
	}
	room := min(garbageRoom, allMemory("/")/8)
	tick := time.NewTicker(memoryLook)
	defer tick.Stop()
	percent := usualPercent
	var quiet calm
	for {
		heap := lookAtHeap()
		if want := percentFor(heap.live, room); max(want-percent, percent-want) >= percentChange {
			debug.SetGCPercent(want)
			percent = want
		}
		if quiet.wasteful(heap) {
			debug.FreeOSMemory()
		}
		select {
		case <-ctx.Done():
			debug.SetGCPercent(usualPercent)
			return nil
		case <-tick.C:
		}
	}
}

// heap is the state of the heap, in bytes.
type heap struct {
	live   uint64 // at the end of the last collection
	held   uint64 // of memory: what lives, garbage, and room for more
	allocs uint64 // since the start of the program
}

func lookAtHeap() heap {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return heap{live: s[0].Value.Uint64(), held: s[1].Value.Uint64() + s[2].Value.Uint64(), allocs: s[3].Value.Uint64()}
}

// calm notices when a server has become quiet.
type calm struct {
	allocs uint64 // at the last look
	looks  int    // in a row without much between them
}

// wasteful is told the heap at each look. It reports whether it has been quiet
// and holds much more than it needs.
func (c *calm) wasteful(h heap) bool {
	if h.allocs-c.allocs <= quietAllocs {
		c.looks++
	} else {
		c.looks = 0
	}
	c.allocs = h.allocs
	if c.looks < quietLooks || h.held < h.live+max(leastWaste, h.live/4) {
		return false
	}
	c.looks = 0
	return true
}

// percentFor is the GOGC that leaves room to a heap.
func percentFor(live, room uint64) int {
	return int(min(max(room*100/max(live, 1), leastPercent), mostPercent))
}

// allMemory is how many bytes this process may use: the least of what the machine
// has (proc_meminfo(5)), what its control group may use (cgroups(7), version 2)
// and what GOMEMLIMIT says. What the system does not tell is no limit.
func allMemory(root string) uint64 {
	all := uint64(debug.SetMemoryLimit(-1))
	for line := range strings.Lines(textOf(root, "proc/meminfo")) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "MemTotal:" {
			if kib, err := strconv.ParseUint(f[1], 10, 64); err == nil {
				all = min(all, kib<<10)
			}
		}
	}
	for line := range strings.Lines(textOf(root, "proc/self/cgroup")) {
		group, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue
		}
		limit := strings.TrimSpace(textOf(root, filepath.Join("sys/fs/cgroup", group, "memory.max")))
		if n, err := strconv.ParseUint(limit, 10, 64); err == nil { // or "max"
			all = min(all, n)
		}
	}
	return all
}

// textOf is a file's text, none where there is no such file.
func textOf(root, path string) string {
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		return ""
	}
	return string(text)
}
