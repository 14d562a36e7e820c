package sipauth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"math/rand/v2"
	"time"

	"onhook/internal/sip"
)

// A nonce is 36 bytes in base64url: the millisecond it was made (6), the
// process that made it (4), a random number that makes it unique (8), and an
// HMAC (18).
const (
	nonceHead  = 6 + 4 + 8
	nonceMAC   = 18
	nonceBytes = nonceHead + nonceMAC
	nonceText  = nonceBytes / 3 * 4
)

// nonceID identifies a nonce of this process.
type nonceID struct {
	issued int64 // milliseconds since 1970
	random uint64
}

func (a *Authenticator) appendNonce(dst []byte, realm string, flow sip.Flow) []byte {
	var b [nonceBytes]byte
	issued := a.config.Now().UnixMilli()
	binary.BigEndian.PutUint16(b[0:], uint16(issued>>32))
	binary.BigEndian.PutUint32(b[2:], uint32(issued))
	binary.BigEndian.PutUint32(b[6:], a.instance)
	binary.BigEndian.PutUint64(b[10:], rand.Uint64())
	mac := a.nonceMAC(b[:nonceHead], realm, flow)
	copy(b[nonceHead:], mac[:nonceMAC])
	return base64.RawURLEncoding.AppendEncode(dst, b[:])
}

// openNonce reads a nonce. ok is false when it must not be used (any more): it
// is not ours, not for this realm or this source, too old, or of a process
// before this one.
func (a *Authenticator) openNonce(text, realm string, flow sip.Flow) (id nonceID, ok bool) {
	if len(text) != nonceText {
		return id, false
	}
	var src [nonceText]byte
	copy(src[:], text)
	var b [nonceBytes]byte
	if n, err := base64.RawURLEncoding.Decode(b[:], src[:]); err != nil || n != nonceBytes {
		return id, false
	}
	mac := a.nonceMAC(b[:nonceHead], realm, flow)
	if subtle.ConstantTimeCompare(mac[:nonceMAC], b[nonceHead:]) != 1 {
		return id, false
	}
	id.issued = int64(binary.BigEndian.Uint16(b[0:]))<<32 | int64(binary.BigEndian.Uint32(b[2:]))
	id.random = binary.BigEndian.Uint64(b[10:])
	age := time.Duration(a.config.Now().UnixMilli()-id.issued) * time.Millisecond
	if age > a.config.NonceTTL || age < -maxSkew || binary.BigEndian.Uint32(b[6:]) != a.instance {
		return id, false
	}
	return id, true
}

// maxSkew is how far the clock may have been set back since a nonce was made.
const maxSkew = time.Minute

// nonceMAC is the HMAC over a nonce's head, the realm and, on UDP, the address
// without port of the source: a NAT may change the port at any time. A
// connection is its own proof of where it comes from, and devices reconnect from
// elsewhere.
func (a *Authenticator) nonceMAC(head []byte, realm string, flow sip.Flow) [sha256.Size]byte {
	buf := make([]byte, sha256.BlockSize, 512)
	buf = append(buf, head...)
	if flow.Transport == sip.UDP {
		addr := flow.Remote.Addr().As16()
		buf = append(buf, 'u')
		buf = append(buf, addr[:]...)
	} else {
		buf = append(buf, 'c')
	}
	buf = append(buf, realm...)
	return a.key.sum(buf)
}

// hmacKey is a key for HMAC-SHA256 (RFC 2104), padded for both passes.
// crypto/hmac would allocate for every message.
type hmacKey struct{ inner, outer [sha256.BlockSize]byte }

func newHMACKey(key []byte) (k hmacKey) {
	if len(key) > sha256.BlockSize {
		sum := sha256.Sum256(key)
		key = sum[:]
	}
	copy(k.inner[:], key)
	k.outer = k.inner
	for i := range k.inner {
		k.inner[i] ^= 0x36
		k.outer[i] ^= 0x5c
	}
	return k
}

// sum computes the HMAC of buf, whose first block is kept free for it.
func (k *hmacKey) sum(buf []byte) [sha256.Size]byte {
	copy(buf, k.inner[:])
	inner := sha256.Sum256(buf)
	var second [sha256.BlockSize + sha256.Size]byte
	copy(second[:], k.outer[:])
	copy(second[sha256.BlockSize:], inner[:])
	return sha256.Sum256(second[:])
}
