package main

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// rig is the machine.
type rig struct{ system, kernel, cpu, load string }

func readRig() rig {
	return rig{
		system: valueOf("/etc/os-release", "=", "PRETTY_NAME", "Linux"),
		kernel: firstField("/proc/sys/kernel/osrelease"),
		cpu:    strconv.Itoa(runtime.NumCPU()) + " × " + valueOf("/proc/cpuinfo", ":", "model name", "unknown CPU"),
		load:   firstField("/proc/loadavg"),
	}
}

// valueOf finds a name in a file of lines "name SEPARATOR value".
func valueOf(path, separator, name, otherwise string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return otherwise
	}
	for line := range strings.Lines(string(text)) {
		if n, value, ok := strings.Cut(line, separator); ok && strings.TrimSpace(n) == name {
			return strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return otherwise
}

func firstField(path string) string {
	text, err := os.ReadFile(path)
	if fields := strings.Fields(string(text)); err == nil && len(fields) > 0 {
		return fields[0]
	}
	return "unknown"
}

// kernelDrops counts the datagrams that the kernel has dropped for a full
// socket buffer, of any process.
func kernelDrops() int {
	text, err := os.ReadFile("/proc/net/snmp")
	if err != nil {
		return 0
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] != "Udp:" {
			continue
		}
		if names == nil {
			names = f
			continue
		}
		drops := 0
		for _, name := range []string{"RcvbufErrors", "SndbufErrors"} {
			if i := slices.Index(names, name); i >= 0 && i < len(f) {
				n, err := strconv.Atoi(f[i])
				if err == nil {
					drops += n
				}
			}
		}
		return drops
	}
	return 0
}

// syncPause is between two writes: a disk that is kept busy answers many times
// faster than one that has to wake up, which is what a server waits for.
const syncPause = 500 * time.Microsecond

// syncTimes measures what one write of 4 KiB with fdatasync takes where the
// servers have their files, over one that has its size: sorted.
func syncTimes(dir string) (times []time.Duration, err error) {
	const writes, length = 500, 256
	page := make([]byte, 4096)
	f, err := os.Create(filepath.Join(dir, "sync"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for range length {
		if _, err := f.Write(page); err != nil {
			return nil, err
		}
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	for i := range writes {
		time.Sleep(syncPause)
		start := time.Now()
		if _, err := f.WriteAt(page, int64(i%length*len(page))); err != nil {
			return nil, err
		}
		if err := dataSync(f); err != nil {
			return nil, err
		}
		times = append(times, time.Since(start))
	}
	return sorted(times), nil
}
