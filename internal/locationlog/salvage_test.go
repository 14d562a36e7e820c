package locationlog

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"onhook/internal/location"
)

// write puts the files into a new folder.
func (h history) write(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, b := range h.files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Whatever byte is damaged: what Salvage keeps was once there, a frame is lost
// at most, the files as they were stand aside, and the journal opens and goes
// on.
func TestSalvage(t *testing.T) {
	h := makeHistory(t)
	salvaged := 0
	for i, name := range h.names {
		offsets := h.frames(t, name)
		for at := 0; at < offsets[len(offsets)-1]; at += 23 {
			content := bytes.Clone(h.files[name])
			content[at] ^= 0x10
			h := h.with(name, content)
			opens := h.opens(t)
			dir := h.write(t)
			done, err := Salvage(dir)
			if err != nil {
				t.Fatalf("%s, byte %d: %v", name, at, err)
			}
			if opens != (done.Aside == "") || opens != (done.Places == 0) {
				t.Errorf("%s, byte %d: opens: %v, salvaged: %+v", name, at, opens, done)
			}
			j := open(t, Config{Dir: dir})
			got := load(t, j)
			h.onceHeld(t, got)
			if last := h.states[len(h.states)-1]; i == 0 && !maps.Equal(got, last) {
				t.Errorf("%s, byte %d: the later segment is not there: %v", name, at, got)
			}
			if err := errors.Join(j.Commit([]location.Record{rec(5, "goes on")}), j.Close()); err != nil {
				t.Fatal(err)
			}
			if done.Aside != "" {
				salvaged++
				if done.Records != len(got) || done.Lost > 200 {
					t.Errorf("%s, byte %d: tells %+v, holds %d", name, at, done, len(got))
				}
				for name, want := range h.files {
					if b, err := os.ReadFile(filepath.Join(done.Aside, name)); err != nil || !bytes.Equal(b, want) {
						t.Errorf("%s is not set aside as it was: %v", name, err)
					}
				}
			}
			again, err := Salvage(dir)
			if err != nil || again.Aside != "" || again.Records != len(got)+1 {
				t.Errorf("salvaged again: %+v, %v", again, err)
			}
		}
	}
	if salvaged < 15 {
		t.Errorf("%d journals were damaged", salvaged)
	}
}

// opens reports whether the journal opens.
func (h history) opens(t testing.TB) bool {
	j, err := Open(Config{Dir: t.TempDir(), disk: h.disk()})
	return err == nil && j.Close() == nil
}

// onceHeld checks that each value was once that of its key.
func (h history) onceHeld(t testing.TB, got state) {
	t.Helper()
	for key, value := range got {
		known := false
		for _, s := range h.states {
			known = known || s[key] == value
		}
		if !known {
			t.Fatalf("%d never held %q", key, value)
		}
	}
}

func TestSalvageMissingFile(t *testing.T) {
	h := makeHistory(t)
	dir := h.with(h.names[0], nil).write(t)
	done, err := Salvage(dir)
	if err != nil || done.Places != 1 || done.Aside == "" {
		t.Fatalf("%+v, %v", done, err)
	}
	got := load(t, open(t, Config{Dir: dir}))
	h.onceHeld(t, got)
	if len(got) == 0 {
		t.Error("the second segment's records are not there")
	}
}

// Interrupted at any of its steps, a salvage is done again, and loses nothing
// more.
func TestSalvageInterrupted(t *testing.T) {
	h := makeHistory(t)
	content := bytes.Clone(h.files[h.names[0]])
	content[h.frames(t, h.names[0])[2]+25] ^= 1
	h = h.with(h.names[0], content)
	dir := h.write(t)
	s := salvage{dir: dir, records: map[location.Key][]byte{}}
	if err := errors.Join(s.read(), s.write()); err != nil {
		t.Fatal(err)
	}
	if done, err := Salvage(dir); err != nil || done.Aside == "" {
		t.Fatalf("%+v, %v", done, err)
	}
	if got := load(t, open(t, Config{Dir: dir})); !maps.Equal(got, h.states[len(h.states)-1]) {
		t.Errorf("holds %v", got)
	}
}

func TestSalvageRefuses(t *testing.T) {
	if _, err := Salvage(filepath.Join(t.TempDir(), "none")); !errors.Is(err, ErrNothing) {
		t.Errorf("no folder: %v", err)
	}
	dir := t.TempDir()
	if _, err := Salvage(dir); !errors.Is(err, ErrNothing) {
		t.Errorf("an empty folder: %v", err)
	}
	j := open(t, Config{Dir: dir})
	defer j.Close()
	if _, err := Salvage(dir); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("in use: %v", err)
	}
}
