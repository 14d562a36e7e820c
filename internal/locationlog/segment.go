package locationlog

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"onhook/internal/location"
)

// segment is one file of the journal. All but the newest are never written to
// again.
type segment struct {
	number   uint32
	mark     uint32
	previous int64 // where segment number-1 ends
	file     file
	room     int64 // bytes the file was made for
	end      int64 // of its last frame: what counts
	records  int64
	written  bool // all blocks have been written before; see stock
}

const (
	suffix = ".journal"
	// spareName is a file that waits to become a segment: one compacted away.
	spareName = "spare"
	// lockName is what keeps other processes out.
	lockName = "lock"
	// newName is a segment in the making.
	newName = "new"
)

func segmentName(number uint32) string { return fmt.Sprintf("%010d%s", number, suffix) }

// segmentNumber returns the number in a segment's name.
func segmentNumber(name string) (uint32, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	n, err := strconv.ParseUint(digits, 10, 32)
	return uint32(n), ok && err == nil && n > 0 && name == segmentName(uint32(n))
}

// newMark returns a random mark.
func newMark() uint32 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint32(b[:]) | 1
}

// at is where a record stands: the segment and the offset in it.
type at uint64

func place(number uint32, offset int64) at { return at(number)<<32 | at(offset) }

func (a at) number() uint32 { return uint32(a >> 32) }
func (a at) offset() int64  { return int64(a & (1<<32 - 1)) }

// reader goes through the frames of a segment.
type reader struct {
	file   file
	mark   uint32
	off    int64 // of the next frame
	limit  int64 // nothing at or behind it is read
	buf    []byte
	start  int64 // of buf in the file
	frame  frame
	offset int64  // of the present frame
	data   []byte // its records, until the next call of next
}

const readSize = 1 << 20

func newReader(f file, mark uint32, limit int64) *reader {
	return &reader{file: f, mark: mark, off: headerSize, limit: limit}
}

// window returns n bytes of the file from off, fewer where the file ends.
func (r *reader) window(off, n int64) ([]byte, error) {
	n = max(min(n, r.limit-off), 0)
	if skip := off - r.start; off >= r.start && skip+n <= int64(len(r.buf)) {
		return r.buf[skip : skip+n], nil
	}
	size := max(n, min(readSize, r.limit-off))
	if int64(cap(r.buf)) < size {
		r.buf = make([]byte, size)
	}
	got, err := r.file.ReadAt(r.buf[:size], off)
	r.buf, r.start = r.buf[:got], off
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return r.buf[:min(n, int64(got))], nil
}

// next reads the next frame. It returns false where none stands.
func (r *reader) next() (bool, error) {
	head, err := r.window(r.off, frameHeader)
	if err != nil {
		return false, err
	}
	f, ok := parseFrame(head, r.mark)
	if !ok || f.length > r.limit-r.off-frameHeader {
		return false, nil
	}
	b, err := r.window(r.off, frameHeader+f.length)
	if err != nil || !f.intact(b) {
		return false, err
	}
	r.frame, r.offset, r.data = f, r.off, b[frameHeader:frameHeader+f.length]
	r.off += frameHeader + f.length
	return true, nil
}

// find looks for an intact frame at from or behind it.
func (r *reader) find(from int64) (offset int64, ok bool, err error) {
	var pattern [4]byte
	binary.LittleEndian.PutUint32(pattern[:], r.mark)
	for from < r.limit {
		b, err := r.window(from, readSize)
		if err != nil || len(b) < len(pattern) {
			return 0, false, err
		}
		i := bytes.Index(b, pattern[:])
		if i < 0 {
			from += int64(len(b) - len(pattern) + 1)
			continue
		}
		from += int64(i)
		at := reader{file: r.file, mark: r.mark, off: from, limit: r.limit}
		if ok, err := at.next(); ok || err != nil {
			return from, ok, err
		}
		from++
	}
	return 0, false, nil
}

// each calls f for the records of the present frame with their offsets in the
// file. It returns false where one cannot be read.
func (r *reader) each(f func(key location.Key, value []byte, offset int64) error) (bool, error) {
	for rest := r.data; len(rest) > 0; {
		offset := r.offset + frameHeader + int64(len(r.data)-len(rest))
		key, value, after, ok := parseRecord(rest)
		if !ok {
			return false, nil
		}
		if err := f(key, value, offset); err != nil {
			return true, err
		}
		rest = after
	}
	return true, nil
}
