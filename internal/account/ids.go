package account

import (
	"crypto/rand"
	"encoding/binary"
	"strconv"
)

const (
	upperDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	alnum       = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
)

// TokenLen is the length of an auth token.
const TokenLen = 40

func newAuthID(prefix string) string { return prefix + randomText(8, upperDigits) }

func newToken() string { return randomText(TokenLen, alnum) }

// newAccountID draws a number of nine digits.
func newAccountID() int64 { return int64(randomNumber(1e8, 9e8)) }

// newApplicationID draws 15 digits and puts 00 behind: so many that none is
// guessed, and so few that a client which reads a number keeps all of them.
func newApplicationID() string {
	return strconv.FormatUint(randomNumber(1e14, 9e14), 10) + "00"
}

// newEndpointID draws from all numbers of 15 digits.
func newEndpointID() EndpointID { return EndpointID(randomNumber(1e14, 9e14)) }

// randomNumber draws from low to low+span-1, all equally likely.
func randomNumber(low, span uint64) uint64 {
	limit := (1 << 63) / span * span
	for {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails (crypto/rand)
		if n := binary.LittleEndian.Uint64(b[:]) >> 1; n < limit {
			return low + n%span
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
