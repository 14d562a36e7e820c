package sip

import "net/netip"

// Transport is the protocol a message travels on (RFC 3261 18, RFC 7118).
type Transport uint8

// The transports, in the order in which configuration and documents list them.
const (
	UDP Transport = iota + 1
	TCP
	TLS
	WS
	WSS
)

var transportNames = [...]struct{ via, param string }{
	UDP: {"UDP", "udp"}, TCP: {"TCP", "tcp"}, TLS: {"TLS", "tls"}, WS: {"WS", "ws"}, WSS: {"WSS", "wss"},
}

// ParseTransport reads a Via transport or a URI's transport parameter, in any
// case. ok is false for a transport this server does not speak.
func ParseTransport(s string) (t Transport, ok bool) {
	for t := UDP; t <= WSS; t++ {
		if equalFold(s, transportNames[t].via) {
			return t, true
		}
	}
	return 0, false
}

// String returns the Via form, such as "UDP"; "" for the zero Transport.
func (t Transport) String() string {
	if int(t) < len(transportNames) {
		return transportNames[t].via
	}
	return ""
}

// Param returns the form of a URI's transport parameter, such as "udp".
func (t Transport) Param() string {
	if int(t) < len(transportNames) {
		return transportNames[t].param
	}
	return ""
}

// Reliable reports whether the transport retransmits by itself.
func (t Transport) Reliable() bool { return t != UDP }

// Secure reports whether the transport is encrypted, as sips: demands.
func (t Transport) Secure() bool { return t == TLS || t == WSS }

// WebSocket reports whether the transport is WS or WSS (RFC 7118).
func (t Transport) WebSocket() bool { return t == WS || t == WSS }

// DefaultPort returns the port that a URI without one means (RFC 3261 19.1.2,
// RFC 7118 for WebSocket).
func (t Transport) DefaultPort() uint16 {
	switch t {
	case TLS:
		return 5061
	case WS:
		return 80
	case WSS:
		return 443
	}
	return 5060
}

// Flow names the way a message came, and by which an answer goes back
// (RFC 5626 3): the listener and remote address for UDP, the very connection
// for everything else. It is a plain value: compare it, store it, use it as a
// key. The transport turns it back into a socket.
type Flow struct {
	Transport Transport
	Listener  uint16 // index of the listener it belongs to
	Conn      uint64 // number of the connection, never reused; 0 for UDP
	Remote    netip.AddrPort
}

// IsZero reports whether f names no flow.
func (f Flow) IsZero() bool { return f.Transport == 0 }
