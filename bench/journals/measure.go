package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	"onhook/internal/location"
)

const (
	valueSize = 300    // of a phone's record
	keys      = 20_000 // that are written again and again
)

// groups are the records of one commit: a lone REGISTER, some, a storm.
var groups = [...]int{1, 16, 200}

// commits is what one run of commits showed.
type commits struct {
	perSecond float64       // records
	cpu       float64       // microseconds for each record, of all threads, the engine's background work included
	p99       time.Duration // of a commit
}

// fill makes a batch of records, a different key each. Their values hold nothing
// to compress.
func fill(batch []location.Record, values []byte, n, keys int) {
	for i := range batch {
		at := (n + i) % keys
		from := at * valueSize % (len(values) - valueSize)
		batch[i] = location.Record{Key: location.Key(1 + at), Value: values[from : from+valueSize]}
	}
}

func randomBytes() []byte {
	b := make([]byte, 1<<20)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

func measureCommits(e engine, parent string, group int, limit time.Duration) (c commits, err error) {
	dir, err := os.MkdirTemp(parent, "commits-")
	if err != nil {
		return c, err
	}
	defer os.RemoveAll(dir)
	j, err := e.open(dir)
	if err != nil {
		return c, err
	}
	defer func() {
		if closing := j.Close(); err == nil {
			err = closing
		}
	}()
	values, batch := randomBytes(), make([]location.Record, group)
	took := make([]time.Duration, 0, 1<<16)
	n := 0
	began, cpu := time.Now(), cpuTime()
	for time.Since(began) < limit {
		fill(batch, values, n, keys)
		start := time.Now()
		if err := j.Commit(batch); err != nil {
			return c, err
		}
		took = append(took, time.Since(start))
		n += group
	}
	c.perSecond = float64(n) / time.Since(began).Seconds()
	c.cpu = float64((cpuTime() - cpu).Nanoseconds()) / 1e3 / float64(n)
	slices.Sort(took)
	c.p99 = took[len(took)*99/100]
	return c, nil
}

// measureSync measures what the disk alone takes: a page written again and
// synced.
func measureSync(parent string, limit time.Duration) (p99 time.Duration, err error) {
	f, err := os.CreateTemp(parent, "sync-")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	page := make([]byte, 4096)
	var took []time.Duration
	for began := time.Now(); time.Since(began) < limit; {
		start := time.Now()
		if _, err := f.WriteAt(page, 0); err != nil {
			return 0, err
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return 0, err
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	return took[len(took)*99/100], nil
}

// load is what a restart showed.
type load struct {
	took  time.Duration // Open and Load
	bytes int64         // on the disk
	heap  int64         // bytes of the opened engine on the Go heap
}

// measureLoad writes records, half of them a second time, and starts anew.
func measureLoad(e engine, parent string, records int) (l load, err error) {
	dir, err := os.MkdirTemp(parent, "load-")
	if err != nil {
		return l, err
	}
	defer os.RemoveAll(dir)
	j, err := e.open(dir)
	if err != nil {
		return l, err
	}
	values, batch := randomBytes(), make([]location.Record, 1000)
	for n := 0; n < records*3/2; n += len(batch) {
		fill(batch, values, n, records)
		if err := j.Commit(batch); err != nil {
			return l, err
		}
	}
	if err := j.Close(); err != nil {
		return l, err
	}
	if l.bytes, err = used(dir); err != nil {
		return l, err
	}
	before := heap()
	began := time.Now()
	if j, err = e.open(dir); err != nil {
		return l, err
	}
	found := 0
	if err := j.Load(func(location.Key, []byte) error { found++; return nil }); err != nil {
		return l, err
	}
	l.took = time.Since(began)
	l.heap = heap() - before
	if found != records {
		return l, fmt.Errorf("%d records of %d came back", found, records)
	}
	return l, j.Close()
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// used returns the bytes that the files of a folder take.
func used(dir string) (sum int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		sum += info.Sys().(*syscall.Stat_t).Blocks * 512
		return nil
	})
	return sum, err
}

// cpuTime is what the process has used so far.
func cpuTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
