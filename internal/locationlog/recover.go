package locationlog

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"onhook/internal/location"
)

// DamageError says that a file of the journal holds something else than what
// was written to it. Salvage keeps what can be read.
type DamageError struct {
	File   string
	Offset int64 // of the first frame that cannot be read
	Reason string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("%s is damaged at byte %d: %s", e.File, e.Offset, e.Reason)
}

func (j *Journal) damage(s *segment, offset int64, reason string) error {
	return &DamageError{File: filepath.Join(j.dir, segmentName(s.number)), Offset: offset, Reason: reason}
}

// found is a segment as it lies in the folder.
type found struct {
	*segment
	size  int64
	begun bool  // it has a first frame
	err   error // of its header
}

// recover reads the folder and fills the index.
func (j *Journal) recover() error {
	all, err := j.find()
	if err != nil {
		return err
	}
	newest := len(all) - 1
	for newest >= 0 && !all[newest].begun && all[newest].err == nil {
		newest--
	}
	for i := max(newest, 0); i < len(all); i++ {
		// The newest frame says where the journal begins. Behind the newest
		// segment there may be one that was made ahead, not begun.
		if err := j.readNewest(all[i]); err != nil {
			return err
		}
	}
	counting := all[:newest+1]
	for len(counting) > 0 && counting[0].number < j.first {
		counting = counting[1:] // compacted away, and the crash came before its removal
	}
	if err := j.connect(counting); err != nil {
		return err
	}
	if err := j.removeOthers(all); err != nil {
		return err
	}
	return j.readIndex()
}

// find opens the segments there are, oldest first.
func (j *Journal) find() ([]found, error) {
	names, err := j.disk.names()
	if err != nil {
		return nil, err
	}
	var all []found
	var strange []string
	for _, name := range names {
		number, ok := segmentNumber(name)
		if !ok {
			if name != lockName && name != newName && name != spareName {
				strange = append(strange, name)
			}
			continue
		}
		f, err := j.disk.open(name)
		if err != nil {
			return nil, err
		}
		j.files[number] = f // closed with the journal, whatever follows
		s := found{segment: &segment{number: number, file: f, end: headerSize}}
		if err := s.readBeginning(); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, s)
	}
	if len(strange) > 0 {
		j.log.Warn("there are files in the journal's folder that are not the journal's; what they hold, such as the registrations of an earlier version, is not read",
			"dir", j.dir, "files", strange[:min(len(strange), 5)])
	}
	slices.SortFunc(all, func(a, b found) int { return int(int64(a.number) - int64(b.number)) })
	return all, nil
}

// readBeginning reads a segment's header and first frame.
func (s *found) readBeginning() (err error) {
	if s.size, err = s.file.Size(); err != nil {
		return err
	}
	r := newReader(s.file, 0, s.size)
	head, err := r.window(0, headerSize)
	if err != nil {
		return err
	}
	if s.mark, s.err = parseHeader(head, s.number); s.err != nil {
		return nil
	}
	r.mark = s.mark
	if s.begun, err = r.next(); s.begun {
		s.previous = r.frame.previous
	}
	return err
}

// readNewest finds the end of a segment that nothing follows.
func (j *Journal) readNewest(s found) error {
	if s.err != nil {
		return j.headerError(s)
	}
	r := newReader(s.file, s.mark, s.size)
	for {
		ok, err := r.next()
		if err != nil {
			return fmt.Errorf("%s: %w", segmentName(s.number), err)
		}
		if !ok {
			break
		}
		if j.first = r.frame.first; j.first == 0 || j.first > s.number {
			return j.damage(s.segment, r.offset, "a frame tells nonsense")
		}
	}
	s.end = r.off
	_, more, err := r.find(r.off)
	if err != nil {
		return fmt.Errorf("%s: %w", segmentName(s.number), err)
	}
	if more {
		return j.damage(s.segment, s.end, "a frame cannot be read, and there are others behind it")
	}
	rest, err := r.window(s.end, frameHeader)
	if err != nil {
		return fmt.Errorf("%s: %w", segmentName(s.number), err)
	}
	if len(bytes.Trim(rest, "\x00")) > 0 {
		cut := s.size - s.end
		if f, ok := parseFrame(rest, s.mark); ok {
			cut = min(cut, frameHeader+f.length)
		}
		j.log.Warn("the location journal ended in the middle of a write, which nobody was told of; it was cut off",
			"file", filepath.Join(j.dir, segmentName(s.number)), "offset", s.end, "bytes", cut)
	}
	return nil
}

func (j *Journal) headerError(s found) error {
	if errors.Is(s.err, errHeader) {
		return j.damage(s.segment, 0, s.err.Error())
	}
	return fmt.Errorf("%s: %w", filepath.Join(j.dir, segmentName(s.number)), s.err)
}

// connect checks that the segments from the first to the newest are there, and
// gives each the end that its successor tells.
func (j *Journal) connect(counting []found) error {
	for i, s := range counting {
		if want := j.first + uint32(i); s.number != want {
			return j.damage(&segment{number: want}, 0, "the file is missing")
		}
		if s.err != nil {
			return j.headerError(s)
		}
		if !s.begun {
			return j.damage(s.segment, headerSize, "a frame cannot be read, and there are segments behind it")
		}
		if i+1 < len(counting) {
			s.end = counting[i+1].previous
			if next := counting[i+1]; next.err == nil && next.begun && (s.end <= headerSize || s.end > s.size) {
				return j.damage(s.segment, s.size, fmt.Sprintf("it should be %d bytes long", s.end))
			}
		}
		s.room = s.size
		j.segments = append(j.segments, s.segment)
	}
	return nil
}

// removeOthers removes the files that do not count.
func (j *Journal) removeOthers(all []found) error {
	for _, s := range all {
		j.stock.last = max(j.stock.last, s.number)
		if slices.Contains(j.segments, s.segment) {
			continue
		}
		delete(j.files, s.number)
		if err := errors.Join(s.file.Close(), j.disk.remove(segmentName(s.number))); err != nil {
			return err
		}
	}
	if n := len(j.segments); n > 0 {
		j.stock.last = j.segments[n-1].number
	} else {
		j.first = j.stock.last + 1
	}
	return errors.Join(j.stock.clear(newName), j.stock.clear(spareName))
}

// readIndex goes through all frames that count, oldest first.
func (j *Journal) readIndex() error {
	for _, s := range j.segments {
		err := j.each(s, func(key location.Key, value []byte, offset int64) error {
			s.records++
			if len(value) == 0 {
				delete(j.index, key)
			} else {
				j.index[key] = place(s.number, offset)
			}
			return nil
		})
		if err != nil {
			return err
		}
		j.records += s.records
		j.bytes += s.end - headerSize
	}
	return nil
}

// each calls f for every record of a segment, up to its end.
func (j *Journal) each(s *segment, f func(key location.Key, value []byte, offset int64) error) error {
	r := newReader(s.file, s.mark, s.end)
	for r.off < s.end {
		ok, err := r.next()
		if err != nil {
			return fmt.Errorf("%s: %w", segmentName(s.number), err)
		}
		if !ok {
			return j.damage(s, r.off, "a frame cannot be read")
		}
		if ok, err = r.each(f); err != nil {
			return err
		}
		if !ok {
			return j.damage(s, r.offset, "a frame does not hold records")
		}
	}
	return nil
}
