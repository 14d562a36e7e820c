package sdp

import (
	"bytes"
	"strconv"
)

// withLength copies a part's header, with its Content-Length corrected where it
// has one.
func withLength(head []byte, length int) (out []byte) {
	for at := 0; at < len(head); {
		line := lineAt(head, at)
		at += len(line)
		name, _, ok := bytes.Cut(text(line), []byte(":"))
		if ok && equalFold(bytes.TrimSpace(name), "content-length") {
			out = append(append(out, name...), ": "...)
			out = strconv.AppendInt(out, int64(length), 10)
			line = line[len(text(line)):]
		}
		out = append(out, line...)
	}
	return out
}
