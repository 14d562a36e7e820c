package sipproxy

import (
	"encoding/binary"
	"errors"
	"time"

	"onhook/internal/account"
	"onhook/internal/callrecord"
)

// What a journal record of a call says it is.
const (
	journalVersion = 4

	kindOpen      = 'o' // a call that is established
	kindRinging   = 'r' // one that rings, and what would tell its phones that it is over
	kindOver      = 'e' // finished, its records not stored yet
	kindForgotten = 'x' // finished and stored: known by its ID for a while
)

var errJournal = errors.New("a call in the journal cannot be read")

// appendCall writes all that is known of a call. The call is locked.
func appendCall(b []byte, c *call) []byte {
	b = append(b, c.id[:]...)
	b = binary.BigEndian.AppendUint32(b, c.epoch)
	b = appendParty(appendParty(b, c.caller), c.callee)
	b = c.from.append(b)
	for _, s := range [...]string{c.calleeName, c.callID, c.fromHeader, c.contact, c.fromURI, c.display, c.dialled, c.userAgent,
		string(c.outcome.Status), string(c.outcome.Source), c.reason, c.codec, c.trunk} {
		b = appendText(b, s)
	}
	for _, n := range [...]int64{int64(c.cseq), c.start, c.answer, c.end, int64(c.outcome.Cause.Code), int64(c.status), int64(c.longest), int64(len(c.legs))} {
		b = binary.AppendVarint(b, n)
	}
	for i := range c.legs {
		l := &c.legs[i]
		b = appendText(b, l.contact)
		for _, n := range [...]int64{l.start, l.answer, l.end, int64(l.status)} {
			b = binary.AppendVarint(b, n)
		}
	}
	b = binary.AppendVarint(b, int64(len(c.passed)))
	for i := range c.passed {
		p := &c.passed[i]
		b = appendParty(binary.AppendVarint(b, int64(p.leg)), p.from)
		b = appendText(b, p.name)
	}
	b = binary.AppendVarint(b, int64(len(c.dialogs)))
	for i := range c.dialogs {
		d := &c.dialogs[i]
		b = append(append(b, d.tag[:]...), flag(d.closed), flag(d.acked))
		for _, s := range [...]string{d.to, d.from, d.target[0], d.target[1], d.routes[0], d.routes[1]} {
			b = appendText(b, s)
		}
		for _, n := range [...]int64{int64(d.cseq[0]), int64(d.cseq[1]), int64(d.leg), d.expires} {
			b = binary.AppendVarint(b, n)
		}
		b = d.callee.append(b)
	}
	return b
}

func appendParty(b []byte, p party) []byte {
	b = binary.AppendUvarint(b, uint64(p.Endpoint))
	return appendText(appendText(b, p.Owner), p.Main)
}

func flag(is bool) byte {
	if is {
		return 1
	}
	return 0
}

func appendText[T ~string | ~[]byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// readCall reads a call back.
func readCall(r *journalReader) *call {
	c := &call{invite: true}
	copy(c.id[:], r.bytes(16))
	c.epoch = binary.BigEndian.Uint32(r.bytes(4))
	c.caller, c.callee = r.party(), r.party()
	r.side(&c.from)
	var status, source string
	for _, s := range [...]*string{&c.calleeName, &c.callID, &c.fromHeader, &c.contact, &c.fromURI, &c.display, &c.dialled, &c.userAgent,
		&status, &source, &c.reason, &c.codec, &c.trunk} {
		*s = r.text()
	}
	c.outcome.Status, c.outcome.Source = callrecord.Status(status), callrecord.Source(source)
	c.cseq = uint32(r.varint())
	c.start, c.answer, c.end = r.varint(), r.varint(), r.varint()
	c.outcome.Cause, c.status = callrecord.CauseOf(int(r.varint())), int(r.varint())
	c.longest = time.Duration(r.varint())
	for range r.count() {
		c.legs = append(c.legs, leg{contact: r.text(), start: r.varint(), answer: r.varint(), end: r.varint(), status: int(r.varint())})
	}
	for range r.count() {
		c.passed = append(c.passed, passage{leg: int(r.varint()), from: r.party(), name: r.text()})
	}
	for range r.count() {
		var d dialog
		copy(d.tag[:], r.bytes(8))
		d.closed, d.acked = r.bytes(1)[0] == 1, r.bytes(1)[0] == 1
		for _, s := range [...]*string{&d.to, &d.from, &d.target[0], &d.target[1], &d.routes[0], &d.routes[1]} {
			*s = r.text()
		}
		d.cseq = [2]uint32{uint32(r.varint()), uint32(r.varint())}
		d.leg, d.expires = int(r.varint()), r.varint()
		r.side(&d.callee)
		c.dialogs = append(c.dialogs, d)
	}
	if c.end == 0 {
		c.outcome = callrecord.Outcome{}
	}
	return c
}

// journalReader takes values off a record; after the first that is not there it
// gives zeros, and failed is true.
type journalReader struct {
	b      []byte
	failed bool
}

func (r *journalReader) bytes(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.failed, r.b = true, nil
		return make([]byte, min(max(n, 0), 64))
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *journalReader) uvarint() uint64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.failed, r.b = true, nil
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *journalReader) varint() int64 {
	n, size := binary.Varint(r.b)
	if size <= 0 {
		r.failed, r.b = true, nil
		return 0
	}
	r.b = r.b[size:]
	return n
}

// count reads how many follow, which is never more than there are bytes.
func (r *journalReader) count() int {
	n := r.varint()
	if n < 0 || n > int64(len(r.b)) {
		r.failed, r.b = true, nil
		return 0
	}
	return int(n)
}

func (r *journalReader) text() string { return string(r.blob()) }

func (r *journalReader) blob() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.failed, r.b = true, nil
		return nil
	}
	return r.bytes(int(n))
}

func (r *journalReader) party() party {
	return party{account.EndpointID(r.uvarint()), r.text(), r.text()}
}

func (r *journalReader) side(s *side) {
	rest, err := s.read(r.b)
	if err != nil {
		r.failed, r.b = true, nil
		return
	}
	r.b = rest
}
