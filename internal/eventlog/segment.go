package eventlog

import (
	"bufio"
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"onhook/internal/event"
)

// segment is one file. Its events are younger than those of the one before.
type segment struct {
	number uint64
	path   string
	size   int64    // of whole frames
	first  event.ID // zero: empty
}

const suffix = ".events"

// load finds the files and reads what is needed of them.
func (l *Log) load() error {
	entries, err := os.ReadDir(l.cfg.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		digits, ours := strings.CutSuffix(e.Name(), suffix)
		number, err := strconv.ParseUint(digits, 10, 64)
		if !ours || err != nil {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		l.segments = append(l.segments, &segment{number: number, path: filepath.Join(l.cfg.Dir, e.Name()), size: info.Size()})
		l.bytes.Add(info.Size())
	}
	if len(l.segments) == 0 {
		return l.begin(1)
	}
	slices.SortFunc(l.segments, func(a, b *segment) int { return cmp.Compare(a.number, b.number) })
	whole := int64(0)
	for i, s := range l.segments {
		// The last file may be empty: the youngest event is in the one before then.
		if whole, err = l.survey(s, i >= len(l.segments)-2); err != nil {
			return err
		}
	}
	return l.reopen(l.segments[len(l.segments)-1], whole)
}

// originFile holds the log's name. It begins and ends with the events.
const originFile = "origin"

// name reads the log's name, which is drawn when there is none.
func (l *Log) name() error {
	path := filepath.Join(l.cfg.Dir, originFile)
	text, err := os.ReadFile(path)
	if err == nil && len(text) > 0 {
		l.origin = string(text)
		return nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l.origin = rand.Text()
	f, err := os.CreateTemp(l.cfg.Dir, originFile+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(l.origin)
	return errors.Join(err, f.Sync(), f.Close(), os.Rename(f.Name(), path), syncDir(l.cfg.Dir))
}

// survey reads a file's first event, or all of them, and returns how many bytes
// of it are whole frames.
func (l *Log) survey(s *segment, all bool) (whole int64, err error) {
	r := scan(s, 0, s.size)
	defer r.close()
	for {
		v, err := r.next()
		if errors.Is(err, errEnd) || errors.Is(err, errDamaged) {
			return r.at, nil
		}
		if err != nil {
			return 0, err
		}
		if s.first == (event.ID{}) {
			s.first = v.id
		}
		l.last, l.seq = v.id, max(l.seq, v.seq)
		if !all {
			return r.at, nil
		}
	}
}

// reopen makes the last file ready to be appended to, after its whole frames.
func (l *Log) reopen(s *segment, whole int64) error {
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if whole < s.size {
		l.cfg.Logger.Warn("the last events were not written whole and are cut off", "file", s.path, "bytes", s.size-whole)
		if err := f.Truncate(whole); err != nil {
			return errors.Join(err, f.Close())
		}
		l.bytes.Add(whole - s.size)
		s.size = whole
	}
	l.file = f
	return nil
}

// begin starts a new file.
func (l *Log) begin(number uint64) error {
	path := filepath.Join(l.cfg.Dir, fmt.Sprintf("%020d%s", number, suffix))
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := syncDir(l.cfg.Dir); err != nil {
		return errors.Join(err, f.Close(), os.Remove(path))
	}
	old := l.file
	l.file = f
	l.segments = append(l.segments, &segment{number: number, path: path})
	if old == nil {
		return nil
	}
	return errors.Join(old.Sync(), old.Close())
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// errEnd is the end of what is to be read of one file.
var errEnd = errors.New("eventlog: end")

// scanner reads the frames of one file.
type scanner struct {
	file *os.File
	r    *bufio.Reader
	buf  []byte
	at   int64 // where the next frame begins
	err  error // of opening
}

// scan reads a segment from one offset to another.
func scan(s *segment, from, to int64) *scanner {
	f, err := os.Open(s.path)
	if err != nil {
		return &scanner{err: err}
	}
	return &scanner{file: f, at: from, r: bufio.NewReaderSize(io.NewSectionReader(f, from, to-from), 64<<10)}
}

// next returns the next event, valid until the next call; errEnd, errDamaged,
// or what reading failed with.
func (s *scanner) next() (v view, err error) {
	if s.err != nil {
		return v, s.err
	}
	var payload []byte
	payload, s.buf, err = readFrame(s.r, s.buf)
	if errors.Is(err, io.EOF) {
		return v, errEnd
	}
	if err != nil {
		return v, err
	}
	if v, err = parse(payload); err != nil {
		return v, err
	}
	s.at += int64(frameHeader + len(payload))
	return v, nil
}

func (s *scanner) close() {
	if s.file != nil {
		_ = s.file.Close() // it was only read
	}
}
