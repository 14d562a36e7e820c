package main

import (
	"context"
	"errors"

	"onhook/internal/dev"
	"onhook/internal/server"
)

type devCommand struct {
	Dir            string `default:"./.onhook" help:"Folder of the state: ports, key, certificates, data."`
	EphemeralPorts bool   `help:"Pick free ports instead of 5060 to 5063 and 5080; they are kept in DIR."`
	Listen         string `placeholder:"ADDR" help:"Listen for SIP on this address of the machine too, for phones on the same network."`
}

// Run is onhook dev.
func (c *devCommand) Run(m *Main) (err error) {
	env, err := dev.Open(dev.Options{Dir: c.Dir, EphemeralPorts: c.EphemeralPorts, Listen: c.Listen})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, env.Close()) }()
	err = m.runServer(env.Config(), func(ctx context.Context, s *server.Server) error {
		if err := env.Populate(ctx, s.Accounts()); err != nil {
			return err
		}
		if err := env.Publish(); err != nil {
			return err
		}
		return env.Hints(m.Stdout)
	})
	err = damaged(err, "--dir "+c.Dir)
	return taken(err, "Stop what uses that port, or let onhook dev --ephemeral-ports pick free ones.")
}
