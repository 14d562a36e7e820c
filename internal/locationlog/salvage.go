package locationlog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"onhook/internal/location"
)

// Salvaged is what Salvage did.
type Salvaged struct {
	Records int    // that the journal holds now
	Lost    int64  // bytes that could not be read
	Places  int    // where they stood, one after the other
	Aside   string // the folder with the files as they were, "" if nothing was damaged
}

// salvageName is the folder of a journal in the making.
const salvageName = "salvaged"

// ErrNothing says that there is no journal to salvage.
var ErrNothing = errors.New("there is no location journal")

// Salvage reads all frames of the journal in dir that are intact, in their
// order, writes what they hold as a new journal, and moves the files as they
// were into a folder beside it. What the lost frames changed is unknown: a
// record may be older than the last that was acknowledged, or one that was
// removed. A journal without damage stays as it is. The server must not run.
//
// It may be interrupted at any time: the old files are where they were until
// copies of them (hard links) stand aside and the new ones are complete.
func Salvage(dir string) (result Salvaged, err error) {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return Salvaged{}, fmt.Errorf("%s: %w", dir, ErrNothing)
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return Salvaged{}, fmt.Errorf("%s: %w", dir, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	s := salvage{dir: dir, records: map[location.Key][]byte{}}
	if err := s.read(); err != nil {
		return Salvaged{}, err
	}
	result = Salvaged{Records: len(s.records), Lost: s.lost, Places: s.places}
	if s.places == 0 {
		return result, nil
	}
	if err := s.write(); err != nil {
		return Salvaged{}, fmt.Errorf("writing the salvaged journal: %w", err)
	}
	result.Aside, err = s.exchange()
	return result, err
}

type salvage struct {
	dir     string
	numbers []uint32 // of the segments, oldest first
	records map[location.Key][]byte
	lost    int64
	places  int
}

func (s *salvage) lose(bytes int64) {
	s.lost += bytes
	s.places++
}

// read reads what is intact in all segments that count.
func (s *salvage) read() (err error) {
	names, err := folder(s.dir).names()
	if err != nil {
		return err
	}
	var all []*salvageSegment
	defer func() {
		for _, seg := range all {
			err = errors.Join(err, seg.file.Close())
		}
	}()
	first := uint32(0)
	for _, name := range slices.Sorted(slices.Values(names)) {
		number, ok := segmentNumber(name)
		if !ok {
			continue
		}
		seg, err := openSalvage(folder(s.dir), number)
		if err != nil {
			return err
		}
		all = append(all, seg)
		if s.numbers = append(s.numbers, number); errors.Is(seg.err, ErrVersion) {
			return seg.err
		}
		first = max(first, seg.first)
	}
	if len(all) == 0 {
		return fmt.Errorf("%s: %w", s.dir, ErrNothing)
	}
	for n := len(all); n > 1 && all[n-1].err == nil && len(all[n-1].at) == 0; n-- {
		all[n-1].file.Close() // made ahead
		all = all[:n-1]
	}
	for i, seg := range all {
		if seg.number < first {
			continue // compacted away
		}
		if gap := seg.number > first && (i == 0 || all[i-1].number != seg.number-1); gap {
			s.lose(0) // a missing file
		}
		end, known := seg.size, false
		if i+1 < len(all) && all[i+1].number == seg.number+1 && all[i+1].begun {
			end, known = all[i+1].previous, true
		}
		if err := s.segment(seg, end, known); err != nil {
			return err
		}
	}
	return nil
}

// salvageSegment is a segment of which anything may be damaged.
type salvageSegment struct {
	*found
	first uint32 // as its newest intact frame tells
	at    []int64
}

// openSalvage finds the intact frames of a segment.
func openSalvage(d folder, number uint32) (*salvageSegment, error) {
	f, err := d.open(segmentName(number))
	if err != nil {
		return nil, err
	}
	f = patientFile{f}
	s := &salvageSegment{found: &found{segment: &segment{number: number, file: f}}}
	if err := s.readBeginning(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	r := newReader(f, s.mark, s.size)
	if s.err != nil {
		// The mark stands in each frame, too: in the first, if that is intact.
		if err := s.guessMark(r); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	for {
		ok, err := r.next()
		if err == nil && !ok {
			var at int64
			if at, ok, err = r.find(r.off); ok {
				r.off = at
				continue
			}
		}
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if !ok {
			return s, nil
		}
		s.at = append(s.at, r.offset)
		s.first = r.frame.first
	}
}

// guessMark takes the first frame's mark for the segment's.
func (s *salvageSegment) guessMark(r *reader) error {
	head, err := r.window(headerSize, frameHeader)
	if err != nil || len(head) < frameHeader {
		return err
	}
	r.mark = uint32(head[0]) | uint32(head[1])<<8 | uint32(head[2])<<16 | uint32(head[3])<<24
	ok, err := r.next()
	if ok {
		s.mark, s.begun, s.previous = r.mark, true, r.frame.previous
	}
	r.off = headerSize
	return err
}

// segment takes the intact frames up to end, which is the file's or known, and
// counts what lies between them.
func (s *salvage) segment(seg *salvageSegment, end int64, known bool) error {
	if seg.err != nil {
		s.lose(headerSize)
	}
	off := int64(headerSize)
	r := newReader(seg.file, seg.mark, seg.size)
	for _, at := range seg.at {
		if at >= end {
			break // never acknowledged
		}
		if at > off {
			s.lose(at - off)
		}
		r.off = at
		if ok, err := r.next(); err != nil || !ok {
			return errors.Join(err, fmt.Errorf("%s changes while it is read", segmentName(seg.number)))
		}
		off = r.off
		if ok, err := r.each(s.take); err != nil || !ok {
			s.lose(frameHeader + r.frame.length)
		}
	}
	// What stands behind the last frame of the newest segment was being written,
	// or is damage: nobody can tell, and Open cuts it off.
	if known && end > off {
		s.lose(end - off)
	}
	return nil
}

// take keeps a record.
func (s *salvage) take(key location.Key, value []byte, _ int64) error {
	if len(value) == 0 {
		delete(s.records, key)
	} else {
		s.records[key] = bytes.Clone(value)
	}
	return nil
}

// write makes the new journal in a folder of its own, with the numbers that
// follow the old ones.
func (s *salvage) write() (err error) {
	dir := filepath.Join(s.dir, salvageName)
	if err := os.RemoveAll(dir); err != nil { // of a salvage that was interrupted
		return err
	}
	j, err := Open(Config{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	j.stock.last = s.numbers[len(s.numbers)-1]
	j.first = j.stock.last + 1
	batch := make([]location.Record, 0, 1000)
	for _, key := range slices.Sorted(maps.Keys(s.records)) {
		batch = append(batch, location.Record{Key: key, Value: s.records[key]})
		if len(batch) == cap(batch) {
			if err := j.Commit(batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	if err := j.Commit(batch); err != nil {
		return err
	}
	// An empty journal, too, says that the old segments count no more.
	j.mu.Lock()
	defer j.mu.Unlock()
	j.begin()
	_, _, err = j.append(0)
	return err
}

// exchange sets the old files aside and puts the new ones in their place.
func (s *salvage) exchange() (aside string, err error) {
	aside = filepath.Join(s.dir, "damaged-"+time.Now().UTC().Format("20060102T150405.000Z"))
	if err := os.Mkdir(aside, 0o700); err != nil {
		return "", err
	}
	for _, number := range s.numbers {
		if err := os.Link(filepath.Join(s.dir, segmentName(number)), filepath.Join(aside, segmentName(number))); err != nil {
			return "", err
		}
	}
	if err := errors.Join(folder(aside).sync(), folder(s.dir).sync()); err != nil {
		return "", err
	}
	made := folder(filepath.Join(s.dir, salvageName))
	names, err := made.names()
	if err != nil {
		return "", err
	}
	slices.Sort(names)
	// The newest first: until the oldest of them is there, the journal lacks a
	// segment and does not open.
	for _, name := range slices.Backward(names) {
		if _, ok := segmentNumber(name); ok {
			if err := os.Rename(made.path(name), folder(s.dir).path(name)); err != nil {
				return "", err
			}
		}
	}
	if err := folder(s.dir).sync(); err != nil {
		return "", err
	}
	for _, number := range s.numbers {
		if err := folder(s.dir).remove(segmentName(number)); err != nil {
			return "", err
		}
	}
	return aside, errors.Join(os.RemoveAll(string(made)), folder(s.dir).sync())
}

// patientFile reads zeros where the disk cannot be read.
type patientFile struct{ file }

func (f patientFile) ReadAt(b []byte, off int64) (int, error) {
	n, err := f.file.ReadAt(b, off)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	const block = 4096
	for n = 0; n < len(b); {
		end := min(len(b), n+int(block-(off+int64(n))%block))
		got, err := f.file.ReadAt(b[n:end], off+int64(n))
		if errors.Is(err, io.EOF) {
			return n + got, err
		}
		if err != nil {
			clear(b[n:end])
		}
		n = end
	}
	return n, nil
}
