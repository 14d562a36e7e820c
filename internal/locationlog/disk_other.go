//go:build !linux

package locationlog

func (f *diskFile) SyncData() error { return f.Sync() }

func (f *diskFile) Allocate(int64) error { return nil } // the file grows as it is written
