//go:build !linux

package storesql

import "runtime"

// giveWay lets other goroutines go first.
func giveWay() { runtime.Gosched() }
