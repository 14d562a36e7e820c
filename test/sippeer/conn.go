package sippeer

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// Target says where a server listens, as dev.json does.
type Target struct {
	UDP, TCP, TLS string // host:port
	WS, WSS       string // URLs
	CAFile        string
	Domain        string
}

// dialLimit bounds connecting and handshakes.
const dialLimit = 30 * time.Second

// Conn carries SIP messages over one of the five transports and keeps what
// arrives in a mailbox.
type Conn struct {
	Transport string // udp, tcp, tls, ws, wss
	local     net.Addr
	write     func([]byte) error
	closer    func()
	done      chan struct{} // the connection is gone

	mu      sync.Mutex
	mailbox []*Message
	arrived chan struct{} // closed and replaced at each arrival
	garbage []string      // what did not parse
}

// Dial connects over a transport.
func Dial(target Target, transport string) (*Conn, error) {
	c := &Conn{Transport: transport, done: make(chan struct{}), arrived: make(chan struct{})}
	switch transport {
	case "udp":
		return c, c.dialUDP(target.UDP)
	case "tcp":
		conn, err := net.DialTimeout("tcp", target.TCP, dialLimit)
		if err != nil {
			return nil, err
		}
		c.stream(conn)
		return c, nil
	case "tls":
		config, err := tlsConfig(target.CAFile)
		if err != nil {
			return nil, err
		}
		conn, err := tls.DialWithDialer(&net.Dialer{Timeout: dialLimit}, "tcp", target.TLS, config)
		if err != nil {
			return nil, err
		}
		c.stream(conn)
		return c, nil
	case "ws":
		return c, c.dialWebSocket(target.WS, nil)
	case "wss":
		config, err := tlsConfig(target.CAFile)
		if err != nil {
			return nil, err
		}
		return c, c.dialWebSocket(target.WSS, config)
	}
	return nil, fmt.Errorf("no transport %q", transport)
}

func tlsConfig(caFile string) (*tls.Config, error) {
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %s", caFile)
	}
	return &tls.Config{RootCAs: pool}, nil
}

func (c *Conn) dialUDP(address string) error {
	remote, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return err
	}
	bind := "127.0.0.1:0"
	if remote.IP.To4() == nil {
		bind = "[::1]:0"
	}
	socket, err := net.ListenPacket("udp", bind)
	if err != nil {
		return err
	}
	c.local = socket.LocalAddr()
	c.write = func(b []byte) error { _, err := socket.WriteTo(b, remote); return err }
	c.closer = func() { _ = socket.Close() }
	go func() {
		defer close(c.done)
		buf := make([]byte, 65535)
		for {
			n, _, err := socket.ReadFrom(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				c.received(buf[:n])
			}
		}
	}()
	return nil
}

func (c *Conn) stream(conn net.Conn) {
	c.local = conn.LocalAddr()
	c.write = func(b []byte) error {
		_ = conn.SetWriteDeadline(time.Now().Add(dialLimit))
		_, err := conn.Write(b)
		return err
	}
	c.closer = func() { _ = conn.Close() }
	go func() {
		defer close(c.done)
		defer func() { _ = conn.Close() }()
		r := bufio.NewReader(conn)
		for {
			raw, err := readMessage(r)
			if err != nil {
				return
			}
			c.received(raw)
		}
	}()
}

// readMessage cuts one message out of a stream by its Content-Length (RFC 3261
// 18.3); empty lines before it are keepalives (RFC 5626 3.5.1).
func readMessage(r *bufio.Reader) ([]byte, error) {
	var head strings.Builder
	length := 0
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if line == "\r\n" {
			if head.Len() == 0 {
				continue
			}
			break
		}
		head.WriteString(line)
		name, value, _ := strings.Cut(line, ":")
		if name = strings.ToLower(strings.TrimSpace(name)); name == "content-length" || name == "l" {
			if _, err := fmt.Sscan(value, &length); err != nil {
				return nil, fmt.Errorf("content-length %q: %w", value, err)
			}
		}
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, err
	}
	return append([]byte(head.String()+"\r\n"), body...), nil
}

