// Package sipgruu makes and reads globally routable user agent URIs (RFC 5627),
// which name one device of an endpoint. It stores nothing: a public GRUU holds
// the instance of the device, and a temporary one holds sealed what tells the
// registration it was given out with.
package sipgruu

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"

	"onhook/internal/location"
	"onhook/internal/sip"
)

// prefix begins the user part of temporary GRUUs. No endpoint's username holds
// a full stop, so that it collides with none.
const prefix = "tgruu."

const (
	plainSize  = 20 // key, hash of the instance, Binding.GRUUs
	sealedSize = 12 + plainSize + 16
)

var tokenSize = base64.RawURLEncoding.EncodedLen(sealedSize)

// GRUUs makes and reads the GRUUs of one server.
type GRUUs struct{ aead cipher.AEAD }

// New takes the key that seals temporary GRUUs, the same after a restart.
func New(key []byte) (*GRUUs, error) {
	sum := sha256.Sum256(key)
	block, err := aes.NewCipher(sum[:])
	if err != nil {
		return nil, fmt.Errorf("temporary GRUUs: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	return &GRUUs{aead}, err
}

// AppendPublic writes the public GRUU of a device (RFC 5627 3.1): the
// endpoint's address-of-record with the instance as gr.
func AppendPublic(dst []byte, user, domain, instance string) []byte {
	dst = append(dst, "sip:"...)
	dst = append(dst, user...)
	dst = append(dst, '@')
	dst = append(dst, domain...)
	dst = append(dst, ";gr="...)
	return appendEscaped(dst, instance)
}

// appendEscaped writes a URI parameter's value (RFC 3261 25.1, pvalue). What
// could end the quoted string around the URI is escaped as well.
func appendEscaped(dst []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.!~*'()[]/:&+$", c) >= 0 {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		}
	}
	return dst
}

// AppendTemporary writes a new temporary GRUU of a binding's device (RFC 5627
// 3.1). Two of them do not show that they name the same one.
func (g *GRUUs) AppendTemporary(dst []byte, domain string, key location.Key, b *location.Binding) []byte {
	var sealed [sealedSize]byte
	nonce := sealed[:g.aead.NonceSize()]
	rand.Read(nonce) // never fails: crypto/rand ends the program instead
	plain := sealed[len(nonce) : len(nonce)+plainSize]
	binary.BigEndian.PutUint64(plain, uint64(key))
	binary.BigEndian.PutUint64(plain[8:], hash(b.InstanceID))
	binary.BigEndian.PutUint32(plain[16:], b.GRUUs)
	g.aead.Seal(plain[:0], nonce, plain, nil) // in place
	dst = append(dst, "sip:"+prefix...)
	dst = base64.RawURLEncoding.AppendEncode(dst, sealed[:])
	dst = append(dst, '@')
	dst = append(dst, domain...)
	return append(dst, ";gr"...)
}

// Is reports whether a URI claims to be a GRUU: it has the parameter gr (RFC
// 5627 3.1).
func Is(u sip.URI) bool {
	if u.Params == "" || !u.IsSIP() {
		return false
	}
	_, ok := u.Param("gr")
	return ok
}

// Device is what a GRUU names.
type Device struct {
	Temporary bool
	Key       location.Key // of a temporary GRUU; the user part of a public one says it

	instance    string // of a public GRUU
	instanceSum uint64 // of a temporary one, as is
	gruus       uint32 // Binding.GRUUs
}

// Read looks into a GRUU; false when it is none, or a temporary one that this
// server did not make.
func (g *GRUUs) Read(u sip.URI) (Device, bool) {
	value, ok := u.Param("gr")
	if !ok || !u.IsSIP() || !u.HasUser {
		return Device{}, false
	}
	if value != "" {
		return Device{instance: sip.Unescape(value)}, true
	}
	token, ok := strings.CutPrefix(sip.Unescape(u.User), prefix)
	if !ok || len(token) != tokenSize {
		return Device{}, false
	}
	sealed, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return Device{}, false
	}
	nonce := sealed[:g.aead.NonceSize()]
	plain, err := g.aead.Open(nil, nonce, sealed[len(nonce):], nil)
	if err != nil {
		return Device{}, false
	}
	return Device{Temporary: true, Key: location.Key(binary.BigEndian.Uint64(plain)),
		instanceSum: binary.BigEndian.Uint64(plain[8:]), gruus: binary.BigEndian.Uint32(plain[16:])}, true
}

// Names reports whether a binding is one of the device. A temporary GRUU holds
// for the registration it was told in: a device that has left, or registers with
// another Call-ID, has made it void for good (RFC 5627 3.1).
func (d Device) Names(b *location.Binding) bool {
	if b.InstanceID == "" {
		return false
	}
	if !d.Temporary {
		return strings.EqualFold(d.instance, b.InstanceID)
	}
	return d.instanceSum == hash(b.InstanceID) && d.gruus == b.GRUUs
}

// hash names an instance without case, as URNs compare.
func hash(s string) uint64 {
	sum := sha256.Sum256([]byte(strings.ToLower(s)))
	return binary.BigEndian.Uint64(sum[:])
}
