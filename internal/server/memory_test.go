package server

import (
	"math"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestPercentFor(t *testing.T) {
	for _, c := range []struct {
		live, room uint64
		want       int
	}{
		{0, 256 << 20, 1000}, {4 << 20, 256 << 20, 1000}, {64 << 20, 256 << 20, 400}, {128 << 20, 256 << 20, 200}, {400 << 20, 256 << 20, 64},
		{1 << 30, 256 << 20, 50}, {32 << 20, 64 << 20, 200}, {32 << 20, 8 << 20, 50},
	} {
		if got := percentFor(c.live, c.room); got != c.want {
			t.Errorf("%d MiB live with room for %d: %d %%, want %d", c.live>>20, c.room>>20, got, c.want)
		}
	}
}

// A server gives memory back once it is quiet, if it holds much more than it
// needs, and not at each look.
func TestCalm(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		name       string
		live, held uint64
		allocs     []uint64 // between the looks
		want       []bool
	}{
		{"a storm that is over", 100 * mib, 300 * mib, []uint64{500 * mib, 90 * mib, 0, mib, 0, 0, 0, 0}, []bool{false, false, false, false, true, false, false, true}},
		{"always busy", 100 * mib, 300 * mib, []uint64{mib + 1, mib + 1, mib + 1, mib + 1}, []bool{false, false, false, false}},
		{"busy now and then", 100 * mib, 300 * mib, []uint64{0, 0, 2 * mib, 0, 0, 2 * mib}, []bool{false, false, false, false, false, false}},
		{"a small heap with little garbage", 4 * mib, 35 * mib, []uint64{0, 0, 0, 0}, []bool{false, false, false, false}},
		{"a small heap with much", 4 * mib, 36 * mib, []uint64{0, 0, 0}, []bool{false, false, true}},
		{"a large heap with little garbage", 1000 * mib, 1249 * mib, []uint64{0, 0, 0, 0}, []bool{false, false, false, false}},
		{"a large heap with much", 1000 * mib, 1250 * mib, []uint64{0, 0, 0}, []bool{false, false, true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var quiet calm
			h := heap{live: c.live, held: c.held}
			for i, n := range c.allocs {
				h.allocs += n
				if got := quiet.wasteful(h); got != c.want[i] {
					t.Errorf("look %d: %v", i, got)
				}
			}
		})
	}
}

// The runtime has the figures by the names that are asked for.
func TestLookAtHeap(t *testing.T) {
	runtime.GC()
	before := lookAtHeap()
	block := make([]byte, 8<<20)
	after := lookAtHeap()
	runtime.KeepAlive(block)
	if before.live == 0 || after.held < 8<<20 || after.allocs-before.allocs < 8<<20 {
		t.Errorf("%+v, and with 8 MiB more %+v", before, after)
	}
}

func TestAllMemory(t *testing.T) {
	const machine = "MemTotal:        1024 kB\nMemFree:            8 kB\n"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  uint64
	}{
		{"a system that tells nothing", nil, math.MaxInt64},
		{"a machine", map[string]string{"proc/meminfo": machine}, 1 << 20},
		{"a service with a limit", map[string]string{"proc/meminfo": machine, "proc/self/cgroup": "0::/system.slice/onhook.service\n",
			"sys/fs/cgroup/system.slice/onhook.service/memory.max": "524288\n"}, 512 << 10},
		{"a container without one", map[string]string{"proc/meminfo": machine, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, 1 << 20},
		{"an old control group", map[string]string{"proc/meminfo": machine, "proc/self/cgroup": "4:memory:/x\n"}, 1 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			for path, text := range c.files {
				path = filepath.Join(root, path)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := allMemory(root); got != c.want {
				t.Errorf("%d bytes, want %d", got, c.want)
			}
		})
	}
}
