package event

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"
)

// AppendString appends parts as one string of JSON, as encoding/json does
// without its escapes for HTML.
func AppendString(dst []byte, parts ...string) []byte {
	start := len(dst)
	dst = append(dst, '"')
	for _, s := range parts {
		if !plain(s) {
			return appendJSON(dst[:start], joined(parts))
		}
		dst = append(dst, s...)
	}
	return append(dst, '"')
}

// joined is strings.Join that never returns a part itself, so that parts need
// not be on the heap.
func joined(parts []string) string {
	var b strings.Builder
	for _, s := range parts {
		b.WriteString(s)
	}
	return b.String()
}

// plain reports whether a string needs no escapes. What is not ASCII may.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// AppendTime appends a time as JSON: in UTC, to the second.
func AppendTime(dst []byte, t time.Time) []byte {
	dst = append(dst, '"')
	dst = t.UTC().AppendFormat(dst, time.RFC3339)
	return append(dst, '"')
}

// appendJSON appends what always marshals.
func appendJSON(dst []byte, v any) []byte {
	b := bytes.NewBuffer(dst)
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// appendHead appends the envelope up to its data, which a '}' follows.
func (e *Event) appendHead(dst []byte, at time.Time) []byte {
	dst = append(dst, `{"id":"`...)
	dst = e.ID.append(dst)
	dst = append(dst, `","type":`...)
	dst = AppendString(dst, string(e.Type))
	dst = append(dst, `,"created_at":`...)
	dst = AppendTime(dst, at)
	dst = append(dst, `,"account":`...)
	dst = AppendString(dst, e.Account)
	return append(dst, `,"data":`...)
}
