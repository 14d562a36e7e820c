// Package journaltest holds what every location.Journal must pass, and a
// journal in memory that fails on demand. It is for tests only.
package journaltest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"onhook/internal/location"
)

// Run tests a journal. open opens the same one again and again, in the state
// the last one was closed in; the first time it is empty.
func Run(t *testing.T, open func(t *testing.T) location.Journal) {
	j := open(t)
	reopen := func() {
		t.Helper()
		if err := j.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
		j = open(t)
	}
	commit := func(batch ...location.Record) {
		t.Helper()
		if err := j.Commit(batch); err != nil {
			t.Fatalf("Commit: %v", err)
		}
	}
	expect := func(what string, want map[location.Key]string) {
		t.Helper()
		got := contents(t, j)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%s: holds %v, want %v", what, got, want)
		}
		for key, value := range want {
			if v, err := j.Get(key, []byte("x")); err != nil || string(v) != "x"+value {
				t.Fatalf("%s: Get(%d) = %q, %v, want %q appended", what, key, v, err, value)
			}
		}
	}

	expect("new", map[location.Key]string{})
	commit()
	big := string(bytes.Repeat([]byte{0, 1, 2, 255}, 40<<10))
	value := []byte("one")
	commit(rec(0, "zero"), location.Record{Key: 1, Value: value}, rec(1<<64-1, big), rec(7, "seven"))
	copy(value, "XXX") // the journal keeps no reference
	all := map[location.Key]string{0: "zero", 1: "one", 7: "seven", 1<<64 - 1: big}
	expect("after commit", all)
	if v, err := j.Get(5, nil); err != nil || len(v) != 0 {
		t.Fatalf("Get of a key that is not there = %q, %v", v, err)
	}

	// Later records of a batch win; an empty value removes.
	commit(rec(1, "first"), rec(1, "second"), rec(7, ""), rec(8, "x"), rec(8, ""), rec(9, ""), rec(9, "nine"))
	all[1], all[9] = "second", "nine"
	delete(all, 7)
	expect("after overwriting and removing", all)
	reopen()
	expect("reopened", all)

	stop := errors.New("stop")
	calls := 0
	err := j.Load(func(location.Key, []byte) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 1 {
		t.Fatalf("Load goes on after f's error: %v, %d calls", err, calls)
	}

	// Many batches, as in service, with rewrites and removals.
	for i := range 300 {
		var batch []location.Record
		for k := range 40 {
			key := location.Key(1000 + (i*40+k)%5000)
			v := fmt.Sprintf("%d/%d", i, k)
			if k%10 == 9 {
				v = ""
				delete(all, key)
			} else {
				all[key] = v
			}
			batch = append(batch, rec(key, v))
		}
		commit(batch...)
	}
	expect("after many batches", all)
	reopen()
	expect("many batches reopened", all)
	besides(t, j, commit)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// besides calls Get while values of ever other sizes are committed.
func besides(t *testing.T, j location.Journal, commit func(...location.Record)) {
	t.Helper()
	const key = 77
	done := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			v, err := j.Get(key, nil)
			if err != nil || len(bytes.Trim(v, string(v[:min(1, len(v))]))) > 0 {
				t.Errorf("Get beside Commit: %q, %v", v, err)
				return
			}
		}
	})
	for i := range 200 {
		commit(rec(key, strings.Repeat(string(rune('a'+i%26)), i*7)), rec(78, strings.Repeat("x", 2000)))
	}
	close(done)
	reader.Wait()
}

func rec(key location.Key, value string) location.Record {
	return location.Record{Key: key, Value: []byte(value)}
}

func contents(t *testing.T, j location.Journal) map[location.Key]string {
	t.Helper()
	got := map[location.Key]string{}
	err := j.Load(func(key location.Key, value []byte) error {
		if _, twice := got[key]; twice {
			return fmt.Errorf("key %d comes twice", key)
		}
		got[key] = string(value)
		return nil
	})
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return got
}
