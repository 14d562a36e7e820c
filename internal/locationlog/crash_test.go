package locationlog

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"onhook/internal/location"
)

type state map[location.Key]string

func load(t testing.TB, j *Journal) state {
	t.Helper()
	got := state{}
	err := j.Load(func(key location.Key, value []byte) error {
		if _, twice := got[key]; twice {
			return fmt.Errorf("%d comes twice", key)
		}
		got[key] = string(value)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range got {
		if v, err := j.Get(key, nil); err != nil || string(v) != value {
			t.Fatalf("Get(%d): %q %v, Load has %q", key, v, err, value)
		}
	}
	return got
}

// after is the state after one more batch.
func (s state) after(batch []location.Record) state {
	next := maps.Clone(s)
	for _, r := range batch {
		if len(r.Value) == 0 {
			delete(next, r.Key)
		} else {
			next[r.Key] = string(r.Value)
		}
	}
	return next
}

// randomBatch changes a few of 40 keys; some are hardly ever written again, so
// that compaction has to carry them along.
func randomBatch(rng *rand.Rand, n int) (batch []location.Record) {
	for range 1 + rng.IntN(6) {
		key := location.Key(rng.IntN(20))
		if rng.IntN(15) == 0 {
			key += 20
		}
		value := ""
		if rng.IntN(4) > 0 {
			value = fmt.Sprint(n, strings.Repeat(" v", rng.IntN(150)))
		}
		batch = append(batch, rec(key, value))
	}
	return batch
}

// The power goes at any operation, of commits, rolls and compaction alike:
// what was acknowledged is there, the batch under way is there whole or not at
// all, and nothing removed comes back.
func TestPowerCut(t *testing.T) {
	compactions := 0
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 0))
		disk := newMemDisk(seed)
		acknowledged, dir := state{}, t.TempDir()
		for round := range 4 {
			disk.left = -1
			j := open(t, Config{Dir: dir, disk: disk, minRoom: 2 << 10})
			disk.set(func(d *memDisk) { d.left = rng.IntN(400) })
			var pending state
			for n := 0; ; n++ {
				batch := randomBatch(rng, n)
				pending = acknowledged.after(batch)
				if err := j.Commit(batch); err != nil {
					if !errors.Is(err, errPower) {
						t.Fatal(err)
					}
					break
				}
				acknowledged = pending
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			compactions += int(j.first)
			disk = disk.crashed()
			j, err := Open(Config{Dir: dir, disk: disk, minRoom: 2 << 10})
			if err != nil {
				t.Fatalf("seed %d round %d: %v", seed, round, err)
			}
			got := load(t, j)
			if !maps.Equal(got, acknowledged) && !maps.Equal(got, pending) {
				t.Fatalf("seed %d round %d:\nholds   %v\nwant    %v\nor with %v", seed, round, got, acknowledged, pending)
			}
			acknowledged = got
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if compactions < 1000 {
		t.Errorf("only %d segments were compacted: the test has lost its point", compactions)
	}
}

// Every operation may fail and the next succeed: a failed commit changes
// nothing, and a restart finds what was acknowledged.
func TestFlakyDisk(t *testing.T) {
	failures := 0
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 0))
		disk, dir := newMemDisk(seed), t.TempDir()
		j := open(t, Config{Dir: dir, disk: disk, minRoom: 2 << 10})
		disk.set(func(d *memDisk) { d.flaky = 0.01 + 0.05*rng.Float64() })
		held := state{}
		for n := range 150 {
			batch := randomBatch(rng, n)
			if err := j.Commit(batch); err == nil {
				held = held.after(batch)
			} else if failures++; !errors.Is(err, syscall.EIO) {
				t.Fatal(err)
			}
			for _, r := range batch {
				if v, err := j.Get(r.Key, nil); err != nil || string(v) != held[r.Key] {
					t.Fatalf("seed %d: after commit %d Get(%d) = %q %v, want %q", seed, n, r.Key, v, err, held[r.Key])
				}
			}
		}
		disk.set(func(d *memDisk) { d.flaky = 0 })
		if err := j.Commit([]location.Record{rec(99, "the last")}); err != nil {
			t.Fatalf("seed %d: the disk is well again, and %v", seed, err)
		}
		held[99] = "the last"
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		disk = disk.crashed()
		j, err := Open(Config{Dir: dir, disk: disk, minRoom: 2 << 10})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if got := load(t, j); !maps.Equal(got, held) {
			t.Fatalf("seed %d:\nholds %v\nwant  %v", seed, got, held)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if failures < 1000 {
		t.Errorf("only %d commits failed: the test has lost its point", failures)
	}
}
