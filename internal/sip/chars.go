package sip

import (
	"strings"
	"unsafe"
)

// view returns b's bytes as a string without copying; see doc.go for how long
// it may be used.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// Character classes of RFC 3261 25.1.
const (
	classToken = 1 << iota // alphanum -.!%*_+`'~
	classHost              // alphanum - . : [ ] and _ (seen in the field)
	classUser              // unreserved, user-unreserved, and : for the password
	classHex
	classScheme // alphanum + - .
	classWord   // callid: token and ()<>:\"/[]?{}
	classParam  // uri parameters: unreserved []/:&+$ and %
)

var charClass [256]uint8

func init() {
	mark := func(set string, class uint8) {
		for i := 0; i < len(set); i++ {
			charClass[set[i]] |= class
		}
	}
	const alphanum = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	const unreserved = alphanum + "-_.!~*'()"
	mark(alphanum+"-.!%*_+`'~", classToken)
	mark(alphanum+"-.:[]_", classHost)
	mark(unreserved+"&=+$,;?/%:#", classUser) // # is not in the grammar; dial strings carry it
	mark("0123456789abcdefABCDEF", classHex)
	mark(alphanum+"+-.", classScheme)
	mark(alphanum+"-.!%*_+`'~()<>:\\\"/[]?{}@", classWord)
	mark(unreserved+"[]/:&+$%", classParam)
}

func only(s string, class uint8) bool {
	for i := 0; i < len(s); i++ {
		if charClass[s[i]]&class == 0 {
			return false
		}
	}
	return true
}

func isToken(s string) bool { return s != "" && only(s, classToken) }

// escapesValid reports whether every % in s begins an escape of two hex digits.
func escapesValid(s string) bool {
	for i := strings.IndexByte(s, '%'); i >= 0 && i < len(s); i++ {
		if s[i] == '%' && (i+2 >= len(s) || !only(s[i+1:i+3], classHex)) {
			return false
		}
	}
	return true
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

func trim(s string) string {
	for len(s) > 0 && isSpace(s[0]) {
		s = s[1:]
	}
	for len(s) > 0 && isSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// number reads decimal digits up to max; ok is false for anything else.
func number(s string, max uint64) (n uint64, ok bool) {
	if s == "" {
		return 0, false
	}
	for i := 0; i < len(s); i++ {
		d := s[i] - '0'
		if d > 9 || n > (max-uint64(d))/10 {
			return 0, false
		}
		n = n*10 + uint64(d)
	}
	return n, true
}

// quoted returns the length of the quoted string s begins with, its quotes
// included; 0 when it is not closed.
func quoted(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

// Unquote removes the quotes and the escapes of a quoted string (RFC 3261
// 25.1); any other string comes back as it is. It allocates only where there
// is an escape.
func Unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	s = s[1 : len(s)-1]
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Unescape decodes the %HH escapes of a URI component (RFC 3261 19.1.2). It
// allocates only where there is one.
func Unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && only(s[i+1:i+3], classHex) {
			b.WriteByte(unhex(s[i+1])<<4 | unhex(s[i+2]))
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func unhex(c byte) byte {
	switch {
	case c >= 'a':
		return c - 'a' + 10
	case c >= 'A':
		return c - 'A' + 10
	}
	return c - '0'
}

// nextValue cuts the first element off a comma-separated list, minding quoted
// strings and <…>. ok is false for an unbalanced quote or bracket.
func nextValue(s string) (value, rest string, ok bool) {
	angle := false
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			if angle {
				continue
			}
			n := quoted(s[i:])
			if n == 0 {
				return "", "", false
			}
			i += n - 1
		case '<':
			angle = true
		case '>':
			angle = false
		case ',':
			if !angle {
				return trim(s[:i]), trim(s[i+1:]), true
			}
		}
	}
	return trim(s), "", !angle
}
