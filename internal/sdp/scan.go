package sdp

import "bytes"

// The media types that permissions are about. Media types are compared without
// case.
const (
	Audio = "audio"
	Video = "video"
)

// Media says what a body would have flow.
type Media struct {
	Described bool // there is a session description with at least one stream
	Audio     bool // an active audio stream
	Video     bool // an active video stream
	Other     bool // an active stream of another kind
	// Opaque is set where there may be a description that cannot be read:
	// encrypted, signed, compressed, or in a multipart body without a boundary.
	Opaque bool
}

// Scan says which streams a description has. It does not allocate, and looks at
// little more than the m= lines.
func Scan(description []byte) (m Media) {
	for at := nextStream(description, 0); at >= 0; {
		line := lineAt(description, at)
		next := nextStream(description, at+len(line))
		end := next
		if end < 0 {
			end = len(description)
		}
		kind, port, _ := splitMedia(line)
		m.Described = true
		if !zeroPort(port) || isBundleOnly(description[at:end]) {
			switch {
			case equalFold(kind, Audio):
				m.Audio = true
			case equalFold(kind, Video):
				m.Video = true
			default:
				m.Other = true
			}
		}
		at = next
	}
	return m
}

// nextStream finds the next m= line at or after from, -1 when there is none.
func nextStream(b []byte, from int) int {
	for {
		i := bytes.Index(b[from:], []byte("m="))
		if i < 0 {
			return -1
		}
		from += i
		if from == 0 || isBreak(b[from-1]) {
			return from
		}
		from += 2
	}
}

// isBundleOnly reports whether a section says a=bundle-only: its port is zero,
// and it is offered all the same (RFC 9143 6).
func isBundleOnly(section []byte) bool {
	for at := 0; at < len(section); {
		line := lineAt(section, at)
		if name, _, ok := attribute(line); ok && equalFold(name, "bundle-only") {
			return true
		}
		at += len(line)
	}
	return false
}

func isBreak(c byte) bool { return c == '\n' || c == '\r' }

// lineAt returns the line that begins at i, with its line break: CR LF, LF, or a
// CR alone (RFC 8866 5: parsers are to be lenient about it).
func lineAt(b []byte, i int) []byte {
	line := b[i:]
	if j := bytes.IndexByte(line, '\n'); j >= 0 {
		line = line[:j+1]
	}
	if j := bytes.IndexByte(line, '\r'); j >= 0 && j+2 != len(line) {
		line = line[:j+1] // alone: what comes behind it is no LF
	}
	return line
}

// text is a line without its line break.
func text(line []byte) []byte {
	for len(line) > 0 && isBreak(line[len(line)-1]) {
		line = line[:len(line)-1]
	}
	return line
}

// splitMedia takes an m= line apart: kind, port with a count where there is one,
// and the rest, which is protocol and formats.
func splitMedia(line []byte) (kind, port, rest []byte) {
	kind, rest = word(text(line)[2:])
	port, rest = word(rest)
	return kind, port, rest
}

// word cuts off the first word.
func word(b []byte) (first, rest []byte) {
	b = withoutSpace(b)
	for i, c := range b {
		if c == ' ' || c == '\t' {
			return b[:i], withoutSpace(b[i:])
		}
	}
	return b, nil
}

func withoutSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	return b
}

// zeroPort reports whether a port, "49170" or "49170/2", is zero. What is no
// number counts as a port: a stream is rather refused than overlooked.
func zeroPort(port []byte) bool {
	for i, c := range port {
		if c != '0' {
			return c == '/' && i > 0
		}
	}
	return len(port) > 0
}

// attribute splits an a= line.
func attribute(line []byte) (name, value []byte, ok bool) {
	if len(line) < 2 || line[0] != 'a' || line[1] != '=' {
		return nil, nil, false
	}
	name, value, _ = bytes.Cut(text(line)[2:], []byte(":"))
	return name, value, true
}

// equalFold compares with a word in lower case, without case.
func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
