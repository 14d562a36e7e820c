package siptrace

import (
	"bytes"
	"slices"
	"strings"
)

// mark stands for what is not shown.
const mark = "***"

// secretFields are header fields whose digest responses would let somebody who
// sees them guess at the password.
var secretFields = [][]byte{[]byte("authorization:"), []byte("proxy-authorization:")}

// masked copies a message without what must not be seen: the responses and
// client nonces of digest credentials, and the keys of media (RFC 4568 a=crypto,
// RFC 4566 k=).
func masked(msg []byte) []byte {
	out := make([]byte, 0, len(msg))
	for len(msg) > 0 {
		end := bytes.IndexByte(msg, '\n') + 1
		if end == 0 {
			end = len(msg)
		}
		out = appendMasked(out, msg[:end])
		msg = msg[end:]
	}
	return out
}

func appendMasked(out, l []byte) []byte {
	for _, name := range secretFields {
		if len(l) >= len(name) && bytes.EqualFold(l[:len(name)], name) {
			return hide(hide(append(out, l...), len(out), "response="), len(out), "cnonce=")
		}
	}
	if bytes.HasPrefix(l, []byte("a=crypto:")) {
		return cut(out, l, bytes.Index(l, []byte("inline:")), len("inline:"))
	}
	if bytes.HasPrefix(l, []byte("k=")) {
		return cut(out, l, 0, len("k="))
	}
	return append(out, l...)
}

// cut keeps a line up to a place, and marks what is missing. Without the place
// nothing of the value is kept.
func cut(out, l []byte, at, n int) []byte {
	if at < 0 {
		at, n = bytes.IndexAny(l, ":="), 1
	}
	out = append(append(out, l[:at+n]...), mark...)
	return append(out, l[len(bytes.TrimRight(l, "\r\n")):]...)
}

// hide puts the mark in the place of a parameter's value, quoted or not, in
// what follows from start. name is in small letters.
func hide(out []byte, start int, name string) []byte {
	for at := start; ; {
		from := after(out, at, name)
		if from < 0 {
			return out
		}
		at = from
		if i := from - len(name); i > start && !delimits(out[i-1]) { // the end of another name
			continue
		}
		to := from
		if to < len(out) && out[to] == '"' {
			from++
			for to++; to < len(out) && out[to] != '"'; to++ {
			}
		} else {
			for to < len(out) && !delimits(out[to]) {
				to++
			}
		}
		out = slices.Replace(out, from, to, []byte(mark)...)
		at = from + len(mark)
	}
}

// after is where a name ends that stands in b from a place on, in letters of any
// size; -1: it does not.
func after(b []byte, at int, name string) int {
	for ; at+len(name) <= len(b); at++ {
		if b[at]|0x20 == name[0] && strings.EqualFold(string(b[at:at+len(name)]), name) {
			return at + len(name)
		}
	}
	return -1
}

func delimits(c byte) bool { return c == ' ' || c == ',' || c == '\t' || c == '\r' || c == '\n' }
