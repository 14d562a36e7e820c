package sipproxy

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"onhook/internal/account"
	"onhook/internal/sip"
	"onhook/internal/trunk"
)

// CookieParam is the Record-Route URI parameter that carries the cookie.
const CookieParam = "c"

const cookieVersion = 3

// side is one end of a call as the cookie seals it: the way to it, and whose
// device it is.
type side struct {
	Endpoint account.EndpointID // 0 for a party that is no endpoint of ours
	Flow     sip.Flow
	Port     uint16   // where it listens when its connection is gone, 0 for nowhere
	Host     string   // name of a server that is not ours, under which it is found again and its certificate is made out
	Trunk    trunk.ID // 0: it is no trunk
	CSeq     uint8    // what its CSeqs are above those of the other side's own requests
	Device   [8]byte  // by which the device is known again on another flow, see deviceOf; zero for none
}

// cookie is what a Record-Route seals: one call, its dialog identifiers and
// both sides.
type cookie struct {
	Call   CallID
	Epoch  uint32  // of the process that made it
	Invite bool    // made by an INVITE; else its dialog ends with its subscription
	CallID [8]byte // hash of the Call-ID
	Tag    [8]byte // hash of the caller's tag
	Caller side
	Callee side
}

// sealer seals cookies with AES-256-GCM: opaque to those who carry them, and
// forged by nobody.
type sealer struct{ aead cipher.AEAD }

func newSealer(key []byte) (sealer, error) {
	sum := sha256.Sum256(append([]byte("onhook dialog cookie\x00"), key...))
	block, err := aes.NewCipher(sum[:])
	if err != nil {
		return sealer{}, fmt.Errorf("dialog cookie: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	return sealer{aead}, err
}

// errCookie is what a cookie that this server did not seal comes back with.
var errCookie = errors.New("dialog cookie is not ours")

// misread is what a cookie never contains: SIPp takes the first CSeq in a message
// for the header, and one cookie in 70,000 has it by chance.
var misread = []byte("CSeq")

// seal appends the cookie in base64url.
func (s sealer) seal(dst []byte, c *cookie) []byte {
	buf := cookieBuffers.Get().(*cookieBuffer)
	defer cookieBuffers.Put(buf)
	plain := append(buf.plain[:0], cookieVersion, 0)
	if c.Invite {
		plain[1] = 1
	}
	plain = append(plain, c.Call[:]...)
	plain = binary.BigEndian.AppendUint32(plain, c.Epoch)
	plain = append(plain, c.CallID[:]...)
	plain = append(plain, c.Tag[:]...)
	plain = c.Caller.append(plain)
	plain = c.Callee.append(plain)

	start := len(dst)
	for {
		sealed := buf.sealed[:s.aead.NonceSize()]
		rand.Read(sealed) // never fails: crypto/rand ends the program instead
		sealed = s.aead.Seal(sealed, sealed, plain, nil)
		dst = base64.RawURLEncoding.AppendEncode(dst[:start], sealed)
		if !bytes.Contains(dst[start:], misread) {
			return dst
		}
	}
}

// cookieBuffer is room for one cookie at work: the cipher is behind an
// interface, so that what it is given would be on the heap each time.
type cookieBuffer struct{ plain, sealed, text [maxCookie]byte }

// maxCookie bounds a cookie's text, which is longer than what it stands for.
const maxCookie = 512

var cookieBuffers = sync.Pool{New: func() any { return new(cookieBuffer) }}

// open reads a cookie back into c.
func (s sealer) open(c *cookie, text string) error {
	if len(text) > maxCookie {
		return errCookie
	}
	buf := cookieBuffers.Get().(*cookieBuffer)
	defer cookieBuffers.Put(buf)
	n, err := base64.RawURLEncoding.Decode(buf.sealed[:], append(buf.text[:0], text...))
	if err != nil || n < s.aead.NonceSize() {
		return errCookie
	}
	sealed := buf.sealed[:n]
	nonce := sealed[:s.aead.NonceSize()]
	plain, err := s.aead.Open(sealed[len(nonce):len(nonce)], nonce, sealed[len(nonce):], nil) // in place
	if err != nil || len(plain) < 38 || plain[0] != cookieVersion {
		return errCookie
	}
	*c = cookie{Invite: plain[1] == 1, Call: CallID(plain[2:18]), Epoch: binary.BigEndian.Uint32(plain[18:])}
	copy(c.CallID[:], plain[22:])
	copy(c.Tag[:], plain[30:])
	rest := plain[38:]
	for _, side := range [...]*side{&c.Caller, &c.Callee} {
		if rest, err = side.read(rest); err != nil {
			return err
		}
	}
	return nil
}

func (s side) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(s.Endpoint))
	b = append(b, byte(s.Flow.Transport))
	b = binary.BigEndian.AppendUint16(b, s.Flow.Listener)
	b = binary.BigEndian.AppendUint64(b, s.Flow.Conn)
	addr := s.Flow.Remote.Addr().Unmap().WithZone("").AsSlice()
	b = append(b, byte(len(addr)))
	b = append(b, addr...)
	b = binary.BigEndian.AppendUint16(b, s.Flow.Remote.Port())
	b = binary.BigEndian.AppendUint16(b, s.Port)
	b = append(b, s.Device[:]...)
	host := s.Host
	if len(host) > maxSealedHost {
		host = "" // then it is reached by its connection alone
	}
	b = binary.BigEndian.AppendUint32(b, uint32(s.Trunk))
	b = append(b, s.CSeq, byte(len(host)))
	return append(b, host...)
}

// maxSealedHost keeps a cookie short enough for a header field.
const maxSealedHost = 100

func (s *side) read(b []byte) (rest []byte, err error) {
	if len(b) < 20 {
		return nil, errCookie
	}
	s.Endpoint = account.EndpointID(binary.BigEndian.Uint64(b))
	s.Flow.Transport = sip.Transport(b[8])
	s.Flow.Listener = binary.BigEndian.Uint16(b[9:])
	s.Flow.Conn = binary.BigEndian.Uint64(b[11:])
	n := int(b[19])
	b = b[20:]
	if len(b) < n+2+2+8+4+1+1 {
		return nil, errCookie
	}
	addr, ok := netip.AddrFromSlice(b[:n])
	if !ok && n != 0 {
		return nil, errCookie
	}
	s.Flow.Remote = netip.AddrPortFrom(addr, binary.BigEndian.Uint16(b[n:]))
	s.Port = binary.BigEndian.Uint16(b[n+2:])
	copy(s.Device[:], b[n+4:n+12])
	s.Trunk, s.CSeq = trunk.ID(binary.BigEndian.Uint32(b[n+12:])), b[n+16]
	host := int(b[n+17])
	if b = b[n+18:]; len(b) < host {
		return nil, errCookie
	}
	s.Host = string(b[:host])
	return b[host:], nil
}

// hash8 shortens a dialog identifier or an instance for the cookie.
func hash8(s string) (h [8]byte) {
	if s == "" {
		return h
	}
	sum := sha256.Sum256([]byte(s))
	copy(h[:], sum[:])
	return h
}
