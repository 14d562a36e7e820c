package api

import (
	"bytes"
	"encoding/json"
)

// What follows takes JSON apart that is known to be valid (checkJSON), which
// makes it short and quick.

// objectMembers calls f with each member of an object, in order; false for
// another value.
func objectMembers(text []byte, f func(name string, value json.RawMessage)) bool {
	at := skipSpace(text, 0)
	if at == len(text) || text[at] != '{' {
		return false
	}
	for at = skipSpace(text, at+1); text[at] != '}'; {
		end := stringEnd(text, at)
		name, _ := unquote(text[at:end])
		at = skipSpace(text, skipSpace(text, end)+1) // the colon
		end = valueEnd(text, at)
		f(name, text[at:end])
		at = nextElement(text, end)
	}
	return true
}

// arrayElements returns the elements of an array; false for another value.
func arrayElements(text []byte) (all []json.RawMessage, ok bool) {
	at := skipSpace(text, 0)
	if at == len(text) || text[at] != '[' {
		return nil, false
	}
	for at = skipSpace(text, at+1); text[at] != ']'; {
		end := valueEnd(text, at)
		all = append(all, text[at:end])
		at = nextElement(text, end)
	}
	return all, true
}

// nextElement skips the comma behind an element, where there is one.
func nextElement(text []byte, at int) int {
	at = skipSpace(text, at)
	if text[at] == ',' {
		at = skipSpace(text, at+1)
	}
	return at
}

func skipSpace(text []byte, at int) int {
	for at < len(text) && (text[at] == ' ' || text[at] == '\t' || text[at] == '\r' || text[at] == '\n') {
		at++
	}
	return at
}

// valueEnd returns where the value ends that begins at a place.
func valueEnd(text []byte, at int) int {
	depth := 0
	for at < len(text) {
		switch text[at] {
		case '"':
			at = stringEnd(text, at)
		case '{', '[':
			depth++
			at++
			continue
		case '}', ']':
			depth--
			at++
		case ',', ':', ' ', '\t', '\r', '\n':
			at++
			continue
		default: // a number, true, false or null
			for at < len(text) && bytes.IndexByte(literalEnds, text[at]) < 0 {
				at++
			}
		}
		if depth == 0 {
			break
		}
	}
	return at
}

var literalEnds = []byte(",]} \t\r\n")

func stringEnd(text []byte, at int) int {
	for at++; text[at] != '"'; at++ {
		if text[at] == '\\' {
			at++
		}
	}
	return at + 1
}

// unquote reads a string; false for another value.
func unquote(text []byte) (s string, ok bool) {
	if text[0] != '"' {
		return "", false
	}
	if bytes.IndexByte(text, '\\') < 0 {
		return string(text[1 : len(text)-1]), true
	}
	return s, json.Unmarshal(text, &s) == nil
}
