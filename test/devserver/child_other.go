//go:build !linux

package devserver

import "syscall"

// childAttributes: a group of its own, so that it is ended with its children.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
