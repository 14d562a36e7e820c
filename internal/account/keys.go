package account

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
)

// KeyLen is the length of the key that Keys are derived from.
const KeyLen = 32

// Keys seals what is secret at rest (AES-256-GCM) and hashes auth tokens
// (HMAC-SHA-256). Every sealed value is bound to the row it belongs to, so
// that values swapped between rows do not open.
type Keys struct {
	seal      cipher.AEAD
	token     []byte
	dummyHash [32]byte
}

// NewKeys derives the keys from one secret of KeyLen bytes.
func NewKeys(master []byte) (*Keys, error) {
	if len(master) != KeyLen {
		return nil, fmt.Errorf("the key has %d bytes, want %d", len(master), KeyLen)
	}
	sealKey, err := hkdf.Key(sha256.New, master, nil, "onhook seal v1", 32)
	if err != nil {
		return nil, fmt.Errorf("derive sealing key: %w", err)
	}
	tokenKey, err := hkdf.Key(sha256.New, master, nil, "onhook token v1", 32)
	if err != nil {
		return nil, fmt.Errorf("derive token key: %w", err)
	}
	block, err := aes.NewCipher(sealKey)
	if err != nil {
		return nil, fmt.Errorf("sealing key: %w", err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("sealing key: %w", err)
	}
	k := &Keys{seal: gcm, token: tokenKey}
	_, _ = rand.Read(k.dummyHash[:]) // never fails (crypto/rand)
	return k, nil
}

// HashToken is what an auth token is compared by.
func (k *Keys) HashToken(token string) (sum [32]byte) {
	h := hmac.New(sha256.New, k.token)
	h.Write([]byte(token))
	h.Sum(sum[:0])
	return sum
}

// SealSecret seals an endpoint's secret.
func (k *Keys) SealSecret(id EndpointID, s Secret) []byte {
	var b [48]byte
	n := copy(b[:], s.MD5[:])
	if s.HasSHA256 {
		n += copy(b[n:], s.SHA256[:])
	}
	return k.sealed(b[:n], "endpoint "+id.String())
}

// OpenSecret is the reverse of SealSecret.
func (k *Keys) OpenSecret(id EndpointID, sealed []byte) (s Secret, err error) {
	b, err := k.open(sealed, "endpoint "+id.String())
	if err != nil {
		return s, fmt.Errorf("secret of endpoint %s: %w", id, err)
	}
	switch len(b) {
	case 48:
		s.HasSHA256 = true
		copy(s.SHA256[:], b[16:])
	case 16:
	default:
		return s, fmt.Errorf("secret of endpoint %s has %d bytes", id, len(b))
	}
	copy(s.MD5[:], b)
	return s, nil
}

// SealToken seals an account's auth token.
func (k *Keys) SealToken(authID, token string) []byte {
	return k.sealed([]byte(token), "token "+authID)
}

// OpenToken is the reverse of SealToken.
func (k *Keys) OpenToken(authID string, sealed []byte) (string, error) {
	b, err := k.open(sealed, "token "+authID)
	if err != nil {
		return "", fmt.Errorf("token of account %s: %w", authID, err)
	}
	return string(b), nil
}

// SealWebhook seals a webhook's secret.
func (k *Keys) SealWebhook(id, secret string) []byte {
	return k.sealed([]byte(secret), "webhook "+id)
}

// OpenWebhook is the reverse of SealWebhook.
func (k *Keys) OpenWebhook(id string, sealed []byte) (string, error) {
	b, err := k.open(sealed, "webhook "+id)
	if err != nil {
		return "", fmt.Errorf("secret of webhook %s: %w", id, err)
	}
	return string(b), nil
}

// SealAnswer seals the answer to a request with a key.
func (k *Keys) SealAnswer(authID, key string, answer []byte) []byte {
	return k.sealed(answer, "answer "+authID+" "+key)
}

// OpenAnswer is the reverse of SealAnswer.
func (k *Keys) OpenAnswer(authID, key string, sealed []byte) ([]byte, error) {
	b, err := k.open(sealed, "answer "+authID+" "+key)
	if err != nil {
		return nil, fmt.Errorf("an answer of account %s: %w", authID, err)
	}
	return b, nil
}

// SealTrunk seals the password that a trunk is answered with.
func (k *Keys) SealTrunk(name, password string) []byte {
	return k.sealed([]byte(password), "trunk "+name)
}

// OpenTrunk is the reverse of SealTrunk.
func (k *Keys) OpenTrunk(name string, sealed []byte) (string, error) {
	b, err := k.open(sealed, "trunk "+name)
	if err != nil {
		return "", fmt.Errorf("password of trunk %s: %w", name, err)
	}
	return string(b), nil
}

// Check makes a value by which VerifyCheck recognises these keys.
func (k *Keys) Check() []byte { return k.sealed([]byte("onhook"), "check") }

// VerifyCheck returns ErrWrongKey when other keys made the check value.
func (k *Keys) VerifyCheck(check []byte) error {
	_, err := k.open(check, "check")
	return err
}

func (k *Keys) sealed(plain []byte, bound string) []byte {
	nonce := make([]byte, k.seal.NonceSize(), k.seal.NonceSize()+len(plain)+k.seal.Overhead())
	_, _ = rand.Read(nonce) // never fails (crypto/rand)
	return k.seal.Seal(nonce, nonce, plain, []byte(bound))
}

func (k *Keys) open(sealed []byte, bound string) ([]byte, error) {
	n := k.seal.NonceSize()
	if len(sealed) < n+k.seal.Overhead() {
		return nil, errors.New("sealed value is too short")
	}
	plain, err := k.seal.Open(nil, sealed[:n], sealed[n:], []byte(bound))
	if err != nil {
		return nil, ErrWrongKey
	}
	return plain, nil
}
