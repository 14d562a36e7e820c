package sipproxy

import (
	"bytes"
	"strings"
)

// staticCodecs are those that need no rtpmap (RFC 3551 6).
var staticCodecs = map[string]string{"0": "PCMU", "3": "GSM", "4": "G723", "8": "PCMA", "9": "G722", "15": "G728", "18": "G729"}

// codecOf finds the first audio codec of an answer, "" where there is none. It
// looks only as far as it must: the proxy reads no SDP otherwise.
func codecOf(body []byte) string {
	start := bytes.Index(body, []byte("m=audio "))
	if start < 0 || start > 0 && body[start-1] != '\n' {
		return ""
	}
	line, rest, _ := bytes.Cut(body[start+len("m=audio "):], []byte("\n"))
	_, line, _ = bytes.Cut(line, []byte(" ")) // port
	_, line, _ = bytes.Cut(line, []byte(" ")) // protocol
	format, _, _ := bytes.Cut(bytes.TrimSpace(line), []byte(" "))
	if len(format) == 0 {
		return ""
	}
	if name, ok := staticCodecs[string(format)]; ok {
		return name
	}
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		if bytes.HasPrefix(line, []byte("m=")) {
			return ""
		}
		mapping, ok := bytes.CutPrefix(line, []byte("a=rtpmap:"))
		if !ok {
			continue
		}
		number, encoding, _ := bytes.Cut(bytes.TrimSpace(mapping), []byte(" "))
		if bytes.Equal(number, format) {
			name, _, _ := bytes.Cut(bytes.TrimSpace(encoding), []byte("/"))
			return codecName(name)
		}
	}
	return ""
}

// codecName keeps the usual names without copying them.
func codecName(name []byte) string {
	for _, known := range [...]string{"opus", "PCMU", "PCMA", "G722", "G729", "GSM", "speex", "iLBC", "AMR", "AMR-WB", "EVS", "L16"} {
		if string(name) == known {
			return known
		}
	}
	if len(name) > 32 {
		name = name[:32]
	}
	return strings.ToValidUTF8(string(name), "")
}
