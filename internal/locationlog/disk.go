package locationlog

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// disk is the journal's folder; tests put a failing one in its place.
type disk interface {
	names() ([]string, error)
	create(name string) (file, error) // anew, for reading and writing
	open(name string) (file, error)
	rename(from, to string) error
	remove(name string) error
	sync() error // the folder itself
}

// file is a file of the folder.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Size() (int64, error)
	// SyncData returns when the written bytes are on disk (fdatasync).
	SyncData() error
	// Allocate takes size bytes of the disk for the file, as far as the file
	// system can; it fails for lack of room.
	Allocate(size int64) error
}

type folder string

func (d folder) path(name string) string { return filepath.Join(string(d), name) }

func (d folder) names() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func (d folder) create(name string) (file, error) {
	return openFile(d.path(name), os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}

func (d folder) open(name string) (file, error) { return openFile(d.path(name), os.O_RDWR) }
func (d folder) rename(from, to string) error   { return os.Rename(d.path(from), d.path(to)) }
func (d folder) remove(name string) error       { return os.Remove(d.path(name)) }

func (d folder) sync() error {
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

type diskFile struct{ *os.File }

func openFile(path string, flag int) (file, error) {
	f, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return &diskFile{f}, nil
}

func (f *diskFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// noRoom reports whether err says that the disk, or the user's share of it, is full.
func noRoom(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, io.ErrShortWrite)
}

// lockFolder takes the folder for this process until the file is closed or the
// process ends, however it ends.
func lockFolder(dir string) (io.Closer, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrInUse
		}
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
