package locationlog

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
)

// stock makes segments ahead of their use. A file whose blocks were written
// before costs an fdatasync about half of what it costs to let the file grow,
// or to write into blocks that are only allocated: nothing but the data has to
// reach the disk.
type stock struct {
	disk    disk
	minRoom int64

	hurry atomic.Bool // somebody waits: leave the rest of a file unwritten
	ready atomic.Bool // next is there
	mu    sync.Mutex
	last  uint32 // number of the newest segment in use
	next  *segment
	spare int64 // size of the file spareName, 0 if there is none
}

// take returns the next segment, in use from now on.
func (s *stock) take(room int64) (*segment, error) {
	s.hurry.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hurry.Store(false)
	next := s.next
	if next == nil {
		var err error
		if next, err = s.make(room, false); err != nil {
			return nil, err
		}
	}
	s.next = nil
	s.ready.Store(false)
	s.last = next.number
	return next, nil
}

// fill makes the next segment, with all its blocks written, if there is none.
func (s *stock) fill(room int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next != nil {
		return nil
	}
	next, err := s.make(room, true)
	if err != nil {
		return err
	}
	s.next = next
	s.ready.Store(true)
	return nil
}

// giveBack takes a segment that counts no more; its file is used again.
func (s *stock) giveBack(old *segment, room int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	size, err := old.file.Size()
	if err := errors.Join(err, old.file.Close()); err != nil {
		return err
	}
	if s.spare != 0 || size < room/2 || size > 2*room {
		return s.disk.remove(segmentName(old.number))
	}
	if err := s.disk.rename(segmentName(old.number), spareName); err != nil {
		return err
	}
	s.spare = size
	return nil
}

// discard takes back the newest segment, which holds nothing.
func (s *stock) discard(newest *segment) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	if s.next != nil {
		errs = append(errs, s.next.file.Close(), s.disk.remove(segmentName(s.next.number)))
		s.next = nil
		s.ready.Store(false)
	}
	s.last = newest.number - 1
	return errors.Join(append(errs, newest.file.Close(), s.disk.remove(segmentName(newest.number)))...)
}

// make makes the file of the segment after the last. mu is held.
func (s *stock) make(room int64, written bool) (_ *segment, err error) {
	f, size, err := s.newFile(room, written)
	if err != nil {
		return nil, err
	}
	made := &segment{number: s.last + 1, mark: newMark(), file: f, room: size, end: headerSize, written: written}
	name := newName
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("making %s: %w", segmentName(made.number), err), f.Close(), s.disk.remove(name))
		}
	}()
	if _, err := f.WriteAt(appendHeader(nil, made.number, made.mark), 0); err != nil {
		return nil, err
	}
	if err := f.SyncData(); err != nil {
		return nil, err
	}
	if err := s.disk.rename(newName, segmentName(made.number)); err != nil {
		return nil, err
	}
	name = segmentName(made.number)
	if err := s.disk.sync(); err != nil {
		return nil, err
	}
	return made, nil
}

// newFile returns the file newName, made or found to have room.
func (s *stock) newFile(room int64, written bool) (f file, size int64, err error) {
	if size := s.spare; size >= room {
		s.spare = 0
		if err := s.disk.rename(spareName, newName); err != nil {
			return nil, 0, err
		}
		f, err := s.disk.open(newName)
		return f, size, err
	} else if size != 0 { // far more records than before, or a large batch
		s.spare = 0
		if err := s.disk.remove(spareName); err != nil {
			return nil, 0, err
		}
	}
	if f, err = s.disk.create(newName); err != nil {
		return nil, 0, err
	}
	err = f.Allocate(room)
	if err == nil && written {
		err = s.write(f, room)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close(), s.disk.remove(newName))
	}
	return f, room, nil
}

// write fills a file with zeros, in steps that a commit beside it can bear.
func (s *stock) write(f file, size int64) error {
	zeros := make([]byte, 256<<10)
	for at := int64(0); at < size && !s.hurry.Load(); at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at); err != nil {
			return err
		}
		if err := f.SyncData(); err != nil {
			return err
		}
	}
	return nil
}

// stop ends a fill under way.
func (s *stock) stop() { s.hurry.Store(true) }

func (s *stock) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == nil {
		return nil
	}
	return s.next.file.Close()
}

// clear removes what an earlier process left unfinished.
func (s *stock) clear(name string) error {
	if err := s.disk.remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
