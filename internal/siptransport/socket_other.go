//go:build !linux

package siptransport

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// udpSockets: elsewhere SO_REUSEPORT does not spread peers over sockets.
func udpSockets(int) int { return 1 }

func controlUDP(_, _ string, _ syscall.RawConn) error { return nil }

func controlTCP(time.Duration) func(_, _ string, c syscall.RawConn) error { return nil }

func setBuffers(c syscall.RawConn, receive, send int) (got int, err error) {
	ctlErr := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receive)
		if err == nil {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, send)
		}
	})
	if ctlErr != nil {
		return 0, ctlErr
	}
	return receive, err
}

func stampArrivals(syscall.RawConn) error { return nil } // datagrams count as having just come

func unread(syscall.RawConn) uint64 { return 0 }
