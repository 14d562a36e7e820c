package location

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"onhook/internal/sip"
)

// A record holds all bindings of one address-of-record, oldest first, in the
// form the journal stores and the index keeps in memory:
//
//	version(1) epoch(8, big endian) count(uvarint) binding…
//
// A binding begins with two bytes of flags; in version 1, which is still read,
// with the first of them alone. Version 2 knows no GRUUs.
//
// The epoch names the process that wrote it: connection numbers mean nothing
// in any other. Strings are a uvarint length and the bytes; times are uvarint
// milliseconds, later ones relative to earlier ones.

const (
	recordVersion = 3
	recordHeader  = 9
	maxBindings   = 1000 // far above any max_contacts; a larger count is damage
)

// Bits of a binding's first flag byte.
const (
	flagFlowBound   = 1 << iota
	flagSuspect     //
	flagGrace       // graceUntil follows
	flagInstanceIn  // InstanceID is a part of Params
	flagInstanceOut // InstanceID stands by itself
	flagQ           // q follows; 1.0 otherwise
	flagRemote6     // 16 address bytes
	flagZone        // an IPv6 zone follows the address
)

// Bits of the second one. Those that are not here are 0.
const (
	flagNAT       = 1 << 0 // BehindNAT
	missesShift   = 1      // two bits: misses
	flagsOfMisses = 3 << missesShift
	flagPrevious  = 1 << 3 // Previous
	flagGRUUs     = 1 << 4 // GRUUs follows, in 4 bytes, big endian
)

// appendRecord encodes the bindings of one address-of-record.
func appendRecord(dst []byte, epoch uint64, bindings []Binding) []byte {
	dst = append(dst, recordVersion)
	dst = binary.BigEndian.AppendUint64(dst, epoch)
	dst = binary.AppendUvarint(dst, uint64(len(bindings)))
	for i := range bindings {
		dst = appendBinding(dst, &bindings[i])
	}
	return dst
}

func appendBinding(dst []byte, b *Binding) []byte {
	var flags byte
	if b.FlowBound {
		flags |= flagFlowBound
	}
	if b.State == Suspect {
		flags |= flagSuspect
	}
	if b.graceUntil != 0 {
		flags |= flagGrace
	}
	instanceAt := -1
	if b.InstanceID != "" {
		if instanceAt = strings.Index(b.Params, b.InstanceID); instanceAt >= 0 {
			flags |= flagInstanceIn
		} else {
			flags |= flagInstanceOut
		}
	}
	if b.Q != 1000 {
		flags |= flagQ
	}
	addr := b.Flow.Remote.Addr()
	if addr.Is6() {
		flags |= flagRemote6
	}
	if addr.Zone() != "" {
		flags |= flagZone
	}
	second := b.misses << missesShift & flagsOfMisses
	if b.BehindNAT {
		second |= flagNAT
	}
	if b.Previous {
		second |= flagPrevious
	}
	if b.GRUUs != 0 {
		second |= flagGRUUs
	}
	dst = append(dst, flags, second)
	dst = appendString(dst, b.ID)
	dst = appendString(dst, b.Contact)
	dst = appendString(dst, b.Params)
	if flags&flagQ != 0 {
		dst = binary.AppendUvarint(dst, uint64(b.Q))
	}
	switch {
	case flags&flagInstanceIn != 0:
		dst = binary.AppendUvarint(dst, uint64(instanceAt))
		dst = binary.AppendUvarint(dst, uint64(len(b.InstanceID)))
	case flags&flagInstanceOut != 0:
		dst = appendString(dst, b.InstanceID)
	}
	dst = binary.AppendUvarint(dst, uint64(b.RegID))
	dst = appendString(dst, b.CallID)
	dst = binary.AppendUvarint(dst, uint64(b.CSeq))
	dst = appendFlow(dst, b.Flow)
	dst = appendString(dst, b.Path)
	dst = appendString(dst, b.UserAgent)
	registered, seen, expires := b.RegisteredAt.UnixMilli(), b.LastSeen.UnixMilli(), b.Expires.UnixMilli()
	dst = binary.AppendUvarint(dst, uint64(registered))
	dst = binary.AppendVarint(dst, seen-registered)
	dst = binary.AppendVarint(dst, expires-seen)
	if b.graceUntil != 0 {
		dst = binary.AppendUvarint(dst, uint64(b.graceUntil))
	}
	if b.GRUUs != 0 {
		dst = binary.BigEndian.AppendUint32(dst, b.GRUUs)
	}
	return dst
}

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func appendFlow(dst []byte, f sip.Flow) []byte {
	dst = append(dst, byte(f.Transport))
	dst = binary.AppendUvarint(dst, uint64(f.Listener))
	dst = binary.AppendUvarint(dst, f.Conn)
	addr := f.Remote.Addr()
	switch {
	case addr.Is6():
		a := addr.As16()
		dst = append(dst, a[:]...)
	case addr.Is4():
		a := addr.As4()
		dst = append(dst, a[:]...)
	default: // no address: a flow nobody can send on
		dst = append(dst, 0, 0, 0, 0)
	}
	if zone := addr.Zone(); zone != "" {
		dst = appendString(dst, zone)
	}
	return binary.BigEndian.AppendUint16(dst, f.Remote.Port())
}

