package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"onhook/internal/config"
	"onhook/internal/logging"
	"onhook/internal/server"
)

// errForced is the error of a server that was interrupted while it stopped.
var errForced = errors.New("interrupted while stopping")

// runServer runs a server until a signal ends it: SIGTERM lets it finish what
// is under way, SIGINT stops it now, also while it finishes. ready is called
// once the server listens everywhere.
func (m *Main) runServer(cfg config.Config, ready func(context.Context, *server.Server) error) error {
	logger, err := logging.New(m.Stderr, cfg.Log.Level, cfg.Log.Format)
	if err != nil {
		return err
	}
	if m.Slacken != nil {
		if err := m.Slacken(); err != nil { // in a container that forbids it, say: all works, at a higher price
			logger.Debug("threads keep the kernel's timer slack", "error", err)
		}
	}
	signals := m.Signals
	if signals == nil {
		c := make(chan os.Signal, 2)
		signal.Notify(c, syscall.SIGTERM, syscall.SIGINT)
		defer signal.Stop(c)
		signals = c
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	s, err := newServer(ctx, cancel, signals, cfg, logger)
	if s == nil || err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()

	started := s.Started()
	var stopping os.Signal
	for {
		select {
		case <-started:
			started = nil
			if err := ready(ctx, s); err != nil {
				cancel(server.ErrStopNow)
				return errors.Join(err, <-done)
			}
			logger.Info("ready", "api", s.APIAddr())
		case err := <-done:
			if err == nil {
				logger.Info("stopped")
			}
			return err
		case sig := <-signals:
			switch {
			case stopping == nil:
				stopping = sig
				stop(cancel, sig, logger, cfg)
			case stopping == syscall.SIGTERM && sig == syscall.SIGINT:
				return errForced
			} // else the same again, as a signal to a process group may come
		}
	}
}

// newServer builds a server, for which it may have to wait for the database. It
// returns none when a signal comes meanwhile.
func newServer(ctx context.Context, cancel context.CancelCauseFunc, signals <-chan os.Signal, cfg config.Config, logger *slog.Logger) (s *server.Server, err error) {
	built := make(chan struct{})
	go func() {
		defer close(built)
		s, err = server.New(ctx, cfg, server.Options{Logger: logger})
	}()
	select {
	case <-built:
		return s, err
	case sig := <-signals:
		logger.Info("stopping before the start is complete", "signal", sig.String())
	}
	cancel(server.ErrStopNow)
	<-built
	if err == nil {
		err = s.Run(ctx) // closes what is open
	}
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return nil, err
}

func stop(cancel context.CancelCauseFunc, sig os.Signal, logger *slog.Logger, cfg config.Config) {
	if sig == syscall.SIGTERM {
		logger.Info("stopping; SIGINT stops at once", "signal", sig.String(), "at_most", cfg.ShutdownTimeout)
		cancel(nil)
		return
	}
	logger.Info("stopping now", "signal", sig.String())
	cancel(server.ErrStopNow)
}

// taken adds what to do about a port that somebody else holds.
func taken(err error, advice string) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w\n%s", err, advice)
	}
	return err
}
