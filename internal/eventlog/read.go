package eventlog

import (
	"errors"
	"os"

	"onhook/internal/event"
)

// position is a place in the files: where a frame begins.
type position struct {
	segment uint64
	offset  int64
}

func (p position) before(q position) bool {
	return p.segment < q.segment || p.segment == q.segment && p.offset < q.offset
}

// What one look at the files takes along at most.
const (
	readEvents = 256
	readBytes  = 1 << 20
)

// wanted is what a reader of files looks for.
type wanted struct {
	account string
	filter  event.Filter
	after   event.ID
}

func (w *wanted) want(v *view) bool {
	return v.concerns(w.account) && v.id.Compare(w.after) > 0 && w.filter.Match(event.Type(v.typ))
}

// read appends what is wanted from pos on, up to a limit, to dst, and returns
// where to go on; that is to when there is nothing more before it. gap tells
// that events on the way are not kept any more, or cannot be read.
func (l *Log) read(pos, to position, w wanted, dst []event.Event) (events []event.Event, next position, gap bool, err error) {
	l.scans <- struct{}{}
	defer func() { <-l.scans }()
	for size := 0; pos.before(to) && len(dst) < readEvents && size < readBytes; {
		s, end, lost := l.segmentAt(pos, to)
		gap = gap || lost
		if s == nil {
			return dst, to, gap, nil
		}
		if s.number != pos.segment {
			pos = position{s.number, 0}
		}
		r := scan(s, pos.offset, end)
		for err = nil; err == nil && len(dst) < readEvents && size < readBytes; {
			var v view
			if v, err = r.next(); err == nil {
				pos.offset = r.at
				if w.want(&v) {
					dst = append(dst, v.event())
					size += len(v.body)
				}
			}
		}
		r.close()
		switch {
		case err == nil:
			return dst, pos, gap, nil
		case errors.Is(err, os.ErrNotExist): // removed meanwhile
			gap = true
		case errors.Is(err, errDamaged):
			l.damaged.Add(1)
			gap = true
		case !errors.Is(err, errEnd):
			return dst, pos, gap, err
		}
		pos = position{s.number + 1, 0}
	}
	if !pos.before(to) {
		pos = to
	}
	return dst, pos, gap, nil
}

// segmentAt returns a copy of the segment of a position, or of the next one
// there is, and up to where it may be read; lost tells that some before it are
// removed.
func (l *Log) segmentAt(pos, to position) (s *segment, end int64, lost bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segments {
		if s.number < pos.segment {
			continue
		}
		if s.number > to.segment {
			break
		}
		end = s.size
		if s.number == to.segment {
			end = min(end, to.offset)
		}
		copied := *s
		return &copied, end, s.number > pos.segment
	}
	return nil, 0, true
}

// locate returns a position from which every event after the ID is found, and
// whether some that were after it are gone. l.mu is held.
func (l *Log) locate(after event.ID) (pos position, gap bool) {
	first := l.segments[0]
	pos = position{segment: first.number}
	if first.first == (event.ID{}) || after.After().Compare(first.first) < 0 {
		return pos, l.dropped
	}
	for _, s := range l.segments[1:] {
		if s.first == (event.ID{}) || after.Compare(s.first) < 0 {
			break
		}
		pos.segment = s.number
	}
	return pos, false
}

// Find returns an event that an account may see, if it is still kept.
func (l *Log) Find(account string, id event.ID) (e event.Event, ok bool, err error) {
	l.mu.Lock()
	pos, _ := l.locate(id.Before())
	to := l.end()
	l.mu.Unlock()
	w := wanted{account: account, after: id.Before()}
	for pos.before(to) {
		var found []event.Event
		if found, pos, _, err = l.read(pos, to, w, nil); err != nil {
			return e, false, err
		}
		if len(found) > 0 {
			return found[0], found[0].ID == id, nil
		}
	}
	return e, false, nil
}

// end is the position after the last event. l.mu is held.
func (l *Log) end() position {
	s := l.segments[len(l.segments)-1]
	return position{s.number, s.size}
}
