package sdp

import (
	"bytes"
	"strings"
)

// Body is a message body with the header fields that say what it is.
type Body struct {
	Type     string // Content-Type; "" counts as a session description
	Encoding string // Content-Encoding, "" for none
	Bytes    []byte
}

// maxDepth bounds how deep multipart bodies are looked into.
const maxDepth = 4

// Media says what the body would have flow.
func (b Body) Media() (m Media) {
	_, m.Opaque = b.edit(maxDepth, func(description []byte) []byte {
		found := Scan(description)
		m.Described = m.Described || found.Described
		m.Audio = m.Audio || found.Audio
		m.Video = m.Video || found.Video
		m.Other = m.Other || found.Other
		return description
	})
	return m
}

// Refuse returns the body with all streams of these kinds refused in every
// session description in it, and all else as it was: the very same slice where
// nothing was to be refused. What is opaque is left alone.
func (b Body) Refuse(kinds ...string) []byte {
	edited, _ := b.edit(maxDepth, func(description []byte) []byte {
		d, refused := Parse(description), 0
		for _, kind := range kinds {
			refused += d.Refuse(kind)
		}
		if refused == 0 {
			return description
		}
		return d.Append(make([]byte, 0, len(description)+64))
	})
	return edited
}

// edit calls f with each session description of the body and puts in what it
// returns. It reports whether there may be one that cannot be read.
func (b Body) edit(depth int, f func([]byte) []byte) (edited []byte, opaque bool) {
	if len(b.Bytes) == 0 {
		return b.Bytes, false
	}
	if b.Type == "application/sdp" && b.Encoding == "" { // nearly all of them
		return f(b.Bytes), false
	}
	kind, params, _ := strings.Cut(b.Type, ";")
	kind = strings.TrimSpace(kind)
	multipart := len(kind) > len("multipart/") && strings.EqualFold(kind[:len("multipart/")], "multipart/")
	switch {
	case hidden(kind):
		return b.Bytes, true
	case !multipart && kind != "" && !strings.EqualFold(kind, "application/sdp"):
		return b.Bytes, false
	case b.Encoding != "" && !strings.EqualFold(strings.TrimSpace(b.Encoding), "identity"):
		return b.Bytes, true // RFC 3261 20.12
	case !multipart:
		return f(b.Bytes), false
	}
	boundary := parameter(params, "boundary")
	if boundary == "" || depth == 0 {
		return b.Bytes, true
	}
	return editParts(b.Bytes, boundary, depth, f)
}

// hidden reports whether a body of this type may hold a session description
// that is encrypted, or that an edit would make a forgery (RFC 3261 23), or a
// whole message.
func hidden(kind string) bool {
	for _, h := range [...]string{"application/pkcs7-mime", "application/x-pkcs7-mime", "multipart/encrypted", "multipart/signed", "message/sip"} {
		if strings.EqualFold(kind, h) {
			return true
		}
	}
	return false
}

// parameter returns a parameter of a Content-Type, without its quotes.
func parameter(params, name string) string {
	for params != "" {
		var key, value string
		key, params, _ = strings.Cut(params, "=")
		if params = strings.TrimLeft(params, " \t"); strings.HasPrefix(params, `"`) {
			value, params = unquote(params[1:])
			_, params, _ = strings.Cut(params, ";")
		} else {
			value, params, _ = strings.Cut(params, ";")
		}
		if strings.EqualFold(strings.TrimSpace(key), name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// unquote reads up to the closing quote.
func unquote(s string) (value, rest string) {
	var b []byte
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return string(b), s[i+1:]
		case '\\':
			if i++; i == len(s) {
				return string(b), ""
			}
		}
		b = append(b, s[i])
	}
	return string(b), ""
}

// editParts edits the parts of a multipart body (RFC 2046 5.1.1, RFC 5621 3).
// Preamble, delimiters, header fields of the parts and the epilogue stay.
func editParts(b []byte, boundary string, depth int, f func([]byte) []byte) (edited []byte, opaque bool) {
	var out []byte // made when the first part changes
	copied := 0
	from := delimiter(b, 0, boundary)
	for from.next < len(b) && !from.closing {
		to := delimiter(b, from.next, boundary)
		part := b[from.next:to.start]
		changed, hides := editPart(part, depth, f)
		opaque = opaque || hides
		if changed != nil {
			out = append(append(out, b[copied:from.next]...), changed...)
			copied = to.start
		}
		from = to
	}
	if out == nil {
		return b, opaque
	}
	return append(out, b[copied:]...), opaque
}

// mark is a delimiter line: it begins at start, the line break before it
// included, and what follows begins at next.
type mark struct {
	start, next int
	closing     bool
}

// delimiter finds the next delimiter line at or after from; where there is none,
// the end of b.
func delimiter(b []byte, from int, boundary string) mark {
	for at := from; at < len(b); {
		line := lineAt(b, at)
		rest, ok := bytes.CutPrefix(text(line), []byte("--"))
		if ok {
			rest, ok = bytes.CutPrefix(rest, []byte(boundary))
		}
		rest = bytes.TrimRight(rest, " \t")
		if closing := string(rest) == "--"; ok && (closing || len(rest) == 0) {
			return mark{beforeBreak(b, from, at), at + len(line), closing}
		}
		at += len(line)
	}
	return mark{len(b), len(b), true}
}

// beforeBreak steps back over the line break that ends at i.
func beforeBreak(b []byte, from, i int) int {
	if i > from && b[i-1] == '\n' {
		i--
	}
	if i > from && b[i-1] == '\r' {
		i--
	}
	return i
}

// editPart edits one part, header and body; changed is nil when it stays as it
// is.
func editPart(part []byte, depth int, f func([]byte) []byte) (changed []byte, opaque bool) {
	head, body := splitPart(part)
	inner := Body{Type: field(head, "content-type"), Encoding: field(head, "content-encoding"), Bytes: body}
	if inner.Type == "" {
		inner.Type = "text/plain" // RFC 2046 5.1
	}
	switch transfer := field(head, "content-transfer-encoding"); strings.ToLower(transfer) {
	case "", "binary", "8bit", "7bit":
	default:
		inner.Encoding = transfer // RFC 5621 3.2: nobody needs it in SIP; opaque where it matters
	}
	edited, opaque := inner.edit(depth-1, f)
	if len(body) == 0 || len(edited) > 0 && &edited[0] == &body[0] && len(edited) == len(body) {
		return nil, opaque
	}
	return append(withLength(head, len(edited)), edited...), opaque
}

// splitPart parts a part's header, up to and including the empty line, from its
// body.
func splitPart(part []byte) (head, body []byte) {
	for at := 0; at < len(part); {
		line := lineAt(part, at)
		at += len(line)
		if len(text(line)) == 0 {
			return part[:at], part[at:]
		}
	}
	return part, nil
}

// field returns the value of a part's header field, unfolded.
func field(head []byte, lower string) string {
	for at := 0; at < len(head); {
		line := lineAt(head, at)
		at += len(line)
		name, value, ok := bytes.Cut(text(line), []byte(":"))
		if !ok || !equalFold(bytes.TrimSpace(name), lower) {
			continue
		}
		for at < len(head) && (head[at] == ' ' || head[at] == '\t') {
			more := lineAt(head, at)
			at += len(more)
			value = append(append(bytes.Clone(value), ' '), text(more)...)
		}
		return string(bytes.TrimSpace(value))
	}
	return ""
}
