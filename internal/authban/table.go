package authban

import (
	"strings"
	"sync"
)

// ways is how many pairs share a place in the table.
const ways = 8

// maxName bounds the name that a ban shows.
const maxName = 64

// table is a set-associative table of fixed size. An entry takes some 120
// bytes and 8 per wrong digest remembered; a ban's name up to maxName more.
type table struct{ sets []set }

type set struct {
	mu      sync.Mutex
	entries [ways]entry
}

// key is a source, and the hash of realm and name, never 0: keys of unknown
// names are as those of known ones.
type key struct {
	source [16]byte
	name   uint64
}

type entry struct {
	key          key
	level        int     // bans so far
	wrong        []int64 // when, oldest first; its capacity is the limit
	began, until int64   // of the present or last ban

	id, realm, username string // of that ban
}

func newTable(pairs, wrong int) table {
	t := table{sets: make([]set, (pairs+ways-1)/ways)}
	times := make([]int64, len(t.sets)*ways*wrong)
	for i := range t.sets {
		for j := range t.sets[i].entries {
			t.sets[i].entries[j].wrong, times = times[:0:wrong], times[wrong:]
		}
	}
	return t
}

func (t *table) set(k key) *set {
	h := k.name
	for i := 0; i < 16; i++ {
		h = (h ^ uint64(k.source[i])) * 0x100000001b3
	}
	h ^= h >> 32
	return &t.sets[h%uint64(len(t.sets))]
}

func (s *set) find(k key) *entry {
	for i := range s.entries {
		if s.entries[i].key == k {
			return &s.entries[i]
		}
	}
	return nil
}

func (e *entry) used() bool { return e.key.name != 0 }

func (e *entry) clear() { *e = entry{wrong: e.wrong[:0]} }

// last is when the last wrong digest came that is remembered.
func (e *entry) last() int64 {
	if len(e.wrong) == 0 {
		return e.began
	}
	return e.wrong[len(e.wrong)-1]
}

// add remembers a wrong digest and reports whether the limit is reached within
// the window.
func (e *entry) add(now, window int64) bool {
	old := 0
	for old < len(e.wrong) && e.wrong[old] <= now-window {
		old++
	}
	e.wrong = e.wrong[:copy(e.wrong, e.wrong[old:])]
	e.wrong = append(e.wrong, now)
	return len(e.wrong) == cap(e.wrong)
}

// describe keeps what the list of bans shows. The pair is a view of a message.
func (e *entry) describe(p Pair) {
	e.realm = strings.Clone(p.Realm)
	name := p.Username
	if len(name) > maxName {
		name = name[:maxName]
	}
	e.username = strings.Clone(strings.ToValidUTF8(name, "?"))
	e.id = newID()
}
