//go:build !linux

package siptransport

import (
	"net"
	"net/netip"
	"syscall"
	"time"
)

// Without recvmmsg and sendmmsg datagrams are read and written one by one.

type udpSocket struct {
	conn *net.UDPConn
	raw  syscall.RawConn
}

func newUDPSocket(c *net.UDPConn) (udpSocket, error) {
	raw, err := c.SyscallConn()
	return udpSocket{conn: c, raw: raw}, err
}

type receiver struct {
	sock   udpSocket
	buf    []byte
	n      int
	remote netip.AddrPort
}

func newReceiver(s udpSocket, _ int) *receiver {
	return &receiver{sock: s, buf: make([]byte, maxDatagram)}
}

func (r *receiver) receive() (n int, err error) {
	r.n, r.remote, err = r.sock.conn.ReadFromUDPAddrPort(r.buf)
	if err != nil {
		return 0, err
	}
	return 1, nil
}

func (r *receiver) datagram(int) ([]byte, netip.AddrPort) { return r.buf[:r.n], unmapped(r.remote) }

func (r *receiver) waited(int, time.Time) time.Duration { return 0 }

type sender struct {
	slots   int
	remotes []netip.AddrPort
	ends    []int
	slab    []byte
}

func newSender(slots, bytes int) *sender {
	return &sender{slots: slots, slab: make([]byte, 0, bytes)}
}

func (s *sender) add(_ *udpSocket, remote netip.AddrPort, msg []byte) bool {
	if len(s.ends) == s.slots || len(msg) > cap(s.slab)-len(s.slab) {
		return false
	}
	s.slab = append(s.slab, msg...)
	s.remotes = append(s.remotes, remote)
	s.ends = append(s.ends, len(s.slab))
	return true
}

func (s *sender) flush(sock *udpSocket) (failed int, err error) {
	start := 0
	for i, end := range s.ends {
		if _, e := sock.conn.WriteToUDPAddrPort(s.slab[start:end], s.remotes[i]); e != nil {
			failed, err = failed+1, e
		}
		start = end
	}
	s.remotes, s.ends, s.slab = s.remotes[:0], s.ends[:0], s.slab[:0]
	return failed, err
}
