package devserver

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

// The ports that tests give to programs are below those that anybody else takes
// without being told: onhook dev's, phones' for media, and the kernel's for a
// socket bound to port 0 and for a connection. Between the choice and the
// program that binds it there are dozens of those while tests run side by side.
const (
	firstPort = 7000
	endPort   = 10000
)

// claims are sockets without a file, one for each port that this process has
// chosen: another process of the tests cannot have the name, nor can we twice.
var claims sync.Map

// FreePort returns a port of 127.0.0.1 that is free for UDP and TCP, and that no
// other test is given while this one's process runs.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := firstPort + rand.IntN(endPort-firstPort)
		claim, err := net.Listen("unix", fmt.Sprintf("@onhook/test/port/%d", port))
		if err != nil {
			continue
		}
		if claims.Store(port, claim); free(loopback(port)) {
			return port
		}
	}
	t.Fatalf("no port between %d and %d is free for both UDP and TCP", firstPort, endPort)
	return 0
}

// loopback is the address of a port of 127.0.0.1.
func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func free(address string) bool {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	defer func() { _ = listener.Close() }()
	socket, err := net.ListenPacket("udp", address)
	if err != nil {
		return false
	}
	return socket.Close() == nil
}
