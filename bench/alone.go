package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/net/ipv4"
)

// generatorAlone measures refreshes against a process that answers everything
// and checks nothing: more than that no server can show here.
func generatorAlone(s settings, dir, domain string) (rate float64, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	srv, err := launch(dir, "responder", nil, self, "-responder")
	if err != nil {
		return 0, err
	}
	srv.domain = domain
	var text []byte
	err = srv.wait(func() bool {
		text, err = os.ReadFile(filepath.Join(dir, "responder.log"))
		return err == nil && bytes.HasSuffix(text, []byte("\n"))
	})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, srv.cmd.Process.Kill()) }()
	if srv.udp, err = net.ResolveUDPAddr("udp4", strings.TrimSpace(string(text))); err != nil {
		return 0, err
	}
	gen, err := newGenerator(srv, s.users, s.window)
	if err != nil {
		return 0, err
	}
	defer gen.close()
	m := measured{server: srv, gen: gen}
	var figures []figure
	for range s.rounds {
		f, err := m.measure(refresh, s)
		if err != nil {
			return 0, err
		}
		figures = append(figures, f)
	}
	return median(column(figures, rateOf)), nil
}

// respond is that process. It prints its address and serves until it is ended.
func respond() error {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	if err := conn.SetReadBuffer(4 << 20); err != nil {
		return err
	}
	fmt.Println(conn.LocalAddr())
	batch, in, out := ipv4.NewPacketConn(conn), buffers(), buffers()
	for {
		n, err := batch.ReadBatch(in, 0)
		if err != nil {
			return err
		}
		for i, m := range in[:n] {
			answer := appendResponse(out[i].Buffers[0][:0], m.Buffers[0][:m.N], "200 OK")
			out[i].Buffers[0], out[i].Addr = appendBody(answer, ""), m.Addr
		}
		for sent := 0; sent < n; {
			k, err := batch.WriteBatch(out[sent:n], 0)
			if err != nil {
				return err
			}
			sent += k
		}
	}
}
