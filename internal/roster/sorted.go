package roster

import (
	"bytes"
	"slices"
	"sort"
)

// sorted holds places in the order of their keys, and of age where those are
// equal, in chunks: what is inserted moves no more than one chunk.
type sorted struct{ chunks [][]int32 }

const maxChunk = 1024

// build sorts all places at once.
func (s *sorted) build(keys *texts) {
	all := make([]int32, len(keys.starts))
	for place := range all {
		all[place] = int32(place)
	}
	slices.SortFunc(all, func(a, b int32) int {
		if c := bytes.Compare(keys.at(a), keys.at(b)); c != 0 {
			return c
		}
		return int(a - b)
	})
	s.chunks = nil
	for chunk := range slices.Chunk(all, maxChunk*3/4) {
		s.chunks = append(s.chunks, slices.Clone(chunk))
	}
}

// search returns the first place for which after is true; it must be true for
// all that follow. chunk is len(s.chunks) when there is none.
func (s *sorted) search(after func(place int32) bool) (chunk, at int) {
	chunk = sort.Search(len(s.chunks), func(i int) bool { return after(s.chunks[i][len(s.chunks[i])-1]) })
	if chunk < len(s.chunks) {
		at = sort.Search(len(s.chunks[chunk]), func(i int) bool { return after(s.chunks[chunk][i]) })
	}
	return chunk, at
}

// find is search for the first that is not before a place's own key.
func (s *sorted) find(keys *texts, place int32) (chunk, at int) {
	key := keys.at(place)
	return s.search(func(p int32) bool {
		c := keys.compare(p, key)
		return c > 0 || c == 0 && p >= place
	})
}

func (s *sorted) insert(keys *texts, place int32) {
	i, at := s.find(keys, place)
	if i == len(s.chunks) { // after all others
		if i == 0 {
			s.chunks = append(s.chunks, nil)
		} else {
			i--
		}
		at = len(s.chunks[i])
	}
	if len(s.chunks[i]) == maxChunk {
		// Where keys come in order, the full chunk stays full.
		half := maxChunk / 2
		if at == maxChunk {
			half = maxChunk
		}
		rest := append(make([]int32, 0, maxChunk), s.chunks[i][half:]...)
		s.chunks[i] = s.chunks[i][:half]
		s.chunks = slices.Insert(s.chunks, i+1, rest)
		if at >= half {
			i, at = i+1, at-half
		}
	}
	s.chunks[i] = slices.Insert(s.chunks[i], at, place)
}

func (s *sorted) remove(keys *texts, place int32) {
	i, at := s.find(keys, place)
	if i == len(s.chunks) || s.chunks[i][at] != place {
		return
	}
	s.chunks[i] = slices.Delete(s.chunks[i], at, at+1)
	if len(s.chunks[i]) == 0 {
		s.chunks = slices.Delete(s.chunks, i, i+1)
	}
}

// span calls f with the places whose key is, or begins with, a text.
func (s *sorted) span(keys *texts, text []byte, prefix bool, f func([]int32)) {
	first, at := s.search(func(p int32) bool { return keys.compare(p, text) >= 0 })
	last, end := s.search(func(p int32) bool {
		key := keys.at(p)
		c := bytes.Compare(key, text)
		return c > 0 && !(prefix && bytes.HasPrefix(key, text))
	})
	for i := first; i < len(s.chunks) && i <= last; i++ {
		chunk := s.chunks[i]
		if i == last {
			chunk = chunk[:end]
		}
		if i == first {
			chunk = chunk[at:]
		}
		f(chunk)
	}
}

// move renames the places, which keep their order.
func (s *sorted) move(to []int32) {
	for _, chunk := range s.chunks {
		for i, place := range chunk {
			chunk[i] = to[place]
		}
	}
}
