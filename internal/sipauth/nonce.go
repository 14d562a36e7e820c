package sipauth

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"time"

	"onhook/internal/sip"
)

// A nonce is 34 bytes in base64url: the millisecond it was made (6), the
// process that made it (4), a random number that makes it unique (8), and a
// message authentication code (16).
const (
	nonceHead  = 6 + 4 + 8
	nonceMAC   = 16
	nonceBytes = nonceHead + nonceMAC
	nonceText  = (nonceBytes*8 + 5) / 6
)

var nonceEncoding = base64.RawURLEncoding.Strict()

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
	copy(b[nonceHead:], mac[:])
	return nonceEncoding.AppendEncode(dst, b[:])
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
	if n, err := nonceEncoding.Decode(b[:], src[:]); err != nil || n != nonceBytes {
		return id, false
	}
	mac := a.nonceMAC(b[:nonceHead], realm, flow)
	if subtle.ConstantTimeCompare(mac[:], b[nonceHead:]) != 1 {
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

// nonceMAC authenticates a nonce's head, the realm and, on UDP, the address
// without port of the source: a NAT may change the port at any time. A
// connection is its own proof of where it comes from, and devices reconnect from
// elsewhere.
func (a *Authenticator) nonceMAC(head []byte, realm string, flow sip.Flow) block {
	var stack [256]byte
	buf := append(stack[:0], head...)
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

// macKey is a key for AES-CMAC (NIST SP 800-38B, RFC 4493). Over the few blocks
// of a nonce it takes a quarter of what HMAC-SHA256 does, and no allocation.
type macKey struct {
	aes   cipher.Block
	last  [2]block // xored into a whole last block, and into a padded one
	state sync.Pool
}

type block = [aes.BlockSize]byte

// newMACKey makes a key of 16, 24 or 32 bytes; others are hashed first.
func newMACKey(key []byte) *macKey {
	c, err := aes.NewCipher(key)
	if err != nil {
		sum := sha256.Sum256(key)
		if c, err = aes.NewCipher(sum[:]); err != nil {
			panic(err) // cannot be: the size is right
		}
	}
	k := &macKey{aes: c}
	k.state.New = func() any { return new(block) }
	var l block
	c.Encrypt(l[:], l[:])
	for i := range k.last {
		carry := l[0] >> 7
		for j := range l { // times x in GF(2^128)
			l[j] <<= 1
			if j+1 < len(l) {
				l[j] |= l[j+1] >> 7
			}
		}
		l[len(l)-1] ^= carry * 0x87
		k.last[i] = l
	}
	return k
}

// sum computes the code of msg.
func (k *macKey) sum(msg []byte) block {
	x := k.state.Get().(*block) // on the stack it would not stay: cipher.Block is an interface
	defer k.state.Put(x)
	*x = block{}
	for len(msg) > len(x) {
		subtle.XORBytes(x[:], x[:], msg)
		k.aes.Encrypt(x[:], x[:])
		msg = msg[len(x):]
	}
	last := &k.last[0]
	if len(msg) < len(x) {
		last = &k.last[1]
		x[len(msg)] ^= 0x80
	}
	subtle.XORBytes(x[:], x[:], msg)
	subtle.XORBytes(x[:], x[:], last[:])
	k.aes.Encrypt(x[:], x[:])
	return *x
}
