package server

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"onhook/internal/account"
	"onhook/internal/api"
	"onhook/internal/config"
	"onhook/internal/directory"
	"onhook/internal/floodguard"
	"onhook/internal/location"
	"onhook/internal/locationpebble"
	"onhook/internal/registrar"
	"onhook/internal/routing"
	"onhook/internal/sip"
	"onhook/internal/sipauth"
	"onhook/internal/sipproxy"
	"onhook/internal/siptransaction"
	"onhook/internal/siptransport"
	"onhook/internal/storesqlite"
)

// Options is what a Server is given beside its configuration.
type Options struct {
	Logger *slog.Logger // nil: slog.Default()
}

// ErrStopNow is the cause to cancel Run's context with when nothing shall be
// waited for.
var ErrStopNow = errors.New("stop now")

// Server is a whole onhook.
type Server struct {
	cfg      config.Config
	logger   *slog.Logger
	store    account.Store
	accounts *account.Service
	journal  location.Journal
	path     *path
	api      *http.Server
	apiAddr  netip.AddrPort
	apiConn  net.Listener

	started chan struct{}
	ready   atomic.Bool
}

// New builds a Server and opens its stores; it listens nowhere yet. Without an
// error, Run must follow: it closes what New opened.
func New(ctx context.Context, cfg config.Config, opts Options) (s *Server, err error) {
	s = &Server{cfg: cfg, logger: opts.Logger, started: make(chan struct{})}
	if s.logger == nil {
		s.logger = slog.Default()
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.closeStores())
			s = nil
		}
	}()
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	master, err := cfg.MasterKey()
	if err != nil {
		return nil, err
	}
	keys, err := account.NewKeys(master)
	if err != nil {
		return nil, err
	}
	if s.store, err = storesqlite.Open(ctx, cfg.DatabasePath(), keys); err != nil {
		return nil, fmt.Errorf("database %s: %w", cfg.DatabasePath(), err)
	}
	s.accounts = account.NewService(s.store, cfg.Domains, keys, nil)
	dir := directory.New()
	if err := dir.Load(ctx, s.store); err != nil {
		return nil, fmt.Errorf("load endpoints: %w", err)
	}
	if s.journal, err = locationpebble.Open(cfg.LocationPath(), s.logger); err != nil {
		return nil, fmt.Errorf("bindings %s: %w", cfg.LocationPath(), err)
	}
	if err := s.build(ctx, dir, master); err != nil {
		return nil, err
	}
	return s, nil
}
