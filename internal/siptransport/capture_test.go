package siptransport

import "net"

// capture is a connection that keeps what is written to it.
type capture struct {
	net.Conn
	sent string
}

func (c *capture) Write(b []byte) (int, error) {
	c.sent += string(b)
	return len(b), nil
}
