package devserver

import "syscall"

// childAttributes: a group of its own, so that it is ended with its children;
// gone with us, so that an aborted test run leaves no server behind.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
