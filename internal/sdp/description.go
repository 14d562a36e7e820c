package sdp

import (
	"bytes"
	"strconv"
)

// Description is a session description taken apart into lines. It keeps views
// of the bytes it was parsed from.
type Description struct {
	lines    [][]byte // with their line breaks
	sections []int    // where each m= line stands in lines
}

// Stream is one m= section.
type Stream struct {
	Kind       string // as written, such as "audio"
	Port       int    // 0 also for one that is no number up to 65535
	Active     bool   // offered or accepted: it has a port, or is bundle-only
	Direction  string // sendrecv, sendonly, recvonly or inactive (RFC 8866 6.7)
	MID        string // RFC 5888 4, "" for none
	Bundle     int    // which BUNDLE group lists the mid, counted from 1; 0 for none
	BundleOnly bool   // RFC 9143 6
}

// Parse takes a description apart. It fails on nothing: Append gives back the
// same bytes.
func Parse(b []byte) *Description {
	d := &Description{}
	for at := 0; at < len(b); {
		line := lineAt(b, at)
		if bytes.HasPrefix(line, []byte("m=")) {
			d.sections = append(d.sections, len(d.lines))
		}
		d.lines = append(d.lines, line)
		at += len(line)
	}
	return d
}

// Append writes the description.
func (d *Description) Append(dst []byte) []byte {
	for _, line := range d.lines {
		dst = append(dst, line...)
	}
	return dst
}

// section is the lines of stream i.
func (d *Description) section(i int) [][]byte {
	end := len(d.lines)
	if i+1 < len(d.sections) {
		end = d.sections[i+1]
	}
	return d.lines[d.sections[i]:end]
}

// session is the lines before the first stream.
func (d *Description) session() [][]byte {
	if len(d.sections) == 0 {
		return d.lines
	}
	return d.lines[:d.sections[0]]
}

// Streams lists the streams in their order.
func (d *Description) Streams() []Stream {
	streams := make([]Stream, 0, len(d.sections))
	ofSession := direction(d.session(), "sendrecv")
	groups := d.bundles()
	for i := range d.sections {
		section := d.section(i)
		kind, port, _ := splitMedia(section[0])
		number, _, _ := bytes.Cut(port, []byte("/"))
		s := Stream{Kind: string(kind), Direction: direction(section, ofSession), MID: value(section, "mid")}
		if n, err := strconv.ParseUint(string(number), 10, 16); err == nil {
			s.Port = int(n)
		}
		_, s.BundleOnly = find(section, "bundle-only")
		s.Active = !zeroPort(port) || s.BundleOnly
		for j, tags := range groups {
			if s.MID != "" && s.Bundle == 0 && contains(tags, s.MID) {
				s.Bundle = j + 1
			}
		}
		streams = append(streams, s)
	}
	return streams
}

func direction(lines [][]byte, otherwise string) string {
	for _, line := range lines {
		if name, _, ok := attribute(line); ok {
			for _, d := range [...]string{"sendrecv", "sendonly", "recvonly", "inactive"} {
				if equalFold(name, d) {
					return d
				}
			}
		}
	}
	return otherwise
}

// find returns the value of a section's first attribute of this name.
func find(lines [][]byte, name string) (value []byte, ok bool) {
	for _, line := range lines {
		if n, v, isAttribute := attribute(line); isAttribute && equalFold(n, name) {
			return v, true
		}
	}
	return nil, false
}

func value(lines [][]byte, name string) string {
	v, _ := find(lines, name)
	return string(bytes.TrimSpace(v))
}

// bundles returns the identification-tags of each BUNDLE group.
func (d *Description) bundles() (groups [][][]byte) {
	for _, line := range d.session() {
		if semantics, tags, ok := group(line); ok && equalFold(semantics, "bundle") {
			groups = append(groups, tags)
		}
	}
	return groups
}

// group splits an a=group line (RFC 5888 5).
func group(line []byte) (semantics []byte, tags [][]byte, ok bool) {
	name, value, ok := attribute(line)
	if !ok || !equalFold(name, "group") {
		return nil, nil, false
	}
	fields := bytes.Fields(value)
	if len(fields) == 0 {
		return nil, nil, false
	}
	return fields[0], fields[1:], true
}

func contains(tags [][]byte, tag string) bool {
	for _, t := range tags {
		if string(t) == tag {
			return true
		}
	}
	return false
}
