package siptransaction

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"hash/maphash"
	"strings"

	"onhook/internal/sip"
)

// key identifies a transaction: a seeded 128-bit hash of what RFC 3261 17.1.3
// and 17.2.3 match by, so that a table holds no strings.
type key struct{ hi, lo uint64 }

type hasher struct{ hi, lo, tag maphash.Seed }

func newHasher() hasher {
	return hasher{maphash.MakeSeed(), maphash.MakeSeed(), maphash.MakeSeed()}
}

func (h *hasher) sum(b []byte) key {
	return key{maphash.Bytes(h.hi, b), maphash.Bytes(h.lo, b)}
}

// server gives the key of the server transaction that a request of this method
// belongs to. ACK and CANCEL find their INVITE with method INVITE.
//
// RFC 3261 17.2.3: branch, sent-by and method. The address the request came
// from completes the sent-by, as received does (18.2.1): behind NATs sent-by is
// a private address that many devices share, and not all branches are unique.
func (h *hasher) server(m *sip.Message, flow sip.Flow, method string) key {
	buf := make([]byte, 0, 512)
	addr := flow.Remote.Addr().As16()
	buf = append(buf, addr[:]...)
	branch := m.Via.Branch()
	// The cookie alone would identify nothing (RFC 4475 3.2.1).
	if len(branch) <= len(sip.MagicCookie) || !strings.HasPrefix(branch, sip.MagicCookie) {
		return h.sum(appendLegacy(buf, m, method))
	}
	buf = field(buf, "3261")
	buf = field(buf, method)
	buf = field(buf, branch)
	buf = field(buf, m.Via.Host)
	buf = binary.BigEndian.AppendUint16(buf, m.Via.Port)
	return h.sum(buf)
}

// appendLegacy writes what RFC 3261 17.2.3 compares when the branch is not
// that of an RFC 3261 element. The To tag is left out for INVITE, since the ACK
// of a failed one carries the tag of the response.
func appendLegacy(buf []byte, m *sip.Message, method string) []byte {
	buf = field(buf, "2543")
	buf = field(buf, method)
	buf = field(buf, m.RequestURI)
	buf = field(buf, m.From.Tag())
	buf = field(buf, m.CallID)
	buf = binary.BigEndian.AppendUint32(buf, m.CSeq)
	if c := m.Values(sip.Via); c.Next() {
		buf = field(buf, c.Value)
	}
	if method != sip.INVITE {
		buf = field(buf, m.To.Tag())
	}
	return buf
}

// client gives the key of a client transaction (RFC 3261 17.1.3): branch and
// CSeq method.
func (h *hasher) client(branch, method string) key {
	buf := make([]byte, 0, 256)
	return h.sum(field(field(buf, method), branch))
}

// field appends s with its length, so that no two lists of fields look alike.
func field(buf []byte, s string) []byte {
	buf = binary.BigEndian.AppendUint32(buf, uint32(len(s)))
	return append(buf, s...)
}

// toTag derives a To tag from a transaction's key: the same for every response
// that this server makes within it (RFC 3261 8.2.6.2, 9.2).
func (h *hasher) toTag(k key) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], k.hi)
	binary.BigEndian.PutUint64(b[8:], k.lo)
	sum := maphash.Bytes(h.tag, b[:])
	return hex.EncodeToString(binary.BigEndian.AppendUint64(nil, sum))
}

// NewBranch makes a branch parameter for a request of ours: unique, and not to
// be guessed, so that nobody off the path can answer in the peer's name.
func NewBranch() string { return NewMarkedBranch("") }

// NewMarkedBranch is NewBranch with something of the caller's at its end.
func NewMarkedBranch(mark string) string {
	var random [16]byte
	rand.Read(random[:])
	var buf [64]byte
	b := hex.AppendEncode(append(buf[:0], sip.MagicCookie...), random[:])
	return string(append(b, mark...))
}

// keepMethod returns a method that may be kept: the constants of package sip
// as they are, a copy of any other.
func keepMethod(m string) string {
	switch m {
	case sip.ACK, sip.BYE, sip.CANCEL, sip.INFO, sip.INVITE, sip.MESSAGE, sip.NOTIFY, sip.OPTIONS,
		sip.PRACK, sip.PUBLISH, sip.REFER, sip.REGISTER, sip.SUBSCRIBE, sip.UPDATE:
		return m
	}
	return strings.Clone(m)
}