// decodeRecord appends the bindings of a record to dst. Their strings are parts
// of rec. Connection numbers are as written; see the epoch.
func decodeRecord(rec string, dst []Binding) (bindings []Binding, epoch uint64, err error) {
	if len(rec) < recordHeader {
		return dst, 0, fmt.Errorf("%w: %d bytes", ErrRecord, len(rec))
	}
	if rec[0] < 1 || rec[0] > recordVersion {
		return dst, 0, fmt.Errorf("%w: version %d, this program knows %d", ErrRecord, rec[0], recordVersion)
	}
	for i := 1; i < recordHeader; i++ {
		epoch = epoch<<8 | uint64(rec[i])
	}
	r := reader{s: rec[recordHeader:], version: rec[0]}
	n := r.uvarint()
	if n > maxBindings {
		return dst, 0, fmt.Errorf("%w: %d bindings", ErrRecord, n)
	}
	for ; n > 0 && !r.bad; n-- {
		dst = append(dst, Binding{})
		r.binding(&dst[len(dst)-1])
	}
	if r.bad || r.s != "" {
		return dst, 0, fmt.Errorf("%w: damaged", ErrRecord)
	}
	return dst, epoch, nil
}

// reader cuts values off a record; bad sticks.
type reader struct {
	s       string
	version byte
	bad     bool
}

func (r *reader) binding(b *Binding) {
	flags, second := r.byte(), byte(0)
	if r.version > 1 {
		second = r.byte()
		b.BehindNAT = second&flagNAT != 0
		b.Previous = second&flagPrevious != 0
		b.misses = second & flagsOfMisses >> missesShift
	}
	b.FlowBound = flags&flagFlowBound != 0
	if flags&flagSuspect != 0 {
		b.State = Suspect
	}
	b.ID = r.string()
	b.Contact = r.string()
	b.Params = r.string()
	b.Q = 1000
	if flags&flagQ != 0 {
		b.Q = uint16(r.uvarint())
	}
	switch {
	case flags&flagInstanceIn != 0:
		at, n := r.uvarint(), r.uvarint()
		if size := uint64(len(b.Params)); at > size || n > size-at {
			r.bad = true
			return
		}
		b.InstanceID = b.Params[at : at+n]
	case flags&flagInstanceOut != 0:
		b.InstanceID = r.string()
	}
	b.RegID = uint32(r.uvarint())
	b.CallID = r.string()
	b.CSeq = uint32(r.uvarint())
	r.flow(&b.Flow, flags)
	b.Path = r.string()
	b.UserAgent = r.string()
	registered := int64(r.uvarint())
	seen := registered + r.varint()
	b.RegisteredAt = time.UnixMilli(registered)
	b.LastSeen = time.UnixMilli(seen)
	b.Expires = time.UnixMilli(seen + r.varint())
	if flags&flagGrace != 0 {
		b.graceUntil = int64(r.uvarint())
	}
	if second&flagGRUUs != 0 {
		if v := r.take(4); !r.bad {
			b.GRUUs = uint32(v[0])<<24 | uint32(v[1])<<16 | uint32(v[2])<<8 | uint32(v[3])
		}
	}
}

func (r *reader) flow(f *sip.Flow, flags byte) {
	f.Transport = sip.Transport(r.byte())
	f.Listener = uint16(r.uvarint())
	f.Conn = r.uvarint()
	var addr netip.Addr
	if flags&flagRemote6 != 0 {
		var a [16]byte
		copy(a[:], r.take(16))
		addr = netip.AddrFrom16(a)
	} else {
		var a [4]byte
		copy(a[:], r.take(4))
		addr = netip.AddrFrom4(a)
	}
	if flags&flagZone != 0 {
		addr = addr.WithZone(r.string())
	}
	if port := r.take(2); !r.bad {
		f.Remote = netip.AddrPortFrom(addr, uint16(port[0])<<8|uint16(port[1]))
	}
}

func (r *reader) take(n uint64) string {
	if r.bad || n > uint64(len(r.s)) {
		r.bad = true
		return ""
	}
	s := r.s[:n]
	r.s = r.s[n:]
	return s
}

func (r *reader) byte() byte {
	if s := r.take(1); s != "" {
		return s[0]
	}
	return 0
}

func (r *reader) string() string { return r.take(r.uvarint()) }

func (r *reader) uvarint() uint64 {
	var v uint64
	for i := 0; i < len(r.s) && i < binary.MaxVarintLen64; i++ {
		c := r.s[i]
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			r.s = r.s[i+1:]
			return v
		}
	}
	r.bad = true
	return 0
}

func (r *reader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}
