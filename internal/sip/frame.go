package sip

import (
	"bytes"
	"strings"
)

// Frame looks at the beginning of a stream (RFC 3261 18.3) and returns the
// length of the first message, 0 when it is not complete yet. Keepalives
// between messages (CRLF) are the caller's. An error, always an *Error, means
// that the stream cannot be read any further: no Content-Length, a false one,
// or a limit. What is there may still be answered: Parse it and look whether
// it is Answerable.
func Frame(b []byte) (n int, err error) {
	var f Framer
	return f.Next(b)
}

// Framer does what Frame does on a buffer that grows, and looks at every byte
// once. The zero Framer is ready.
type Framer struct {
	scanned int // no end of the header begins before here
	total   int // length of the message once its header is complete
}

// Next looks at b, which begins with the bytes of the last call when that
// returned 0, and is the rest of the stream otherwise.
func (f *Framer) Next(b []byte) (n int, err error) {
	if f.total == 0 {
		window := b[:min(len(b), MaxMessage)]
		end := bytes.Index(window[min(f.scanned, len(window)):], []byte("\r\n\r\n"))
		if end < 0 {
			if len(b) >= MaxMessage {
				return 0, errTooLarge
			}
			f.scanned = max(0, len(b)-3)
			return 0, nil
		}
		end += f.scanned
		length, err := contentLength(view(b[:end+2]))
		if err != nil {
			return 0, err
		}
		if f.total = end + 4 + length; f.total > MaxMessage {
			return 0, errTooLarge
		}
	}
	if f.total > len(b) {
		return 0, nil
	}
	n = f.total
	*f = Framer{}
	return n, nil
}

// contentLength finds the Content-Length in a message's header. On a stream
// there must be one (RFC 3261 18.3), and two that differ cut it in two ways.
func contentLength(head string) (length int, err error) {
	length = -1
	for head != "" {
		line := 0
		for {
			line += strings.Index(head[line:], "\r\n") + 2
			if line == len(head) || !isSpace(head[line]) {
				break // else a folded line belongs to this one
			}
		}
		field := head[:line]
		head = head[line:]
		n := span(field, 0, classToken)
		colon := skipSpace(field, n)
		if field[colon] != ':' || LookupHeader(field[:n]) != ContentLength {
			continue
		}
		v, ok := number(strings.Trim(field[colon+1:], " \t\r\n"), MaxMessage)
		if !ok || length >= 0 && length != int(v) {
			return 0, errLength
		}
		length = int(v)
	}
	if length < 0 {
		return 0, errNoLength
	}
	return length, nil
}
