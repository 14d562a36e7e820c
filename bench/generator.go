package main

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// generator plays all phones on a few UDP sockets: requests are printed from
// templates and answers recognised by their bytes, so that it costs less than
// what it measures.
type generator struct {
	srv    *server
	remote *net.UDPAddr
	users  int
	lanes  []*lane
	resent atomic.Int64
	run    int // sets apart the Call-IDs of each run
}

// lane is one socket with its own part of the users and of the window.
type lane struct {
	gen    *generator
	conn   *net.UDPConn
	port   int
	window int
	nonces []string // per user of this lane
	nc     []int
	cseq   []int
}

const lanes = 4

func newGenerator(s *server, users, window int) (*generator, error) {
	remote, err := s.udp()
	if err != nil {
		return nil, err
	}
	g := &generator{srv: s, remote: remote, users: users}
	for range lanes {
		conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return nil, err
		}
		if err := conn.SetReadBuffer(4 << 20); err != nil {
			return nil, err
		}
		n := users/lanes + 1
		g.lanes = append(g.lanes, &lane{gen: g, conn: conn, port: conn.LocalAddr().(*net.UDPAddr).Port, window: max(1, window/lanes),
			nonces: make([]string, n), nc: make([]int, n), cseq: make([]int, n)})
	}
	return g, nil
}

func (g *generator) close() {
	for _, l := range g.lanes {
		l.conn.Close()
	}
}

// each runs f on every lane at once.
func (g *generator) each(f func(i int, l *lane) error) error {
	g.run++
	errs := make([]error, len(g.lanes))
	var wg sync.WaitGroup
	for i, l := range g.lanes {
		wg.Go(func() { errs[i] = f(i, l) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (g *generator) registerAll() error {
	return g.each(func(i int, l *lane) error {
		for k := range l.nonces {
			l.nonces[k] = ""
		}
		return l.drive(l.share(i, g.users), l.register)
	})
}

func (g *generator) refreshAll() error {
	return g.each(func(i int, l *lane) error { return l.drive(l.share(i, g.users), l.register) })
}

func (g *generator) callMany(n int) error {
	return g.each(func(i int, l *lane) error { return l.drive(l.share(i, n), l.invite) })
}

// share is how many of n jobs lane i gets.
func (l *lane) share(i, n int) int { return (n + lanes - 1 - i) / lanes }

// drive starts jobs 0…n-1, a window at a time, and reads answers until every
// job has ended. Each datagram carries its job's number in its Call-ID.
func (l *lane) drive(n int, start func(job int, answer []byte) (done bool)) error {
	type pending struct{ last time.Time }
	open := map[int]pending{}
	next, finished := 0, 0
	buf := make([]byte, 8192)
	for finished < n {
		for next < n && len(open) < l.window {
			open[next] = pending{time.Now()}
			start(next, nil)
			next++
		}
		if err := l.conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
			return err
		}
		size, err := l.conn.Read(buf)
		if err != nil {
			var timeout net.Error
			if !errors.As(err, &timeout) || !timeout.Timeout() {
				return err
			}
			for job, p := range open { // what was lost is begun again
				if time.Since(p.last) > 20*time.Second {
					return fmt.Errorf("job %d had no answer", job)
				}
				l.gen.resent.Add(1)
				start(job, nil)
			}
			continue
		}
		job, ok := jobOf(buf[:size], l.gen.run)
		if !ok {
			continue
		}
		if _, waiting := open[job]; !waiting {
			continue
		}
		open[job] = pending{time.Now()}
		if start(job, buf[:size]) {
			delete(open, job)
			finished++
		}
	}
	return nil
}

// jobOf reads the job's number from "Call-ID: RUN-JOB@bench".
func jobOf(msg []byte, run int) (int, bool) {
	id, ok := header(msg, "Call-ID: ")
	if !ok {
		return 0, false
	}
	r, job, ok := bytes.Cut(id, []byte("-"))
	if !ok || string(r) != strconv.Itoa(run) {
		return 0, false
	}
	job, _, _ = bytes.Cut(job, []byte("@"))
	n, err := strconv.Atoi(string(job))
	return n, err == nil
}

func header(msg []byte, name string) ([]byte, bool) {
	i := bytes.Index(msg, []byte("\r\n"+name))
	if i < 0 {
		return nil, false
	}
	v := msg[i+2+len(name):]
	end := bytes.IndexByte(v, '\r')
	return v[:end], end >= 0
}

// register is one step of a registration: the request, and the answer to a 401.
func (l *lane) register(job int, answer []byte) bool {
	switch {
	case answer == nil:
	case bytes.HasPrefix(answer, []byte("SIP/2.0 200")):
		return true
	case bytes.HasPrefix(answer, []byte("SIP/2.0 401")):
		challenge, _ := header(answer, "WWW-Authenticate: ")
		_, nonce, _ := bytes.Cut(challenge, []byte(`nonce="`))
		nonce, _, _ = bytes.Cut(nonce, []byte(`"`))
		l.nonces[job], l.nc[job] = string(nonce), 0
	default:
		return false
	}
	l.cseq[job]++
	domain := l.gen.srv.dev.Domain
	user := "u" + strconv.Itoa(job*lanes+l.index())
	var auth string
	if l.nonces[job] != "" {
		l.nc[job]++
		auth = digest(user, domain, l.nonces[job], l.nc[job])
	}
	l.send(fmt.Appendf(nil, "REGISTER sip:%[1]s SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%[2]d;rport;branch=z9hG4bK%[3]d.%[4]d.%[5]d.%[2]d\r\nMax-Forwards: 70\r\n"+
		"From: <sip:%[6]s@%[1]s>;tag=f%[4]d\r\nTo: <sip:%[6]s@%[1]s>\r\nCall-ID: %[3]d-%[4]d@bench\r\nCSeq: %[5]d REGISTER\r\n"+
		"Contact: <sip:%[6]s@127.0.0.1:%[2]d>\r\nExpires: 3600\r\nUser-Agent: bench\r\n%[7]sContent-Length: 0\r\n\r\n",
		domain, l.port, l.gen.run, job, l.cseq[job], user, auth))
	return false
}

func (l *lane) index() int {
	for i, other := range l.gen.lanes {
		if other == l {
			return i
		}
	}
	return 0
}

func digest(user, realm, nonce string, nc int) string {
	uri := "sip:" + realm
	count := fmt.Sprintf("%08x", nc)
	ha1 := md5hex(user + ":" + realm + ":" + password)
	response := md5hex(ha1 + ":" + nonce + ":" + count + ":bench:auth:" + md5hex("REGISTER:"+uri))
	return fmt.Sprintf("Authorization: Digest username=%q, realm=%q, nonce=%q, uri=%q, response=%q, algorithm=MD5, cnonce=\"bench\", qop=auth, nc=%s\r\n",
		user, realm, nonce, uri, response, count)
}

func md5hex(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

func (l *lane) send(msg []byte) {
	// A datagram that is lost here is sent again like one lost on the way.
	_, _ = l.conn.WriteToUDP(msg, l.gen.remote)
}
