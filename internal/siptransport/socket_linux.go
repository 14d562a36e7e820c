package siptransport

import (
	"errors"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// udpSockets returns how many sockets share one UDP port.
func udpSockets(workers int) int { return workers }

// controlUDP lets the workers' sockets share their port; the kernel spreads the
// peers over them.
func controlUDP(_, _ string, c syscall.RawConn) (err error) {
	ctlErr := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	})
	if ctlErr != nil {
		return ctlErr
	}
	return err
}

// controlTCP has the kernel give up a connection whose peer acknowledges
// nothing for that long. Accepted sockets inherit it.
func controlTCP(unacknowledged time.Duration) func(_, _ string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) (err error) {
		ctlErr := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unacknowledged/time.Millisecond))
		})
		if ctlErr != nil {
			return ctlErr
		}
		return err
	}
}

// setBuffers asks for large socket buffers, past the system's limits when we
// may (CAP_NET_ADMIN), and returns what the kernel keeps for receiving.
func setBuffers(c syscall.RawConn, receive, send int) (got int, err error) {
	ctlErr := c.Control(func(fd uintptr) {
		s := int(fd)
		if unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receive) != nil {
			err = unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_RCVBUF, receive)
		}
		if unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, send) != nil && err == nil {
			err = unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_SNDBUF, send)
		}
		if err == nil {
			got, err = unix.GetsockoptInt(s, unix.SOL_SOCKET, unix.SO_RCVBUF)
			got /= 2 // the kernel doubles it for its own bookkeeping
		}
	})
	if ctlErr != nil {
		return 0, ctlErr
	}
	return got, err
}

// stampArrivals has the kernel tell when each datagram came.
func stampArrivals(c syscall.RawConn) (err error) {
	ctlErr := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS_NEW, 1)
	})
	return errors.Join(ctlErr, err)
}

// unread is how many datagrams the kernel has dropped because a socket's buffer
// was full (SK_MEMINFO_DROPS of SO_MEMINFO); 0 for a closed socket.
func unread(c syscall.RawConn) (n uint64) {
	var info [9]uint32
	size := uint32(unsafe.Sizeof(info))
	_ = c.Control(func(fd uintptr) {
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO, uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		if errno == 0 {
			n = uint64(info[8])
		}
	})
	return n
}
