package locationpebble

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"onhook/internal/location"
	"onhook/internal/location/journaltest"
)

func open(t *testing.T, cfg Config) *Journal {
	t.Helper()
	j, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func rec(key location.Key, value string) location.Record {
	return location.Record{Key: key, Value: []byte(value)}
}

func TestConformance(t *testing.T) {
	dir := t.TempDir()
	journaltest.Run(t, func(t *testing.T) location.Journal { return open(t, Config{Dir: dir}) })
}

func TestInUse(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Config{Dir: dir})
	if _, err := Open(Config{Dir: dir}); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("second Open: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open(t, Config{Dir: dir}).Close(); err != nil {
		t.Fatal(err)
	}
}

// crashed returns a copy of what a process that was killed would leave of j.
func crashed(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func logFile(t *testing.T, dir string) string {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("no write-ahead log: %v", err)
	}
	return logs[len(logs)-1]
}

// written returns the length of the log without preallocated zeros.
func written(t *testing.T, file string) ([]byte, int) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b, len(bytes.TrimRight(b, "\x00"))
}

// A crash in the middle of a write leaves half a record at the log's end: it
// was never acknowledged, all before it was. That is survived and told.
func TestTornTail(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Config{Dir: dir})
	defer j.Close()
	for i := range 50 {
		if err := j.Commit([]location.Record{rec(location.Key(i), strings.Repeat("v", 300))}); err != nil {
			t.Fatal(err)
		}
	}
	for _, cut := range []int{1, 100, 299} {
		dir := crashed(t, dir)
		file := logFile(t, dir)
		b, n := written(t, file)
		if err := os.WriteFile(file, b[:n-cut], 0o600); err != nil {
			t.Fatal(err)
		}
		var told bytes.Buffer
		j := open(t, Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(&told, nil))})
		for i := range 49 {
			if v, err := j.Get(location.Key(i), nil); err != nil || len(v) != 300 {
				t.Errorf("cut %d: %d is gone: %d bytes, %v", cut, i, len(v), err)
			}
		}
		if v, err := j.Get(49, nil); err != nil || len(v) != 0 {
			t.Errorf("cut %d: half a record came back: %q %v", cut, v, err)
		}
		if !strings.Contains(told.String(), "was not closed") || !strings.Contains(told.String(), "stopped reading at offset") {
			t.Errorf("cut %d: not told: %s", cut, told.String())
		}
		if err := j.Commit([]location.Record{rec(49, "again")}); err != nil {
			t.Error(err)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
		told.Reset()
		if err := open(t, Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(&told, nil))}).Close(); err != nil || told.Len() > 0 {
			t.Errorf("after a clean end: %v, told %q", err, told.String())
		}
	}
}

// Damage in the middle is no torn tail: acknowledged records would be lost in
// silence.
func TestCorruptLog(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Config{Dir: dir})
	defer j.Close()
	for i := range 500 {
		if err := j.Commit([]location.Record{rec(location.Key(i), strings.Repeat("v", 300))}); err != nil {
			t.Fatal(err)
		}
	}
	damaged := crashed(t, dir)
	file := logFile(t, damaged)
	b, n := written(t, file)
	copy(b[n/4:], "damage damage damage")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(Config{Dir: damaged})
	if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), damaged) {
		t.Errorf("Open of a damaged log: %v", err)
	}
}

func TestCorruptTable(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Config{Dir: dir})
	for i := range 500 {
		if err := j.Commit([]location.Record{rec(location.Key(i), strings.Repeat(fmt.Sprint(i), 300))}); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.db.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("no table: %v", err)
	}
	b, err := os.ReadFile(tables[0])
	if err != nil {
		t.Fatal(err)
	}
	copy(b[len(b)/3:], "damage damage damage")
	if err := os.WriteFile(tables[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	j, err = Open(Config{Dir: dir})
	if err == nil {
		err = errors.Join(j.Load(func(location.Key, []byte) error { return nil }), j.Close())
	}
	if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), dir) {
		t.Errorf("a damaged table: %v", err)
	}
}

// badDisk is a disk that fails on demand.
type badDisk struct {
	vfs.FS
	avail   atomic.Uint64
	failure atomic.Pointer[error]
	waiting chan struct{} // told at each failed write
}

func newBadDisk() *badDisk {
	d := &badDisk{FS: vfs.NewMem(), waiting: make(chan struct{}, 1)}
	d.avail.Store(1 << 40)
	return d
}

