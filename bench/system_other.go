//go:build !linux

package main

import (
	"errors"
	"os"
	"time"
)

func processTime(int) (time.Duration, error) {
	return 0, errors.New("the CPU time of another process can be read on Linux only")
}

func dataSync(f *os.File) error { return f.Sync() }

func pin(int, int) error { return errors.New("processes can be pinned to a core on Linux only") }

func pinSelf(int) (func() error, error) { return nil, pin(0, 0) }

func otherTime(*server) time.Duration { return 0 }
