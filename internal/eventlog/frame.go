package eventlog

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"

	"onhook/internal/event"
)

// A frame is one event in a file:
//
//	length(4, big endian) crc32c(4) payload
//	payload: id(16) flags(1) key(uvarint) seq(uvarint) type account main body
//
// The length is that of the payload. Type and accounts are a uvarint length and
// the bytes; the body is the rest.
const (
	frameHeader = 8
	maxPayload  = 1 << 20 // far above any event; more is damage

	flagForeign = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errDamaged is a frame that was not written whole.
var errDamaged = errors.New("eventlog: damaged frame")

func appendFrame(dst []byte, e *event.Event) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, frameHeader)...)
	dst = append(dst, e.ID[:]...)
	flags := byte(0)
	if e.Foreign {
		flags |= flagForeign
	}
	dst = append(dst, flags)
	dst = binary.AppendUvarint(dst, e.Key)
	dst = binary.AppendUvarint(dst, uint64(e.Seq))
	dst = appendText(dst, string(e.Type))
	dst = appendText(dst, e.Account)
	dst = appendText(dst, e.Main)
	dst = append(dst, e.Body...)
	payload := dst[start+frameHeader:]
	binary.BigEndian.PutUint32(dst[start:], uint32(len(payload)))
	binary.BigEndian.PutUint32(dst[start+4:], crc32.Checksum(payload, castagnoli))
	return dst
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// readFrame reads the next frame; io.EOF at the end. The payload is in buf,
// which grows as needed.
func readFrame(r io.Reader, buf []byte) (payload, grown []byte, err error) {
	var head [frameHeader]byte
	switch _, err := io.ReadFull(r, head[:]); {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, buf, errDamaged
	case err != nil:
		return nil, buf, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxPayload {
		return nil, buf, errDamaged
	}
	if int(n) > cap(buf) {
		buf = make([]byte, n)
	}
	payload = buf[:n]
	switch _, err := io.ReadFull(r, payload); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, buf, errDamaged
	case err != nil:
		return nil, buf, err
	case crc32.Checksum(payload, castagnoli) != binary.BigEndian.Uint32(head[4:]):
		return nil, buf, errDamaged
	}
	return payload, buf, nil
}

// view is an event as a part of its payload.
type view struct {
	id                 event.ID
	key                uint64
	seq                int64
	foreign            bool
	typ, account, main []byte
	body               []byte
}

func parse(payload []byte) (v view, err error) {
	if len(payload) <= len(v.id) {
		return v, errDamaged
	}
	n := copy(v.id[:], payload)
	v.foreign = payload[n]&flagForeign != 0
	p := parser{rest: payload[n+1:]}
	v.key, v.seq = p.uvarint(), int64(p.uvarint())
	v.typ, v.account, v.main = p.text(), p.text(), p.text()
	v.body = p.rest
	if p.bad {
		return v, errDamaged
	}
	return v, nil
}

// concerns is event.Event.For.
func (v *view) concerns(account string) bool {
	return string(v.account) == account || string(v.main) == account || len(v.account) == 0
}

// event copies it.
func (v *view) event() event.Event {
	return event.Event{ID: v.id, Type: event.Type(v.typ), Account: string(v.account), Main: string(v.main), Key: v.key, Seq: v.seq, Foreign: v.foreign,
		Body: append([]byte(nil), v.body...)}
}

type parser struct {
	rest []byte
	bad  bool
}

func (p *parser) uvarint() uint64 {
	v, n := binary.Uvarint(p.rest)
	if n <= 0 {
		p.bad, p.rest = true, nil
		return 0
	}
	p.rest = p.rest[n:]
	return v
}

func (p *parser) text() []byte {
	n := p.uvarint()
	if n > uint64(len(p.rest)) {
		p.bad, p.rest = true, nil
		return nil
	}
	s := p.rest[:n]
	p.rest = p.rest[n:]
	return s
}
