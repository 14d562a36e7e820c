package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"onhook/internal/account"
	"onhook/internal/config"
	"onhook/internal/storepostgres"
	"onhook/internal/storesql"
	"onhook/internal/storesqlite"
)

// accounts is the opened database and what opens its secrets.
type accounts struct {
	store   *storesql.Store
	service *account.Service
	master  []byte
}

func openAccounts(ctx context.Context, cfg config.Config, logger *slog.Logger) (accounts, error) {
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return accounts{}, fmt.Errorf("data directory: %w", err)
	}
	master, err := cfg.MasterKey()
	if err != nil {
		return accounts{}, err
	}
	keys, err := account.NewKeys(master)
	if err != nil {
		return accounts{}, err
	}
	store, err := openStore(ctx, cfg, keys, logger)
	if err != nil {
		return accounts{}, err
	}
	return accounts{store, account.NewService(store, cfg.Domains, keys, nil), master}, nil
}

func openStore(ctx context.Context, cfg config.Config, keys *account.Keys, logger *slog.Logger) (*storesql.Store, error) {
	address, ok := cfg.PostgresURL()
	if !ok {
		store, err := storesqlite.Open(ctx, cfg.DatabasePath(), keys)
		if err != nil {
			return nil, fmt.Errorf("database %s: %w", cfg.DatabasePath(), err)
		}
		return store, nil
	}
	store, err := storepostgres.Open(ctx, address, keys, logger.With("package", "storepostgres"))
	switch {
	case errors.Is(err, account.ErrWrongKey) && cfg.Key == nil:
		return nil, fmt.Errorf("database: %w: servers that share one need the same key: put the first one's into %s or into %s", err, cfg.KeyPath(), config.EnvKey)
	case err != nil:
		return nil, fmt.Errorf("database: %w", err)
	}
	return store, nil
}

// WithAccounts calls f with the accounts of a configuration's database, without
// a server. One that runs on the same database sees the changes.
func WithAccounts(ctx context.Context, cfg config.Config, f func(*account.Service) error) (err error) {
	db, err := openAccounts(ctx, cfg, slog.Default())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.store.Close()) }()
	return f(db.service)
}
