package dev

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// ports are the listening ports of the environment.
type ports struct {
	UDP uint16 `json:"udp"`
	TCP uint16 `json:"tcp"`
	TLS uint16 `json:"tls"`
	WS  uint16 `json:"ws"`
	WSS uint16 `json:"wss"`
	API uint16 `json:"api"`
}

// defaultPorts are SIP's own for what has some. Browsers refuse to open 5060
// and 5061, so that WebSockets have to be elsewhere.
var defaultPorts = ports{UDP: 5060, TCP: 5060, TLS: 5061, WS: 5062, WSS: 5063, API: 5080}

type portOf struct {
	transport string
	port      uint16
}

func (p ports) listeners() []portOf {
	return []portOf{{"udp", p.UDP}, {"tcp", p.TCP}, {"tls", p.TLS}, {"ws", p.WS}, {"wss", p.WSS}}
}

// choosePorts keeps the ports of an earlier start. Free ones are picked once:
// when they are asked for and the folder has none of that kind yet.
func (e *Env) choosePorts(ephemeral bool) error {
	switch {
	case ephemeral && !e.state.Ephemeral:
		picked, err := e.pickPorts()
		if err != nil {
			return err
		}
		e.state.Ports, e.state.Ephemeral = picked, true
	case e.state.Ports == ports{}:
		e.state.Ports = defaultPorts
	default:
		return nil
	}
	return e.state.write(e.statePath())
}

// Ports are picked below the range from which systems take the ports of
// outgoing connections: one of those could hold ours when we come back.
const (
	firstPort = 20000
	endPort   = 32000
)

// pickPorts finds six neighbours that are free on every address.
func (e *Env) pickPorts() (ports, error) {
	for range 200 {
		n := uint16(firstPort + 8*rand.IntN((endPort-firstPort)/8))
		p := ports{UDP: n, TCP: n, TLS: n + 1, WS: n + 2, WSS: n + 3, API: n + 4}
		free, err := e.free(p)
		if err != nil {
			return ports{}, err
		}
		if free {
			return p, nil
		}
	}
	return ports{}, fmt.Errorf("no free ports between %d and %d", firstPort, endPort)
}

func (e *Env) free(p ports) (bool, error) {
	var open []interface{ Close() error }
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	for _, addr := range e.addrs() {
		probe, err := net.ListenPacket("udp", hostPort(addr, 0))
		if err != nil {
			return false, fmt.Errorf("listen on %s: %w (is it an address of this machine?)", addr, err)
		}
		open = append(open, probe)
		udp, err := net.ListenPacket("udp", hostPort(addr, p.UDP))
		if err != nil {
			return false, nil
		}
		open = append(open, udp)
		for _, port := range []uint16{p.TCP, p.TLS, p.WS, p.WSS, p.API} {
			tcp, err := net.Listen("tcp", hostPort(addr, port))
			if err != nil {
				return false, nil
			}
			open = append(open, tcp)
		}
	}
	return true, nil
}
