package sdp

import (
	"bytes"
	"slices"
)

// carried are the attributes that may stand in the tagged section of a BUNDLE
// group alone, for all its streams: those of the categories TRANSPORT and
// IDENTICAL (RFC 8859 4, RFC 9143 7.1.3).
var carried = []string{
	"candidate", "remote-candidates", "end-of-candidates", "ice-ufrag", "ice-pwd", "ice-options", "ice-pacing", "ice-mismatch",
	"fingerprint", "setup", "connection", "tls-id", "dtls-id", "crypto", "key-mgmt", "rtcp", "rtcp-mux", "rtcp-mux-only", "rtcp-rsize",
}

// handOver passes the transport of a BUNDLE group whose tagged stream is
// refused to the first of its streams that stays, unless that one has its own.
// sections holds the session's lines at 0 and stream i's at i+1.
func (d *Description) handOver(sections [][][]byte, streams []Stream, gone []int, tags [][]byte) {
	from, to := -1, -1
	for _, tag := range tags {
		i := slices.IndexFunc(streams, func(s Stream) bool { return s.MID == string(tag) })
		switch {
		case i < 0 || !streams[i].Active:
		case from < 0 && !streams[i].BundleOnly:
			from = i
		case to < 0 && !slices.Contains(gone, i):
			to = i
		}
	}
	if from < 0 || to < 0 || !slices.Contains(gone, from) {
		return
	}
	old, heir := sections[from+1], sections[to+1]
	if !shareTransport(streams[from], streams[to], old, heir) {
		return
	}
	if a, b := streams[from].Port, streams[to].Port; a != b { // RFC 9143 6: the tagged one has the address, and is never bundle-only
		_, port, _ := splitMedia(old[0])
		heir[0] = withPort(heir[0], port)
		heir = slices.DeleteFunc(heir, func(line []byte) bool {
			name, _, ok := attribute(line)
			return ok && equalFold(name, "bundle-only") || bytes.HasPrefix(line, []byte("c="))
		})
		heir = withConnection(heir, old)
	}
	heir = append(heir, inherited(old, heir)...)
	for i := range heir { // what was the last line may have another behind it now
		if i < len(heir)-1 {
			heir[i] = d.terminated(heir[i])
		}
	}
	sections[to+1] = heir
}

// terminated gives a line without a line break the one that the first line has.
func (d *Description) terminated(line []byte) []byte {
	if isBreak(line[len(line)-1]) {
		return line
	}
	return slices.Concat(line, d.lines[0][len(text(d.lines[0])):])
}

// shareTransport reports whether two streams of a group use one transport: the
// second is bundle-only, has the same ICE credentials, or the same port and no
// credentials of its own.
func shareTransport(a, b Stream, sectionA, sectionB [][]byte) bool {
	if ufrag := value(sectionB, "ice-ufrag"); ufrag != "" && !b.BundleOnly {
		return ufrag == value(sectionA, "ice-ufrag")
	}
	return b.BundleOnly || a.Port == b.Port
}

// withConnection puts a section's c= lines, if any, behind the m= and i= lines
// of another.
func withConnection(heir, old [][]byte) [][]byte {
	at := 1
	for at < len(heir) && bytes.HasPrefix(heir[at], []byte("i=")) {
		at++
	}
	for _, line := range old {
		if bytes.HasPrefix(line, []byte("c=")) {
			heir = slices.Insert(heir, at, line)
			at++
		}
	}
	return heir
}

// inherited returns the attribute lines of the transport that the heir lacks.
func inherited(old, heir [][]byte) (lines [][]byte) {
	for _, line := range old {
		name, _, ok := attribute(line)
		if !ok || !slices.ContainsFunc(carried, func(c string) bool { return equalFold(name, c) }) {
			continue
		}
		if _, has := find(heir, string(bytes.ToLower(name))); !has {
			lines = append(lines, line)
		}
	}
	return lines
}
