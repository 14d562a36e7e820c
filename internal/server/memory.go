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

// tendMemory keeps the collector's pace as garbageRoom wants it until ctx ends.
// A GOGC in the environment is the operator's word. First of all it gives back
// what the loading of endpoints and bindings has left behind.
func tendMemory(ctx context.Context) error {
	debug.FreeOSMemory()
	if os.Getenv("GOGC") != "" {
		return nil
	}
	room := min(garbageRoom, allMemory("/")/8)
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	tick := time.NewTicker(memoryLook)
	defer tick.Stop()
	percent := usualPercent
	for {
		metrics.Read(live)
		if want := percentFor(live[0].Value.Uint64(), room); max(want-percent, percent-want) >= percentChange {
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
