package siptransport

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// x/net's ReadBatch allocates an address for every datagram, so recvmmsg and
// sendmmsg are called here, with everything they point to made once.

// udpSocket is a UDP socket and what is asked about it for every datagram.
type udpSocket struct {
	conn *net.UDPConn
	raw  syscall.RawConn
	v6   bool
}

func newUDPSocket(c *net.UDPConn) (udpSocket, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return udpSocket{}, err
	}
	return udpSocket{conn: c, raw: raw, v6: c.LocalAddr().(*net.UDPAddr).IP.To4() == nil}, nil
}

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// sockaddr holds a sockaddr_in or sockaddr_in6 as bytes.
type sockaddr [unix.SizeofSockaddrInet6]byte

// batch is the memory of several datagrams in the shape the kernel wants.
type batch struct {
	msgs  []mmsghdr
	iovs  []unix.Iovec
	names []sockaddr
	slab  []byte
}

func newBatch(slots, bytes int) batch {
	b := batch{make([]mmsghdr, slots), make([]unix.Iovec, slots), make([]sockaddr, slots), make([]byte, bytes)}
	for i := range b.msgs {
		h := &b.msgs[i].hdr
		h.Name = &b.names[i][0]
		h.Iov = &b.iovs[i]
		h.SetIovlen(1)
	}
	return b
}

// receiver reads datagrams, as many at once as there are.
type receiver struct {
	batch
	sock   udpSocket
	stamps []stamp
	n      int
	err    error
	read   func(fd uintptr) bool
}

// stamp is the control message SCM_TIMESTAMPNS_NEW: when a datagram came, by
// the clock on the wall.
type stamp struct {
	hdr  unix.Cmsghdr
	time [16]byte // seconds and nanoseconds, 64 bits each
}

func newReceiver(s udpSocket, slots int) *receiver {
	r := &receiver{batch: newBatch(slots, slots*maxDatagram), sock: s, stamps: make([]stamp, slots)}
	for i := range r.iovs {
		r.msgs[i].hdr.Control = (*byte)(unsafe.Pointer(&r.stamps[i]))
		r.iovs[i].Base = &r.slab[i*maxDatagram]
		r.iovs[i].SetLen(maxDatagram)
	}
	r.read = r.try
	return r
}

// receive waits for datagrams and returns how many came.
func (r *receiver) receive() (int, error) {
	for i := range r.msgs {
		r.msgs[i].hdr.Namelen = unix.SizeofSockaddrInet6
		r.msgs[i].hdr.SetControllen(int(unsafe.Sizeof(stamp{})))
	}
	r.n, r.err = 0, nil
	if err := r.sock.raw.Read(r.read); err != nil {
		return 0, err
	}
	return r.n, r.err
}

func (r *receiver) try(fd uintptr) bool {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&r.msgs[0])), uintptr(len(r.msgs)), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			r.n = int(n)
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		default:
			r.err = errno
		}
		return true
	}
}

// datagram returns the i-th datagram of the last receive and its source, which
// is zero when it has none that makes sense.
func (r *receiver) datagram(i int) ([]byte, netip.AddrPort) {
	return r.slab[i*maxDatagram:][:r.msgs[i].n], r.names[i].addrPort()
}

// waited is how long the i-th datagram was in the kernel at a time, 0 where that
// is not known.
func (r *receiver) waited(i int, now time.Time) time.Duration {
	s := &r.stamps[i]
	if int(r.msgs[i].hdr.Controllen) < int(unsafe.Sizeof(*s)) || s.hdr.Type != unix.SO_TIMESTAMPNS_NEW {
		return 0
	}
	came := time.Unix(int64(binary.NativeEndian.Uint64(s.time[:])), int64(binary.NativeEndian.Uint64(s.time[8:])))
	return now.Sub(came)
}

// sender gathers datagrams and sends them with as few calls as it can.
type sender struct {
	batch
	n, used      int // datagrams and bytes gathered
	done, failed int
	err          error
	write        func(fd uintptr) bool
}

func newSender(slots, bytes int) *sender {
	s := &sender{batch: newBatch(slots, bytes)}
	s.write = s.try
	return s
}

// add gathers one datagram; false when there is no room.
func (s *sender) add(sock *udpSocket, remote netip.AddrPort, msg []byte) bool {
	if s.n == len(s.msgs) || len(msg) == 0 || len(msg) > len(s.slab)-s.used {
		return false
	}
	copy(s.slab[s.used:], msg)
	iov := &s.iovs[s.n]
	iov.Base = &s.slab[s.used]
	iov.SetLen(len(msg))
	s.msgs[s.n].hdr.Namelen = s.names[s.n].set(remote, sock.v6)
	s.n++
	s.used += len(msg)
	return true
}

// flush sends what was gathered and returns how many datagrams the kernel did
// not take, with its last reason.
func (s *sender) flush(sock *udpSocket) (failed int, err error) {
	if s.n == 0 {
		return 0, nil
	}
	s.done, s.failed, s.err = 0, 0, nil
	if err := sock.raw.Write(s.write); err != nil {
		s.failed, s.err = s.n-s.done+s.failed, err
	}
	s.n, s.used = 0, 0
	return s.failed, s.err
}

// try never waits: a datagram that does not fit into the socket's buffer is
// lost here as it would be in the network.
func (s *sender) try(fd uintptr) bool {
	for s.done < s.n {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&s.msgs[s.done])), uintptr(s.n-s.done), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			s.done += int(n)
		case unix.EINTR:
		case unix.EAGAIN:
			s.failed += s.n - s.done
			s.done, s.err = s.n, errno
		default: // about the first of them
			s.failed++
			s.done++
			s.err = errno
		}
	}
	return true
}

func (a *sockaddr) addrPort() netip.AddrPort {
	port := binary.BigEndian.Uint16(a[2:])
	switch binary.NativeEndian.Uint16(a[:]) {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(a[4:8])), port)
	case unix.AF_INET6:
		ip := netip.AddrFrom16([16]byte(a[8:24])).Unmap()
		if scope := binary.NativeEndian.Uint32(a[24:]); scope != 0 && ip.Is6() {
			ip = ip.WithZone(strconv.Itoa(int(scope))) // link-local only
		}
		return netip.AddrPortFrom(ip, port)
	}
	return netip.AddrPort{}
}

// set writes remote in the form that a socket of the family takes and returns
// its length.
func (a *sockaddr) set(remote netip.AddrPort, v6 bool) uint32 {
	*a = sockaddr{}
	binary.BigEndian.PutUint16(a[2:], remote.Port())
	ip := remote.Addr()
	if !v6 && ip.Unmap().Is4() {
		binary.NativeEndian.PutUint16(a[:], unix.AF_INET)
		v4 := ip.Unmap().As4()
		copy(a[4:], v4[:])
		return unix.SizeofSockaddrInet4
	}
	binary.NativeEndian.PutUint16(a[:], unix.AF_INET6)
	v16 := ip.As16()
	copy(a[8:], v16[:])
	if zone := ip.Zone(); zone != "" {
		if scope, err := strconv.ParseUint(zone, 10, 32); err == nil {
			binary.NativeEndian.PutUint32(a[24:], uint32(scope))
		}
	}
	return unix.SizeofSockaddrInet6
}
