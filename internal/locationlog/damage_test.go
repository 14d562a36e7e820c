package locationlog

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"onhook/internal/location"
)

// history is a journal of two segments on a real disk and the states it went
// through.
type history struct {
	files  map[string][]byte
	names  []string // oldest first
	states []state  // after each commit, the empty one first
}

func makeHistory(t testing.TB) history {
	t.Helper()
	dir := t.TempDir()
	h := history{files: map[string][]byte{}, states: []state{{}}}
	n := 0
	for range 2 { // each run begins a segment
		j := open(t, Config{Dir: dir, minRoom: 1 << 10})
		j.mu.Lock()
		j.retryAt = math.MaxInt64 // no segment is made ahead, which a run would go on in
		j.mu.Unlock()
		for range 5 {
			batch := []location.Record{rec(location.Key(2+n%3), strings.Repeat(fmt.Sprint(n), 9)),
				rec(location.Key(2+(n+1)%3), ""), rec(1, fmt.Sprint("one ", n))}
			if err := j.Commit(batch); err != nil {
				t.Fatal(err)
			}
			h.states = append(h.states, h.states[n].after(batch))
			n++
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		mark, err := parseHeader(b, uint32(len(h.names)+1))
		if err != nil {
			t.Fatal(err)
		}
		if _, begun := parseFrame(b[headerSize:], mark); !begun {
			t.Fatalf("%s has no frame", name)
		}
		h.names = append(h.names, filepath.Base(name))
		h.files[filepath.Base(name)] = b
	}
	if len(h.names) != 2 {
		t.Fatalf("%d segments: %v", len(h.names), names)
	}
	return h
}

// disk puts the files on a disk in memory.
func (h history) disk() *memDisk {
	d := newMemDisk(1)
	for name, b := range h.files {
		d.files[name] = &memNode{data: bytes.Clone(b), dirty: map[int]bool{}}
	}
	return d
}

// with returns the history with another content of one file; nil: without it.
func (h history) with(name string, content []byte) history {
	h.files = maps.Clone(h.files)
	if h.files[name] = content; content == nil {
		delete(h.files, name)
	}
	return h
}

// end is where the frames of a file end.
func (h history) frames(t testing.TB, name string) (offsets []int) {
	t.Helper()
	b := h.files[name]
	number, _ := segmentNumber(name)
	mark, err := parseHeader(b, number)
	if err != nil {
		t.Fatal(err)
	}
	offset := headerSize
	for {
		offsets = append(offsets, offset)
		f, ok := parseFrame(b[offset:], mark)
		if !ok {
			return offsets
		}
		offset += frameHeader + int(f.length)
	}
}

// A crash in the middle of a write leaves a part of the last frame: cut at any
// byte, what was acknowledged before is there, the rest is told, and the
// journal goes on.
func TestTornTail(t *testing.T) {
	h := makeHistory(t)
	last := h.names[1]
	offsets := h.frames(t, last)
	begin, end := offsets[len(offsets)-2], offsets[len(offsets)-1]
	for cut := begin; cut <= end; cut++ {
		for _, zeros := range []int{0, 4096} { // the file as it grew, or made ahead
			content := append(bytes.Clone(h.files[last][:cut]), make([]byte, zeros)...)
			dir, disk := t.TempDir(), h.with(last, content).disk()
			var told bytes.Buffer
			j := open(t, Config{Dir: dir, disk: disk, minRoom: 1 << 10, Logger: slog.New(slog.NewTextHandler(&told, nil))})
			want := h.states[len(h.states)-2]
			if cut == end {
				want = h.states[len(h.states)-1]
			}
			if got := load(t, j); !maps.Equal(got, want) {
				t.Fatalf("cut at %d of %d to %d: holds %v, want %v", cut, begin, end, got, want)
			}
			torn := cut > begin && cut < end
			if is := strings.Contains(told.String(), "cut off") && strings.Contains(told.String(), last); is != torn {
				t.Errorf("cut at %d of %d to %d: told %q", cut, begin, end, told.String())
			}
			if err := errors.Join(j.Commit([]location.Record{rec(1, "again")}), j.Close()); err != nil {
				t.Fatal(err)
			}
			told.Reset()
			j = open(t, Config{Dir: dir, disk: disk, Logger: slog.New(slog.NewTextHandler(&told, nil))})
			if got := load(t, j); !maps.Equal(got, want.after([]location.Record{rec(1, "again")})) || told.Len() > 0 {
				t.Errorf("afterwards: %v, told %q", got, told.String())
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// openDamaged opens a journal that may be damaged. What it holds must be what
// it once held, and only the last frame may be missing without an error.
func (h history) openDamaged(t testing.TB) error {
	t.Helper()
	j, err := Open(Config{Dir: t.TempDir(), disk: h.disk()})
	if err != nil {
		var damage *DamageError
		if !errors.As(err, &damage) && !errors.Is(err, ErrVersion) {
			t.Fatalf("neither damage nor a version: %v", err)
		}
		return err
	}
	got := load(t, j)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	n := len(h.states)
	if !maps.Equal(got, h.states[n-1]) && !maps.Equal(got, h.states[n-2]) {
		t.Fatalf("opened, and holds %v", got)
	}
	return nil
}

// Damage in the middle is no torn tail: the journal refuses and names the file
// and the place. Each byte in turn is damaged.
func TestDamage(t *testing.T) {
	h := makeHistory(t)
	for i, name := range h.names {
		offsets := h.frames(t, name)
		last := offsets[len(offsets)-1]
		if i == len(h.names)-1 {
			last = offsets[len(offsets)-2] // where a torn tail would begin
		}
		for at := range last {
			content := bytes.Clone(h.files[name])
			content[at] ^= 0x10
			err := h.with(name, content).openDamaged(t)
			if at >= 20 && at < headerSize {
				continue // not used
			}
			if err == nil {
				t.Errorf("%s, byte %d: no error", name, at)
			} else if !strings.Contains(err.Error(), name) {
				t.Errorf("%s, byte %d: %v", name, at, err)
			}
		}
	}
	if err := h.with(h.names[0], nil).openDamaged(t); err == nil || !strings.Contains(err.Error(), h.names[0]) {
		t.Errorf("without the first segment: %v", err)
	}
	if err := h.with(h.names[0], h.files[h.names[0]][:100]).openDamaged(t); err == nil || !strings.Contains(err.Error(), h.names[0]) {
		t.Errorf("with a short first segment: %v", err)
	}
}

// FuzzDamage damages a journal at any place: it refuses, or holds what it once
// held, without the last frame at most.
func FuzzDamage(f *testing.F) {
	h, dir := makeHistory(f), f.TempDir()
	f.Add(uint16(40), []byte{1}, false, uint16(0))
	f.Add(uint16(500), []byte("damage damage"), true, uint16(300))
	f.Fuzz(func(t *testing.T, at uint16, damage []byte, second bool, cut uint16) {
		name := h.names[0]
		if second {
			name = h.names[1]
		}
		content := bytes.Clone(h.files[name])
		for i, c := range damage {
			content[(int(at)+i)%len(content)] ^= c
		}
		if cut > 0 {
			content = content[:int(cut)%len(content)]
		}
		h := h.with(name, content)
		j, err := Open(Config{Dir: dir, disk: h.disk()})
		if err != nil {
			return
		}
		defer j.Close()
		got := load(t, j)
		for _, s := range h.states {
			if maps.Equal(got, s) {
				return // several frames of the end may be cut off here
			}
		}
		t.Fatalf("holds what it never held: %v", got)
	})
}

// FuzzOpen opens anything: no panic, and no value that is not in the file.
func FuzzOpen(f *testing.F) {
	h, dir := makeHistory(f), f.TempDir()
	for _, content := range h.files {
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		h := history{files: map[string][]byte{segmentName(1): content}}
		j, err := Open(Config{Dir: dir, disk: h.disk()})
		if err != nil {
			return
		}
		defer j.Close()
		for key, value := range load(t, j) {
			if !bytes.Contains(content, []byte(value)) {
				t.Fatalf("%d has a value from nowhere: %q", key, value)
			}
		}
	})
}
