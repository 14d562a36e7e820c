package main

import (
	"errors"
	"fmt"

	"onhook/internal/config"
	"onhook/internal/dev"
	"onhook/internal/locationlog"
)

type bindingsCommand struct {
	Salvage bindingsSalvage `cmd:"" help:"Keep what can be read of a damaged binding journal. The server must not run."`
}

type bindingsSalvage struct {
	Config string `required:"" xor:"where" placeholder:"FILE" help:"The server's configuration file."`
	Dir    string `required:"" xor:"where" placeholder:"DIR" help:"The folder of onhook dev instead."`
}

// Run is onhook bindings salvage.
func (c *bindingsSalvage) Run(m *Main) error {
	cfg := config.Config{DataDir: dev.DataDir(c.Dir)}
	if c.Config != "" {
		var err error
		if cfg, err = config.Load(c.Config); err != nil {
			return err
		}
	}
	done, err := locationlog.Salvage(cfg.LocationPath())
	if err != nil {
		return err
	}
	if done.Aside == "" {
		_, err = fmt.Fprintf(m.Stdout, "%s is not damaged: %d endpoints with bindings\n", cfg.LocationPath(), done.Records)
		return err
	}
	_, err = fmt.Fprintf(m.Stdout, "kept    %d endpoints with bindings\nlost    %d bytes in %d places\nbefore  %s\n"+
		"What the lost bytes changed is unknown: a registration may be missing, older, or already ended. Phones renew theirs.\n",
		done.Records, done.Lost, done.Places, done.Aside)
	return err
}

// damaged tells somebody whose bindings cannot be read what to run.
func damaged(err error, where string) error {
	var damage *locationlog.DamageError
	if !errors.As(err, &damage) {
		return err
	}
	return fmt.Errorf("%w\nNothing was changed. To start with what can be read:\n  onhook bindings salvage %s", err, where)
}
