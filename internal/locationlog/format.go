package locationlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"onhook/internal/location"
)

// A segment is a file of frames. All numbers are little endian.
//
//	segment  magic(7) version(1) number(4) mark(4) crc(4) zero(12) frame… zero(20)
//	frame    mark(4) length(4) first(4) previous(4) crc(4) record…
//	record   key(8) length(uvarint) value; an empty value removes the key
//
// mark is random for each segment and part of each of its frames' checksums, so
// that what an earlier use of the file left behind is never taken for a frame.
// A frame is what one Commit wrote: it counts whole or not at all. It is
// written when all before it is on disk, so that a frame which cannot be read
// is the unfinished end if nothing valid is behind it, and damage otherwise.
//
// first is the oldest segment that counts: those below have been compacted
// away. previous is where the segment before this one ends: what stands there
// behind it was never acknowledged.
const (
	magic         = "onhkloc"
	formatVersion = 1
	headerSize    = 32
	frameHeader   = 20
	maxFrame      = 1 << 30 // of a frame's records
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	noFrame    [frameHeader]byte // stands behind the last frame
)

// appendHeader appends a segment's header and the zeros that end a segment.
func appendHeader(dst []byte, number, mark uint32) []byte {
	start := len(dst)
	dst = append(dst, magic...)
	dst = append(dst, formatVersion)
	dst = binary.LittleEndian.AppendUint32(dst, number)
	dst = binary.LittleEndian.AppendUint32(dst, mark)
	dst = binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
	dst = append(dst, make([]byte, headerSize-(len(dst)-start))...)
	return append(dst, noFrame[:]...)
}

var (
	errHeader = errors.New("its header is damaged")
	// ErrVersion marks a journal of a format this program does not know.
	ErrVersion = errors.New("the location journal was written by another version of the program")
)

// parseHeader returns the mark of segment number.
func parseHeader(b []byte, number uint32) (mark uint32, err error) {
	if len(b) < headerSize || string(b[:len(magic)]) != magic ||
		crc32.Checksum(b[:16], castagnoli) != binary.LittleEndian.Uint32(b[16:]) ||
		binary.LittleEndian.Uint32(b[8:]) != number {
		return 0, errHeader
	}
	if b[len(magic)] != formatVersion {
		return 0, fmt.Errorf("%w: format %d, this one knows %d", ErrVersion, b[len(magic)], formatVersion)
	}
	return binary.LittleEndian.Uint32(b[12:]), nil
}

// frame is a frame's header.
type frame struct {
	length   int64 // of the records
	first    uint32
	previous int64
	crc      uint32
}

// parseFrame reads the header of a frame of the segment with this mark; the
// checksum remains to be compared.
func parseFrame(b []byte, mark uint32) (f frame, ok bool) {
	if len(b) < frameHeader || binary.LittleEndian.Uint32(b) != mark {
		return frame{}, false
	}
	f = frame{
		length:   int64(binary.LittleEndian.Uint32(b[4:])),
		first:    binary.LittleEndian.Uint32(b[8:]),
		previous: int64(binary.LittleEndian.Uint32(b[12:])),
		crc:      binary.LittleEndian.Uint32(b[16:]),
	}
	return f, f.length <= maxFrame
}

// intact compares the checksum of a frame, given from its first byte.
func (f frame) intact(b []byte) bool {
	end := frameHeader + f.length
	if int64(len(b)) < end {
		return false
	}
	return crc32.Update(crc32.Checksum(b[:16], castagnoli), castagnoli, b[frameHeader:end]) == f.crc
}

// sealFrame fills in the header in front of the records.
func sealFrame(b []byte, mark, first uint32, previous int64) {
	binary.LittleEndian.PutUint32(b, mark)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-frameHeader))
	binary.LittleEndian.PutUint32(b[8:], first)
	binary.LittleEndian.PutUint32(b[12:], uint32(previous))
	crc := crc32.Update(crc32.Checksum(b[:16], castagnoli), castagnoli, b[frameHeader:])
	binary.LittleEndian.PutUint32(b[16:], crc)
}

// appendRecord appends a record of a frame.
func appendRecord(dst []byte, key location.Key, value []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(key))
	dst = binary.AppendUvarint(dst, uint64(len(value)))
	return append(dst, value...)
}

// parseRecord cuts the first record off the records of a frame.
func parseRecord(b []byte) (key location.Key, value, rest []byte, ok bool) {
	if len(b) < 9 {
		return 0, nil, nil, false
	}
	key = location.Key(binary.LittleEndian.Uint64(b))
	size, n := binary.Uvarint(b[8:])
	if n <= 0 || size > uint64(len(b)-8-n) {
		return 0, nil, nil, false
	}
	at := 8 + n
	return key, b[at : at+int(size)], b[at+int(size):], true
}