func (d *badDisk) fail(err error) {
	if err == nil {
		d.failure.Store(nil)
		return
	}
	d.failure.Store(&err)
}

func (d *badDisk) Unwrap() vfs.FS { return d.FS }
func (d *badDisk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: d.avail.Load(), TotalBytes: 1 << 40}, nil
}

func (d *badDisk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.Create(name, c)
	return &badFile{f, d}, err
}

func (d *badDisk) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.ReuseForWrite(old, name, c)
	return &badFile{f, d}, err
}

type badFile struct {
	vfs.File
	disk *badDisk
}

func (f *badFile) Write(b []byte) (int, error) {
	if err := f.disk.failure.Load(); err != nil {
		select {
		case f.disk.waiting <- struct{}{}:
		default:
		}
		n := len(b) / 2 // a full disk takes what fits
		n, _ = f.File.Write(b[:n])
		return n, *err
	}
	return f.File.Write(b)
}

// Below the reserve commits fail, nothing is changed, and they go on as soon
// as there is room.
func TestDiskFull(t *testing.T) {
	disk := newBadDisk()
	j := open(t, Config{Dir: "j", fs: disk})
	if err := j.Commit([]location.Record{rec(1, "one")}); err != nil {
		t.Fatal(err)
	}
	disk.avail.Store(64<<20 - 1)
	if err := j.Commit([]location.Record{rec(1, "two"), rec(2, "two")}); !errors.Is(err, ErrDiskFull) {
		t.Errorf("on a full disk: %v", err)
	}
	if v, _ := j.Get(1, nil); string(v) != "one" {
		t.Errorf("holds %q", v)
	}
	disk.avail.Store(64 << 20)
	if err := j.Commit([]location.Record{rec(1, "three")}); err != nil {
		t.Error(err)
	}
	if v, _ := j.Get(1, nil); string(v) != "three" {
		t.Errorf("holds %q", v)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

// The last bytes of the disk go to somebody else: the write waits for room
// instead of ending the store.
func TestDiskFullInTheMiddle(t *testing.T) {
	disk := newBadDisk()
	j := open(t, Config{Dir: "j", fs: disk})
	if err := j.Commit([]location.Record{rec(1, "one")}); err != nil {
		t.Fatal(err)
	}
	disk.fail(syscall.ENOSPC)
	done := make(chan error, 1)
	go func() { done <- j.Commit([]location.Record{rec(2, strings.Repeat("two", 100000))}) }()
	<-disk.waiting
	select {
	case err := <-done:
		t.Fatalf("acknowledged on a full disk: %v", err)
	default:
	}
	disk.fail(nil)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, Config{Dir: "j", fs: disk})
	for key, want := range map[location.Key]int{1: 3, 2: 300000} {
		if v, err := j.Get(key, nil); err != nil || len(v) != want {
			t.Errorf("%d: %d bytes, %v", key, len(v), err)
		}
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

// A disk that fails otherwise ends the journal, not the process: every commit
// is refused from then on, reads go on.
func TestDiskBroken(t *testing.T) {
	disk := newBadDisk()
	var told bytes.Buffer
	j := open(t, Config{Dir: "j", fs: disk, Logger: slog.New(slog.NewTextHandler(&told, nil))})
	if err := j.Commit([]location.Record{rec(1, "one")}); err != nil {
		t.Fatal(err)
	}
	disk.fail(syscall.EIO)
	for range 2 {
		if err := j.Commit([]location.Record{rec(2, "two")}); err == nil {
			t.Fatal("acknowledged on a broken disk")
		}
	}
	if !strings.Contains(told.String(), "level=ERROR") {
		t.Errorf("not told: %s", told.String())
	}
	if err := j.Close(); err == nil {
		t.Error("Close tells nothing")
	}
	if v, err := j.Get(1, nil); err != nil || string(v) != "one" {
		t.Errorf("reads have ended too: %q %v", v, err)
	}
}

func BenchmarkCommit(b *testing.B) {
	for _, size := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			j, err := Open(Config{Dir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			defer j.Close()
			batch := make([]location.Record, size)
			value := bytes.Repeat([]byte("x"), 250)
			began := time.Now()
			n := 0
			for b.Loop() {
				for i := range batch {
					batch[i] = location.Record{Key: location.Key(n % 20000), Value: value}
					n++
				}
				if err := j.Commit(batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)/time.Since(began).Seconds(), "records/s")
		})
	}
}
