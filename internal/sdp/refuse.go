package sdp

import (
	"bytes"
	"slices"
)

// Refuse refuses the active streams of a kind, in an offer as in an answer, and
// returns how many there were. The description keeps as many streams as it had,
// so that offer and answer still match line by line.
//
// RFC 3264 6: a stream is refused by port zero; its formats mean nothing then,
// and its attributes may go (8.2). RFC 5888 9.2 and RFC 9143 7.3.3: the tag of a
// refused stream leaves every group. A stream that carries the transport of
// others in its BUNDLE group cannot be refused without them: it becomes inactive
// and nothing flows in it (RFC 3264 6.1).
func (d *Description) Refuse(kind string) (refused int) {
	sections, streams := d.split(), d.Streams()
	var gone, stay []string // tags; a description may use one twice
	for i, s := range streams {
		switch {
		case !s.Active || !equalFold([]byte(s.Kind), kind):
			stay = append(stay, s.MID)
		case d.carriesOthers(sections, streams, i, kind):
			stay = append(stay, s.MID)
			if s.Direction != "inactive" {
				sections[i+1] = d.inactive(sections[i+1])
				refused++
			}
		default:
			gone = append(gone, s.MID)
			sections[i+1] = disabled(sections[i+1])
			refused++
		}
	}
	if refused == 0 {
		return 0
	}
	gone = slices.DeleteFunc(gone, func(mid string) bool { return mid == "" || slices.Contains(stay, mid) })
	sections[0] = leaveGroups(sections[0], gone)
	d.join(sections)
	return refused
}

// split copies the lines into the session's, and each stream's.
func (d *Description) split() [][][]byte {
	all := [][][]byte{slices.Clone(d.session())}
	for i := range d.sections {
		all = append(all, slices.Clone(d.section(i)))
	}
	return all
}

// join puts the description together again.
func (d *Description) join(sections [][][]byte) {
	d.lines, d.sections = nil, nil
	for i, lines := range sections {
		if i > 0 {
			d.sections = append(d.sections, len(d.lines))
		}
		d.lines = append(d.lines, lines...)
	}
}

// disabled makes a refused stream's section: port zero, and of the rest what
// identifies it. Its c= line stays: a session need not have one (RFC 8866 5.7).
func disabled(section [][]byte) [][]byte {
	kept := [][]byte{withPort(section[0], []byte("0"))}
	for _, line := range section[1:] {
		name, _, ok := attribute(line)
		switch {
		case ok && equalFold(name, "mid"):
		case ok, bytes.HasPrefix(line, []byte("b=")), bytes.HasPrefix(line, []byte("k=")):
			continue
		}
		kept = append(kept, line)
	}
	return kept
}

// withPort writes an m= line with another port.
func withPort(line, port []byte) []byte {
	kind, _, rest := splitMedia(line)
	if len(kind) == 0 {
		return line // there is nothing before which a port could stand
	}
	out := slices.Concat([]byte("m="), kind, []byte(" "), port)
	if len(rest) > 0 {
		out = slices.Concat(out, []byte(" "), rest)
	}
	return append(out, line[len(text(line)):]...)
}

// leaveGroups takes tags out of the session's groups; a group that is left
// without any goes.
func leaveGroups(session [][]byte, mids []string) [][]byte {
	kept := session[:0]
	for _, line := range session {
		semantics, tags, ok := group(line)
		left := tags[:0:0]
		for _, tag := range tags {
			if !slices.Contains(mids, string(tag)) {
				left = append(left, tag)
			}
		}
		switch {
		case !ok || len(left) == len(tags):
			kept = append(kept, line)
		case len(left) > 0:
			edited := slices.Concat([]byte("a=group:"), semantics, []byte(" "), bytes.Join(left, []byte(" ")), line[len(text(line)):])
			kept = append(kept, edited)
		}
	}
	return kept
}
