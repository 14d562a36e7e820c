//go:build !linux

package server

// Slacken does nothing on this system.
func Slacken() error { return nil }
