package locationlog

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"onhook/internal/location"
	"onhook/internal/location/journaltest"
)

func open(t testing.TB, cfg Config) *Journal {
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

// With small segments every step rolls and compacts.
func TestConformanceSmallSegments(t *testing.T) {
	dir := t.TempDir()
	journaltest.Run(t, func(t *testing.T) location.Journal { return open(t, Config{Dir: dir, minRoom: 4 << 10}) })
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

// Files of somebody else are left alone, and told: they may be the registrations
// of another journal.
func TestStrangeFiles(t *testing.T) {
	dir := t.TempDir()
	var told bytes.Buffer
	cfg := Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(&told, nil))}
	j := open(t, cfg)
	if err := errors.Join(j.Commit([]location.Record{rec(1, "a")}), j.Close()); err != nil {
		t.Fatal(err)
	}
	if err := open(t, cfg).Close(); err != nil || told.Len() > 0 {
		t.Errorf("its own files: %v %s", err, &told)
	}
	other := filepath.Join(dir, "MANIFEST-000001")
	if err := os.WriteFile(other, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := open(t, cfg).Close(); err != nil || !strings.Contains(told.String(), "files=[MANIFEST-000001]") || !strings.Contains(told.String(), dir) {
		t.Errorf("%v %s", err, &told)
	}
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
}

// On a full disk commits fail and change nothing; they go on as soon as there
// is room, and what failed is not there after a restart.
func TestDiskFull(t *testing.T) {
	dir, disk := t.TempDir(), newMemDisk(1)
	j := open(t, Config{Dir: dir, disk: disk, minRoom: 4 << 10})
	held := state{}.after([]location.Record{rec(1, "one"), rec(2, "two")})
	if err := j.Commit([]location.Record{rec(1, "one"), rec(2, "two")}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		disk.set(func(d *memDisk) { d.failure = syscall.ENOSPC })
		for _, size := range []int{1, 10_000} { // into the segment, and into a new one
			if err := j.Commit([]location.Record{rec(1, ""), rec(3, strings.Repeat("x", size))}); !errors.Is(err, ErrDiskFull) {
				t.Errorf("on a full disk: %v", err)
			}
		}
		if got := load(t, j); !maps.Equal(got, held) {
			t.Errorf("holds %v", got)
		}
		disk.set(func(d *memDisk) { d.failure = nil })
		held[2] += " more"
		if err := j.Commit([]location.Record{rec(2, held[2])}); err != nil {
			t.Error(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	if got := load(t, open(t, Config{Dir: dir, disk: disk})); !maps.Equal(got, held) {
		t.Errorf("a restart finds %v", got)
	}
}

// After a failed fdatasync the kernel reports success for pages it has dropped.
// The frame must not count because a later one is durable.
func TestFailedSync(t *testing.T) {
	for seed := range uint64(50) {
		dir, disk := t.TempDir(), newMemDisk(seed)
		j := open(t, Config{Dir: dir, disk: disk, minRoom: 64 << 10})
		held := state{}
		for n := range 6 {
			disk.set(func(d *memDisk) { d.noSync = nil })
			if n%2 == 1 {
				disk.set(func(d *memDisk) { d.noSync = syscall.EIO })
			}
			batch := []location.Record{rec(1, fmt.Sprint(n)), rec(location.Key(n), strings.Repeat("v", 3000))}
			err := j.Commit(batch)
			if (err != nil) != (n%2 == 1) || err != nil && !errors.Is(err, syscall.EIO) {
				t.Fatalf("commit %d: %v", n, err)
			}
			if err == nil {
				held = held.after(batch)
			}
		}
		disk.set(func(d *memDisk) { d.noSync = nil })
		if err := j.Commit([]location.Record{rec(9, "nine")}); err != nil {
			t.Fatal(err)
		}
		held[9] = "nine"
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if got := load(t, open(t, Config{Dir: dir, disk: disk.crashed()})); !maps.Equal(got, held) {
			t.Fatalf("seed %d: holds %d records, want %d", seed, len(got), len(held))
		}
	}
}

// What is rewritten over and over takes a bounded multiple of its size, also
// beside records that never change.
func TestSpace(t *testing.T) {
	const room = 64 << 10
	dir, disk := t.TempDir(), newMemDisk(1)
	j := open(t, Config{Dir: dir, disk: disk, minRoom: room})
	held, live := state{}, 0
	batch := make([]location.Record, 0, 100)
	for n := range 3000 {
		batch = batch[:0]
		for k := range 100 {
			key := location.Key(n*100 + k)
			if n >= 10 { // the first 1000 keys stay as they are
				key = 1000 + key%500
			}
			batch = append(batch, rec(key, fmt.Sprint(n, strings.Repeat("v", 300))))
		}
		if err := j.Commit(batch); err != nil {
			t.Fatal(err)
		}
		held = held.after(batch)
	}
	if st := j.Stats(); st.Records != len(held) || st.Compacted == 0 || st.Compaction.IsZero() || st.Segments == 0 || st.Bytes == 0 {
		t.Errorf("%+v", st)
	}
	for _, value := range held {
		live += len(value) + 10
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, Config{Dir: dir, disk: disk, minRoom: room})
	if got := load(t, j); !maps.Equal(got, held) {
		t.Errorf("holds %d records, want %d", len(got), len(held))
	}
	if size := disk.size(); size > int64(4*live+4*max(room, live/4)) {
		t.Errorf("%d bytes of files for %d that count", size, live)
	}
	if j.first == 1 {
		t.Error("nothing was compacted")
	}
}

// Get beside commits and compaction returns a value of its key.
func TestGetBesideCompaction(t *testing.T) {
	j := open(t, Config{Dir: t.TempDir(), disk: newMemDisk(1), minRoom: 2 << 10})
	var readers sync.WaitGroup
	done := make(chan struct{})
	for r := range 2 {
		readers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				key := location.Key((n + r) % 10)
				v, err := j.Get(key, nil)
				if err != nil || len(v) > 0 && !bytes.HasPrefix(v, fmt.Appendf(nil, "%d:", key)) {
					t.Errorf("Get(%d) = %q, %v", key, v, err)
					return
				}
			}
		})
	}
	for n := range 3000 {
		key := location.Key(n % 10)
		if err := j.Commit([]location.Record{rec(key, fmt.Sprintf("%d:%d%s", key, n, strings.Repeat("v", n%200)))}); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	readers.Wait()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := j.Commit([]location.Record{rec(1, "x")}); err == nil {
		t.Error("a closed journal takes a commit")
	}
}

// A commit allocates nothing: it is on the way of every REGISTER.
func TestCommitAllocations(t *testing.T) {
	j := open(t, Config{Dir: t.TempDir()})
	defer j.Close()
	batch := make([]location.Record, 100)
	for i := range batch {
		batch[i] = rec(location.Key(i), strings.Repeat("v", 300))
	}
	commit := func() {
		if err := j.Commit(batch); err != nil {
			t.Fatal(err)
		}
	}
	commit()
	if n := testing.AllocsPerRun(100, commit); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkCommit(b *testing.B) {
	for _, size := range []int{1, 16, 200} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			j := open(b, Config{Dir: b.TempDir()})
			defer j.Close()
			batch := make([]location.Record, size)
			value := bytes.Repeat([]byte("x"), 300)
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
