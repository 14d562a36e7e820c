package roster

import (
	"bytes"
	"sort"
	"strings"
)

// texts is a column of texts, one behind the other so that looking for a part in
// a million of them is one pass over their bytes. None holds a zero byte.
type texts struct {
	bytes  []byte           // each followed by a zero byte
	starts []uint32         // by place
	moved  map[int32]string // those that were changed; their old bytes are zero
}

func (t *texts) append(s string) {
	t.starts = append(t.starts, uint32(len(t.bytes)))
	t.bytes = append(append(t.bytes, strings.ReplaceAll(s, "\x00", " ")...), 0)
}

// at returns a text, which holds until the column changes.
func (t *texts) at(place int32) []byte {
	if s, ok := t.moved[place]; ok {
		return []byte(s)
	}
	rest := t.bytes[t.starts[place]:]
	return rest[:bytes.IndexByte(rest, 0)]
}

// compare is bytes.Compare of a text with another.
func (t *texts) compare(place int32, other []byte) int { return bytes.Compare(t.at(place), other) }

// set changes a text.
func (t *texts) set(place int32, s string) {
	clear(t.at(place))
	if t.moved == nil {
		t.moved = map[int32]string{}
	}
	t.moved[place] = strings.ReplaceAll(s, "\x00", " ")
}

// drop forgets a text.
func (t *texts) drop(place int32) {
	clear(t.at(place))
	delete(t.moved, place)
}

// each calls f with the places whose text contains a part, which is not empty.
func (t *texts) each(part string, f func(place int)) {
	if strings.Contains(part, "\x00") {
		return
	}
	for place, s := range t.moved {
		if strings.Contains(s, part) {
			f(int(place))
		}
	}
	what, from, place := []byte(part), 0, 0
	for {
		i := bytes.Index(t.bytes[from:], what)
		if i < 0 {
			return
		}
		from += i
		// Matches are far apart or close together: look near first.
		if near := place + 16; near < len(t.starts) && int(t.starts[near]) <= from {
			place = near
			place += sort.Search(len(t.starts)-place, func(n int) bool { return int(t.starts[place+n]) > from }) - 1
		}
		for place+1 < len(t.starts) && int(t.starts[place+1]) <= from {
			place++
		}
		f(place)
		if place+1 == len(t.starts) {
			return
		}
		from = int(t.starts[place+1])
	}
}

// kept returns the column without the places that are not kept, in a size of
// its own.
func (t *texts) kept(keep func(place int32) bool) (out texts) {
	size, n := 0, 0
	for place := range int32(len(t.starts)) {
		if keep(place) {
			size += len(t.at(place)) + 1
			n++
		}
	}
	out.bytes, out.starts = make([]byte, 0, size), make([]uint32, 0, n)
	for place := range int32(len(t.starts)) {
		if keep(place) {
			out.starts = append(out.starts, uint32(len(out.bytes)))
			out.bytes = append(append(out.bytes, t.at(place)...), 0)
		}
	}
	return out
}
