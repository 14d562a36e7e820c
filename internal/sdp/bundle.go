package sdp

import "slices"

// carriesOthers reports whether a stream of a kind is the tagged one of a BUNDLE
// group and streams of other kinds have their transport of it. sections holds
// stream i's lines at i+1.
//
// RFC 9143 7.3.3: the tagged stream is not refused unless all of its group are.
func (d *Description) carriesOthers(sections [][][]byte, streams []Stream, of int, kind string) bool {
	own := streams[of]
	if own.Bundle == 0 {
		return false
	}
	tagged := -1
	for _, tag := range d.bundles()[own.Bundle-1] {
		i := slices.IndexFunc(streams, func(s Stream) bool { return s.MID == string(tag) })
		switch {
		case i < 0 || !streams[i].Active:
		case tagged < 0 && !streams[i].BundleOnly:
			if tagged = i; tagged != of {
				return false
			}
		case tagged >= 0 && !equalFold([]byte(streams[i].Kind), kind) && shareTransport(own, streams[i], sections[of+1], sections[i+1]):
			return true
		}
	}
	return false
}

// shareTransport reports whether two streams of a group use one transport: the
// second is bundle-only, or has no candidates of its own and the same ICE
// credentials, or none and the same port.
func shareTransport(a, b Stream, sectionA, sectionB [][]byte) bool {
	if b.BundleOnly {
		return true
	}
	if _, own := find(sectionB, "candidate"); own {
		return false
	}
	if ufrag := value(sectionB, "ice-ufrag"); ufrag != "" {
		return ufrag == value(sectionA, "ice-ufrag")
	}
	return a.Port == b.Port
}

// inactive makes a stream's section one in which nothing flows (RFC 8866 6.7.4).
func (d *Description) inactive(section [][]byte) [][]byte {
	kept := slices.DeleteFunc(section, func(line []byte) bool { return direction([][]byte{line}, "") != "" })
	end := d.lines[0][len(text(d.lines[0])):]
	if last := len(kept) - 1; !isBreak(kept[last][len(kept[last])-1]) { // another stands behind it now
		kept[last] = slices.Concat(kept[last], end)
	}
	return append(kept, slices.Concat([]byte("a=inactive"), end))
}
