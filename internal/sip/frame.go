package sip

import (
	"bytes"
	"strings"
)

// Frame looks at the beginning of a stream (RFC 3261 18.3) and returns the
// length of the first message, 0 when it is not complete yet. Keepalives
// between messages (CRLF) are the caller's. An error means that the stream
// cannot be read any further: no Content-Length, a false one, or a limit.
func Frame(b []byte) (n int, err error) {
	window := b
	if len(window) > MaxMessage {
		window = window[:MaxMessage]
	}
	end := bytes.Index(window, []byte("\r\n\r\n"))
	if end < 0 {
		if len(b) >= MaxMessage {
			return 0, errTooLarge
		}
		return 0, nil
	}
	length := -1
	for head := view(b[:end+2]); head != ""; {
		line := 0
		for {
			line += strings.Index(head[line:], "\r\n") + 2
			if line == len(head) || !isSpace(head[line]) {
				break // else a folded line belongs to this one
			}
		}
		name, value, ok := strings.Cut(head[:line], ":")
		head = head[line:]
		if !ok || LookupHeader(trim(name)) != ContentLength {
			continue
		}
		v, ok := number(strings.Trim(value, " \t\r\n"), MaxMessage)
		if !ok || length >= 0 && length != int(v) {
			return 0, errLength
		}
		length = int(v)
	}
	if length < 0 {
		return 0, errNoLength
	}
	total := end + 4 + length
	if total > MaxMessage {
		return 0, errTooLarge
	}
	if total > len(b) {
		return 0, nil
	}
	return total, nil
}

var (
	errTooLarge = &Error{513, "Message Too Large"}
	errNoLength = &Error{400, "Missing Content-Length header field"}
)
