package siptransport

import (
	"encoding/binary"
	"net/netip"
)

const (
	stunHeader       = 20
	stunCookie       = 0x2112a442
	stunRequest      = 0x0001
	stunSuccess      = 0x0101
	stunError        = 0x0111
	stunErrorCode    = 0x0009
	stunUnknown      = 0x000a
	stunXORMapped    = 0x0020
	stunOptionalFrom = 0x8000
)

// isSTUN reports whether a datagram is STUN (RFC 5389 6): the first two bits of
// it are zero, as in no SIP message, and it bears the cookie and its length.
func isSTUN(b []byte) bool {
	return len(b) >= stunHeader && b[0] < 0x40 && binary.BigEndian.Uint32(b[4:]) == stunCookie &&
		int(binary.BigEndian.Uint16(b[2:])) == len(b)-stunHeader && len(b)%4 == 0
}

// appendSTUN appends the answer to a binding request: the address it came from
// (RFC 5389 10.1.2, RFC 5626 8). ok is false for what gets no answer.
func appendSTUN(dst, req []byte, from netip.AddrPort) (answer []byte, ok bool) {
	if binary.BigEndian.Uint16(req) != stunRequest {
		return dst, false
	}
	start := len(dst)
	dst = binary.BigEndian.AppendUint16(dst, stunSuccess)
	dst = append(dst, 0, 0)
	dst = append(dst, req[4:stunHeader]...)
	if unknown, found := stunUnknownAttribute(req[stunHeader:]); found {
		// RFC 5389 7.3.1: an attribute we must understand and do not is named in a 420.
		binary.BigEndian.PutUint16(dst[start:], stunError)
		dst = append(dst, 0, byte(stunErrorCode), 0, 4, 0, 0, 4, 20)
		dst = append(dst, 0, byte(stunUnknown), 0, 2)
		dst = binary.BigEndian.AppendUint16(dst, unknown)
		dst = append(dst, 0, 0)
	} else {
		dst = appendXORMapped(dst, req[4:stunHeader], from)
	}
	binary.BigEndian.PutUint16(dst[start+2:], uint16(len(dst)-start-stunHeader))
	return dst, true
}

// appendXORMapped appends XOR-MAPPED-ADDRESS (RFC 5389 15.2). key is the cookie
// and the transaction id.
func appendXORMapped(dst, key []byte, from netip.AddrPort) []byte {
	ip := from.Addr().Unmap().WithZone("")
	family := byte(1)
	if ip.Is6() {
		family = 2
	}
	dst = binary.BigEndian.AppendUint16(dst, stunXORMapped)
	dst = binary.BigEndian.AppendUint16(dst, uint16(4+ip.BitLen()/8))
	dst = append(dst, 0, family)
	dst = binary.BigEndian.AppendUint16(dst, from.Port()^stunCookie>>16)
	at := len(dst)
	if family == 1 {
		b := ip.As4()
		dst = append(dst, b[:]...)
	} else {
		b := ip.As16()
		dst = append(dst, b[:]...)
	}
	for i := range dst[at:] {
		dst[at+i] ^= key[i]
	}
	return dst
}

// stunUnknownAttribute looks for an attribute that must be understood. Those of
// authentication may be there: we need none and ignore them.
func stunUnknownAttribute(b []byte) (kind uint16, found bool) {
	for len(b) >= 4 {
		kind = binary.BigEndian.Uint16(b)
		n := 4 + (int(binary.BigEndian.Uint16(b[2:]))+3)&^3
		switch kind {
		case 0x0001, 0x0006, 0x0008, 0x0014, 0x0015, stunXORMapped:
		default:
			if kind < stunOptionalFrom {
				return kind, true
			}
		}
		if n > len(b) {
			break
		}
		b = b[n:]
	}
	return 0, false
}
