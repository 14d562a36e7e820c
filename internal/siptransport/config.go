package siptransport

import (
	"cmp"
	"log/slog"
	"runtime"
	"time"

	"onhook/internal/floodguard"
)

func (c *Config) setDefaults() {
	if c.Guard == nil {
		c.Guard = floodguard.New(floodguard.Config{})
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.UDPWorkers = cmp.Or(max(c.UDPWorkers, 0), runtime.GOMAXPROCS(0))
	c.ReceiveBuffer = cmp.Or(c.ReceiveBuffer, 8<<20)
	c.SendBuffer = cmp.Or(c.SendBuffer, 2<<20)
	c.MaxConnections = cmp.Or(c.MaxConnections, 200_000)
	c.QueueBytes = cmp.Or(c.QueueBytes, 256<<10)
	c.PingInterval = max(cmp.Or(c.PingInterval, 30*time.Second), 0)
	d := &c.Deadlines
	d.Handshake = cmp.Or(d.Handshake, 5*time.Second)
	d.FirstMessage = cmp.Or(d.FirstMessage, 10*time.Second)
	d.Message = cmp.Or(d.Message, 10*time.Second)
	d.Idle = cmp.Or(d.Idle, 60*time.Second)
	d.Write = cmp.Or(d.Write, 10*time.Second)
	d.Dial = cmp.Or(d.Dial, 5*time.Second)
	d.Linger = cmp.Or(d.Linger, time.Second)
}
