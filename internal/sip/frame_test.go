package sip

import (
	"strings"
	"testing"
)

// RFC 3261 18.3: on a stream Content-Length ends a message.
func TestFrame(t *testing.T) {
	big := strings.Repeat("x", MaxMessage)
	for _, c := range []struct {
		what, in string
		n        int
		err      error
	}{
		{"nothing", "", 0, nil},
		{"half a header", "A: b\r\n\r", 0, nil},
		{"no body", "A: b\r\nContent-Length: 0\r\n\r\nrest", 27, nil},
		{"compact, folded", "A: b\r\nl  :\r\n 3\r\n\r\nabcd", 21, nil},
		{"in another field's fold", "A: b\r\n l: 9\r\nl: 1\r\n\r\nab", 22, nil},
		{"body not complete", "A: b\r\nl: 3\r\n\r\nab", 0, nil},
		{"said twice alike", "l: 1\r\nContent-Length: 1\r\n\r\na", 28, nil},
		{"said twice", "l: 1\r\nContent-Length: 2\r\n\r\nab", 0, errLength},
		{"negative", "l: -1\r\n\r\n", 0, errLength},
		{"not a number", "l: 1 2\r\n\r\n", 0, errLength},
		{"missing", "A: b\r\n\r\n", 0, errNoLength},
		{"too large", "l: 65530\r\n\r\n", 0, errTooLarge},
		{"endless header", big, 0, errTooLarge},
		{"largest", "l: 65522\r\n\r\n" + big, 12 + 65522, nil},
	} {
		n, err := Frame([]byte(c.in))
		is(t, c.what, n, c.n)
		is(t, c.what, err, c.err)
	}
}

// A Framer looks at each byte of a header once: fed byte by byte, a long
// message costs no more than a few passes over it.
func TestFramerGrowingBuffer(t *testing.T) {
	msg := []byte("X: " + strings.Repeat("y", 2000) + "\r\nl: 4\r\n\r\nbody")
	stream := append(append([]byte(nil), msg...), msg...)
	var f Framer
	begin, got := 0, 0
	for end := range stream {
		n, err := f.Next(stream[begin : end+1])
		if err != nil {
			t.Fatal(err)
		}
		if n != 0 {
			is(t, "length", n, len(msg))
			begin += n
			got++
			is(t, "starts anew", f, Framer{})
		} else if f.total == 0 && f.scanned < end+1-begin-3 {
			t.Fatalf("after %d bytes %d are remembered", end+1-begin, f.scanned)
		}
	}
	is(t, "messages", got, 2)
}
