package locationpebble

import (
	"errors"
	"io"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// patientFS waits where the disk is full: Pebble takes a failed write to its
// log or manifest for the end. Commit sees the disk fill up before it comes to
// that; this is for whatever fills the last bytes in between.
type patientFS struct {
	vfs.FS
	once   sync.Once
	closed chan struct{}
}

const diskRetry = 200 * time.Millisecond

func newPatientFS(fs vfs.FS) *patientFS {
	return &patientFS{FS: fs, closed: make(chan struct{})}
}

// giveUp lets the waiting writes fail, so that the process can end.
func (p *patientFS) giveUp() { p.once.Do(func() { close(p.closed) }) }

// Unwrap keeps Pebble's own wrappers working.
func (p *patientFS) Unwrap() vfs.FS { return p.FS }

// try calls f until it does not fail for lack of room.
func (p *patientFS) try(f func() error) error {
	for {
		err := f()
		if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
			return err
		}
		retry := time.NewTimer(diskRetry)
		select {
		case <-retry.C:
		case <-p.closed:
			retry.Stop()
			return err
		}
	}
}

func (p *patientFS) file(open func() (vfs.File, error)) (vfs.File, error) {
	var file vfs.File
	err := p.try(func() (err error) {
		file, err = open()
		return err
	})
	if err != nil {
		return nil, err
	}
	return &patientFile{file, p}, nil
}

func (p *patientFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return p.file(func() (vfs.File, error) { return p.FS.Create(name, category) })
}

func (p *patientFS) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return p.file(func() (vfs.File, error) { return p.FS.OpenReadWrite(name, category, opts...) })
}

func (p *patientFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return p.file(func() (vfs.File, error) { return p.FS.ReuseForWrite(oldname, newname, category) })
}

func (p *patientFS) Link(oldname, newname string) error {
	return p.try(func() error { return p.FS.Link(oldname, newname) })
}

func (p *patientFS) Rename(oldname, newname string) error {
	return p.try(func() error { return p.FS.Rename(oldname, newname) })
}

type patientFile struct {
	vfs.File
	fs *patientFS
}

func (f *patientFile) Write(b []byte) (written int, err error) {
	err = f.fs.try(func() error {
		n, err := f.File.Write(b[written:])
		written += n
		if err == nil && written < len(b) {
			return io.ErrShortWrite
		}
		return err
	})
	return written, err
}

func (f *patientFile) WriteAt(b []byte, at int64) (written int, err error) {
	err = f.fs.try(func() error {
		n, err := f.File.WriteAt(b[written:], at+int64(written))
		written += n
		if err == nil && written < len(b) {
			return io.ErrShortWrite
		}
		return err
	})
	return written, err
}

func (f *patientFile) Preallocate(offset, length int64) error {
	return f.fs.try(func() error { return f.File.Preallocate(offset, length) })
}

func (f *patientFile) Sync() error { return f.fs.try(f.File.Sync) }

func (f *patientFile) SyncData() error { return f.fs.try(f.File.SyncData) }

func (f *patientFile) SyncTo(length int64) (full bool, err error) {
	err = f.fs.try(func() (err error) {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}
