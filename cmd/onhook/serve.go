package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"onhook/internal/config"
	"onhook/internal/dev"
	"onhook/internal/server"
)

type serveCommand struct {
	Config string `required:"" placeholder:"FILE" help:"Configuration file; onhook config example prints one."`
}

// Run is onhook serve.
func (c *serveCommand) Run(m *Main) (err error) {
	cfg, err := config.Load(c.Config)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	lock, err := dev.Lock(cfg.DataDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	err = m.runServer(cfg, func(ctx context.Context, s *server.Server) error {
		return m.firstAccount(ctx, s)
	})
	return damaged(err, "--config "+c.Config)
}

// firstAccount gives a server without accounts one, and prints its token.
func (m *Main) firstAccount(ctx context.Context, s *server.Server) error {
	all, err := s.Accounts().Accounts(ctx)
	if err != nil || len(all) > 0 {
		return err
	}
	a, token, err := s.Accounts().CreateAccount(ctx, "main")
	if err != nil {
		return fmt.Errorf("first account: %w", err)
	}
	return m.printToken(a.AuthID, token)
}