func (c *Conn) dialWebSocket(url string, config *tls.Config) error {
	ctx, cancel := context.WithTimeout(context.Background(), dialLimit)
	defer cancel()
	// The local address is what a Contact without .invalid would name.
	transport := &http.Transport{TLSClientConfig: config, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err == nil {
			c.local = conn.LocalAddr()
		}
		return conn, err
	}}
	// RFC 7118 4.1: the subprotocol is "sip".
	ws, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{Subprotocols: []string{"sip"}, HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		return err
	}
	if ws.Subprotocol() != "sip" {
		return fmt.Errorf("the server chose subprotocol %q", ws.Subprotocol())
	}
	ws.SetReadLimit(1 << 16)
	c.write = func(b []byte) error {
		ctx, cancel := context.WithTimeout(context.Background(), dialLimit)
		defer cancel()
		return ws.Write(ctx, websocket.MessageText, b)
	}
	c.closer = func() { _ = ws.CloseNow() }
	go func() {
		defer close(c.done)
		for {
			_, raw, err := ws.Read(context.Background())
			if err != nil {
				return
			}
			c.received(raw)
		}
	}()
	return nil
}

func (c *Conn) received(raw []byte) {
	text := strings.TrimLeft(string(raw), "\r\n")
	if text == "" {
		return
	}
	m, err := Parse([]byte(text))
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.garbage = append(c.garbage, err.Error())
		return
	}
	c.mailbox = append(c.mailbox, m)
	close(c.arrived)
	c.arrived = make(chan struct{})
}

// Local returns our host:port.
func (c *Conn) Local() string { return c.local.String() }

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Close ends the connection and waits for its reader.
func (c *Conn) Close() {
	c.closer()
	<-c.done
}

// Send writes a message.
func (c *Conn) Send(m *Message) error { return c.write(m.Bytes()) }

// SendRaw writes bytes as they are.
func (c *Conn) SendRaw(b []byte) error { return c.write(b) }

// Garbage returns what arrived and is no SIP message.
func (c *Conn) Garbage() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.garbage
}

// Mailbox returns what has arrived and was not taken yet.
func (c *Conn) Mailbox() []*Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*Message(nil), c.mailbox...)
}

// Take waits for a message that match accepts and takes it out of the mailbox;
// what is before it stays there.
func (c *Conn) Take(limit time.Duration, match func(*Message) bool) (*Message, error) {
	return c.find(limit, match, true)
}

// Wait is Take that leaves the message in the mailbox.
func (c *Conn) Wait(limit time.Duration, match func(*Message) bool) error {
	_, err := c.find(limit, match, false)
	return err
}

func (c *Conn) find(limit time.Duration, match func(*Message) bool, take bool) (*Message, error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		c.mu.Lock()
		for i, m := range c.mailbox {
			if match(m) {
				if take {
					c.mailbox = append(c.mailbox[:i:i], c.mailbox[i+1:]...)
				}
				c.mu.Unlock()
				return m, nil
			}
		}
		arrived := c.arrived
		c.mu.Unlock()
		select {
		case <-arrived:
			continue
		default:
		}
		select {
		case <-arrived:
		case <-c.done:
			select {
			case <-arrived: // it came before the end
				continue
			default:
			}
			return nil, fmt.Errorf("the %s connection ended; in the mailbox: %s", c.Transport, c.summary())
		case <-timer.C:
			return nil, fmt.Errorf("nothing within %v; in the mailbox: %s", limit, c.summary())
		}
	}
}

func (c *Conn) summary() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.mailbox)+len(c.garbage) == 0 {
		return "nothing"
	}
	var lines []string
	for _, m := range c.mailbox {
		lines = append(lines, fmt.Sprintf("%q (CSeq %s)", m.Start, m.Get("CSeq")))
	}
	return strings.Join(append(lines, c.garbage...), ", ")
}
