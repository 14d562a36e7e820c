package account

import (
	"crypto/rand"
	"encoding/binary"
)

const (
	upperDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	alnum       = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
)

// TokenLen is the length of an auth token.
const TokenLen = 40

func newAuthID(prefix string) string { return prefix + randomText(8, upperDigits) }

func newToken() string { return randomText(TokenLen, alnum) }

// newEndpointID draws from all numbers of 15 digits.
func newEndpointID() EndpointID {
	const low, span = 1e14, 9e14
	const limit = (1 << 63) / uint64(span) * uint64(span)
	for {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails (crypto/rand)
		if n := binary.LittleEndian.Uint64(b[:]) >> 1; n < limit {
			return EndpointID(uint64(low) + n%uint64(span))
		}
	}
}

// randomText draws n characters of the alphabet, all equally likely.
func randomText(n int, alphabet string) string {
	out := make([]byte, 0, n)
	limit := 256 / len(alphabet) * len(alphabet)
	for len(out) < n {
		var b [64]byte
		_, _ = rand.Read(b[:]) // never fails (crypto/rand)
		for _, c := range b {
			if int(c) < limit && len(out) < n {
				out = append(out, alphabet[int(c)%len(alphabet)])
			}
		}
	}
	return string(out)
}
