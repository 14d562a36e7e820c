package postgres

import "syscall"

// childAttributes: as another user, and gone with us, so that an aborted run
// leaves no server behind.
func childAttributes(as *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: as, Pdeathsig: syscall.SIGQUIT}
}
