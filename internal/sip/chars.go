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
	classToken   = 1 << iota // alphanum -.!%*_+`'~
	classHost                // alphanum - . and _ (seen in the field)
	classUser                // unreserved, user-unreserved, : before the password, # of dial strings
	classPlain               // what needs no escape in a user part: unreserved, user-unreserved
	classHex                 //
	classScheme              // alphanum + - .
	classWord                // callid: token and ()<>:\"/[]?{} and @
	classParam               // uri parameters: unreserved []/:&+$ % and = (in values, seen in the field)
	classHeaders             // uri headers: unreserved []/?:+$ % = &
	classURI                 // whatever may stand in a URI between < and >
	classValue               // unquoted value of a header parameter: lenient, all but separators
	classQuoted              // stands in a quoted string for itself
	classDisplay             // unquoted display name: token, white space and, as phones write it, UTF-8
)

var charClass = classes()

func classes() (table [256]uint16) {
	mark := func(set string, class uint16) {
		for i := 0; i < len(set); i++ {
			table[set[i]] |= class
		}
	}
	const alphanum = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	const unreserved = alphanum + "-_.!~*'()"
	const token = alphanum + "-.!%*_+`'~"
	mark(token, classToken|classWord|classDisplay)
	mark(alphanum+"-._", classHost)
	mark(unreserved+"&=+$,;?/", classUser|classPlain)
	mark("%:#", classUser)
	mark("0123456789abcdefABCDEF", classHex)
	mark(alphanum+"+-.", classScheme)
	mark("()<>:\\\"/[]?{}@", classWord)
	mark(unreserved+"[]/:&+$%=", classParam)
	mark(unreserved+"[]/?:+$%=&", classHeaders)
	mark(" \t", classDisplay|classQuoted)
	for c := '!'; c <= 0xff; c++ {
		if c == 0x7f {
			continue
		}
		if c != '<' && c != '>' && c != '"' {
			table[c] |= classURI
			if c != ';' && c != ',' {
				table[c] |= classValue
			}
		}
		if c != '"' && c != '\\' {
			table[c] |= classQuoted
		}
		if c >= 0x80 {
			table[c] |= classDisplay
		}
	}
	return table
}

func only(s string, class uint16) bool { return span(s, 0, class) == len(s) }

// span returns where the run of characters of a class that begins at i ends.
func span(s string, i int, class uint16) int {
	for i < len(s) && charClass[s[i]]&class != 0 {
		i++
	}
	return i
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

func skipSpace(s string, i int) int {
	for i < len(s) && isSpace(s[i]) {
		i++
	}
	return i
}

func trim(s string) string {
	for len(s) > 0 && isSpace(s[0]) {
		s = s[1:]
	}
	for len(s) > 0 && isSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// equalFold compares two strings without the case of ASCII letters, which is
// all that SIP folds: strings.EqualFold takes the Kelvin sign for a k.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		if a[i] != b[i] && lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
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
// included; 0 when it is not closed. Control characters stand in it escaped
// only (RFC 3261 25.1: qdtext).
func quoted(s string) int {
	for i := 1; ; i += 2 {
		if i = span(s, i, classQuoted); i >= len(s) {
			return 0
		}
		if s[i] == '"' {
			return i + 1
		}
		if s[i] != '\\' {
			return 0
		}
	}
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

// AppendQuoted writes s as a quoted string, such as a display name or a realm.
func AppendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\r' || c == '\n':
			dst = append(dst, ' ') // RFC 3261 25.1: not even escaped
			continue
		case c == '"' || c == '\\' || c < ' ' || c == 0x7f:
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '"')
}

// Unescape decodes the %HH escapes of a URI component (RFC 3261 19.1.2). It
// allocates only where there is one.
func Unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		c, n := unescapeAt(s, i)
		b.WriteByte(c)
		i += n
	}
	return b.String()
}

// AppendUser writes s as the user part of a SIP URI, escaping what may not
// stand there (RFC 3261 19.1.2).
func AppendUser(dst []byte, s string) []byte {
	const digits = "0123456789ABCDEF"
	for i := 0; i < len(s); i++ {
		if c := s[i]; charClass[c]&classPlain != 0 {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', digits[c>>4], digits[c&15])
		}
	}
	return dst
}

// unescapeAt returns the character at i, decoded, and how long it is written.
func unescapeAt(s string, i int) (c byte, n int) {
	if s[i] == '%' && i+2 < len(s) && only(s[i+1:i+3], classHex) {
		return unhex(s[i+1])<<4 | unhex(s[i+2]), 3
	}
	return s[i], 1
}

// equalUnescaped compares two URI components after decoding their escapes.
func equalUnescaped(a, b string, fold bool) bool {
	i, j := 0, 0
	for i < len(a) && j < len(b) {
		c, n := unescapeAt(a, i)
		d, k := unescapeAt(b, j)
		if c != d && !(fold && lower(c) == lower(d)) {
			return false
		}
		i, j = i+n, j+k
	}
	return i == len(a) && j == len(b)
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
