package event

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"time"
)

// ID names an event and orders it: a ULID, 48 bits of Unix milliseconds and 80
// that are random or one more than those of the event before.
type ID [16]byte

// alphabet is Crockford's base 32, whose order is that of ASCII.
const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// textLen is the length of an ID as text: 26 times 5 bits, of which the first
// two are 0.
const textLen = 26

// ErrID is a text that is no ID.
var ErrID = errors.New("not an event id")

func (id ID) String() string {
	var out [textLen]byte
	return string(id.append(out[:0]))
}

// append appends the text form.
func (id ID) append(dst []byte) []byte {
	hi, lo := binary.BigEndian.Uint64(id[:8]), binary.BigEndian.Uint64(id[8:])
	var out [textLen]byte
	for i := textLen - 1; i >= 0; i-- {
		out[i] = alphabet[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return append(dst, out[:]...)
}

// ParseID reads the text form, in capitals only, as it was given out.
func ParseID(s string) (id ID, err error) {
	if len(s) != textLen || s[0] > '7' {
		return id, ErrID
	}
	var hi, lo uint64
	for i := range len(s) {
		v := bytes.IndexByte([]byte(alphabet), s[i])
		if v < 0 {
			return id, ErrID
		}
		hi = hi<<5 | lo>>59
		lo = lo<<5 | uint64(v)
	}
	binary.BigEndian.PutUint64(id[:8], hi)
	binary.BigEndian.PutUint64(id[8:], lo)
	return id, nil
}

// Compare is negative when id is older than other, 0 when it is the same.
func (id ID) Compare(other ID) int { return bytes.Compare(id[:], other[:]) }

// Time is when the event happened, to the millisecond; a little later when the
// clock had gone backwards.
func (id ID) Time() time.Time { return time.UnixMilli(int64(id.millis())).UTC() }

func (id ID) millis() uint64 { return binary.BigEndian.Uint64(id[:8]) >> 16 }

// After is the smallest ID that is younger.
func (id ID) After() ID {
	for i := len(id) - 1; i >= 0; i-- {
		if id[i]++; id[i] != 0 {
			break
		}
	}
	return id
}

// Before is the greatest ID that is older.
func (id ID) Before() ID {
	for i := len(id) - 1; i >= 0; i-- {
		id[i]--
		if id[i] != 0xff {
			break
		}
	}
	return id
}

// IDs gives out strictly increasing ones. It is not safe for concurrent use.
type IDs struct{ last ID }

// NewIDs continues after the ID that was given out last.
func NewIDs(last ID) *IDs { return &IDs{last} }

// Next returns the ID of an event that happened at the time given.
func (s *IDs) Next(at time.Time) ID {
	if ms := uint64(max(at.UnixMilli(), 0)); ms > s.last.millis() {
		_, _ = rand.Read(s.last[6:])                                                               // never fails (crypto/rand)
		binary.BigEndian.PutUint64(s.last[:8], ms<<16|uint64(s.last[6]&0x7f)<<8|uint64(s.last[7])) // room for 2^79 more within the millisecond
		return s.last
	}
	s.last = s.last.After()
	return s.last
}
