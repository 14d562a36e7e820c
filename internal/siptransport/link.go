package siptransport

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// link is a TCP connection that is written to without waiting. A write goes to
// the socket at once; what the socket does not take is queued, and a goroutine
// that lives until the queue is empty sends it. TLS writes through it too.
// It is the net.Conn that crypto/tls wants.
type link struct {
	*net.TCPConn
	t   *Transport
	raw syscall.RawConn

	mu      sync.Mutex
	writing bool   // somebody is at the socket; others queue
	queue   []byte // nil while the peer keeps up
	pending int    // bytes in queue and in the writer's hands
	ended   bool   // no more writes; half-close when the queue is empty
	err     error

	// Of whoever set writing:
	p     []byte
	n     int
	werr  error
	write func(fd uintptr) bool

	// Of the reader:
	in     []byte
	rn     int
	rerr   error
	read   func(fd uintptr) bool
	polled bool   // Read takes what await has got, and does not wait
	ahead  []byte // that, from the pool while it holds something
	taken  int    // of ahead
}

// nothing is for tls.Conn, which goes on after an error that is temporary.
type nothing struct{}

func (nothing) Error() string   { return "nothing has come yet" }
func (nothing) Timeout() bool   { return false }
func (nothing) Temporary() bool { return true }

// errNothing is returned by Read when it does not wait and nothing is there.
var errNothing net.Error = nothing{}

func (l *link) init(t *Transport, c *net.TCPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	l.t, l.TCPConn, l.raw = t, c, raw
	l.write, l.read = l.tryWrite, l.tryRead
	return nil
}

// Write sends or queues p whole, or fails.
func (l *link) Write(p []byte) (int, error) {
	l.mu.Lock()
	if l.err != nil || l.ended {
		defer l.mu.Unlock()
		if l.err != nil {
			return 0, l.err
		}
		return 0, net.ErrClosed
	}
	if l.writing {
		defer l.mu.Unlock()
		return l.enqueue(p)
	}
	l.writing = true
	l.mu.Unlock()

	l.p, l.n, l.werr = p, 0, nil
	err := l.raw.Write(l.write)
	n := l.n
	l.p = nil
	if err = errors.Join(err, l.werr); err != nil {
		l.fail(err)
		return 0, err
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	if n < len(p) {
		// What others queued meanwhile comes after ours.
		others := l.queue
		l.queue = nil
		l.pending -= len(others)
		for _, b := range [...][]byte{p[n:], others} {
			if _, err := l.enqueue(b); err != nil {
				return 0, err
			}
		}
	}
	if len(l.queue) > 0 {
		if !l.t.begin(l.drain) {
			return 0, ErrStopped
		}
		return len(p), nil
	}
	l.rest()
	return len(p), nil
}

// enqueue is called with l.mu held.
func (l *link) enqueue(p []byte) (int, error) {
	if l.pending+len(p) > l.t.cfg.QueueBytes {
		return 0, ErrQueueFull
	}
	l.queue = append(l.queue, p...)
	l.pending += len(p)
	return len(p), nil
}

// rest is called with l.mu held by the writer that leaves nothing behind.
func (l *link) rest() {
	l.writing = false
	if l.ended {
		_ = l.CloseWrite() // a FIN; it waits for nothing
	}
}

// tryWrite writes as much of l.p as the socket takes now.
func (l *link) tryWrite(fd uintptr) bool {
	for l.n < len(l.p) {
		n, err := unix.Write(int(fd), l.p[l.n:])
		switch {
		case err == nil:
			l.n += n
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return true
		default:
			l.werr = err
			return true
		}
	}
	return true
}

// drain sends the queue, waiting for the peer as long as the deadline allows.
func (l *link) drain() {
	for {
		l.mu.Lock()
		p := l.queue
		l.queue = nil
		if len(p) == 0 || l.err != nil {
			_ = l.TCPConn.SetWriteDeadline(time.Time{})
			l.rest()
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		_ = l.TCPConn.SetWriteDeadline(time.Now().Add(l.t.cfg.Deadlines.Write))
		if _, err := l.TCPConn.Write(p); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				err = ErrQueueFull
			}
			l.fail(err)
			return
		}
		l.mu.Lock()
		l.pending -= len(p)
		l.mu.Unlock()
	}
}

// end closes our direction once everything queued is sent.
func (l *link) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.ended = true
	if !l.writing {
		l.rest()
	}
}

// fail drops what is queued and closes the socket, which wakes the reader.
func (l *link) fail(err error) {
	l.mu.Lock()
	if l.err == nil {
		l.err = err
	}
	l.queue = nil
	l.mu.Unlock()
	if l.TCPConn != nil { // else it was never connected
		_ = l.TCPConn.Close()
	}
}

// failure returns what made writing impossible.
func (l *link) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// receive waits for data and returns it in a buffer from the pool, which it
// takes only when data is there: an idle connection holds none.
func (l *link) receive() ([]byte, error) {
	l.in, l.rn, l.rerr = nil, 0, nil
	err := l.raw.Read(l.read)
	in := l.in
	l.in = nil
	if err == nil {
		err = l.rerr
	}
	if err != nil {
		putBuffer(in)
		return nil, err
	}
	return in[:l.rn], nil
}

// await waits for data and leaves it to Read.
func (l *link) await() (err error) {
	l.ahead, err = l.receive()
	l.taken = 0
	return err
}

// Read is called by crypto/tls, and for the rest of a message.
func (l *link) Read(p []byte) (int, error) {
	if !l.polled {
		return l.TCPConn.Read(p)
	}
	if l.ahead == nil {
		return 0, errNothing
	}
	n := copy(p, l.ahead[l.taken:])
	if l.taken += n; l.taken == len(l.ahead) {
		putBuffer(l.ahead[:0])
		l.ahead = nil
	}
	return n, nil
}

func (l *link) tryRead(fd uintptr) bool {
	if l.in == nil {
		l.in = getBuffer()
	}
	for {
		n, err := unix.Read(int(fd), l.in[:cap(l.in)])
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			putBuffer(l.in)
			l.in = nil
			return false
		case err != nil:
			l.rerr = err
		case n == 0:
			l.rerr = io.EOF
		default:
			l.rn = n
		}
		return true
	}
}

// Close is called by crypto/tls.
func (l *link) Close() error { return l.TCPConn.Close() }

// SetDeadline sets what there is to wait for: reading.
func (l *link) SetDeadline(t time.Time) error { return l.SetReadDeadline(t) }

// SetWriteDeadline does nothing: writes do not wait, and drain sets its own.
func (l *link) SetWriteDeadline(time.Time) error { return nil }
