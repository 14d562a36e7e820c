package siptrace

import (
	"bytes"
	"strconv"
)

// callID finds the Call-ID of a message that is sent, as we write it or as a
// phone did.
func callID(msg []byte) []byte {
	if _, rest, ok := bytes.Cut(msg, []byte("\nCall-ID: ")); ok {
		return line(rest)
	}
	v, _ := field(msg, "call-id", "i")
	return v
}

// line cuts off the rest of a line, without its end.
func line(b []byte) []byte {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		b = b[:i]
	}
	return bytes.TrimRight(b, "\r")
}

// field returns the value of the first header field of a name, in its long or
// its compact form.
func field(msg []byte, name, compact string) ([]byte, bool) {
	for rest := msg; ; {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			return nil, false
		}
		rest = rest[i+1:]
		l := line(rest)
		if len(l) == 0 {
			return nil, false
		}
		key, value, ok := bytes.Cut(l, []byte(":"))
		key = bytes.TrimSpace(key)
		if ok && (bytes.EqualFold(key, []byte(name)) || compact != "" && bytes.EqualFold(key, []byte(compact))) {
			return bytes.TrimSpace(value), true
		}
	}
}

// status is a response's code, 0 of a request.
func status(msg []byte) int {
	if !bytes.HasPrefix(msg, []byte("SIP/2.0 ")) || len(msg) < 11 {
		return 0
	}
	n, err := strconv.Atoi(string(msg[8:11]))
	if err != nil {
		return 0
	}
	return n
}

// final reports whether a message is a final response other than a challenge.
func final(msg []byte) bool { return status(msg) >= 200 && !challenged(msg) }

func challenged(msg []byte) bool { s := status(msg); return s == 401 || s == 407 }
