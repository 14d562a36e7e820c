package server

import (
	"math"
	"os"
	"path/filepath"
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
