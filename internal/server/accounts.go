package server

import (
	"context"
	"errors"
	"fmt"
	"os"

	"onhook/internal/account"
	"onhook/internal/config"
	"onhook/internal/storesqlite"
)

// accounts is the opened database and what opens its secrets.
type accounts struct {
	store   account.Store
	service *account.Service
	master  []byte
}

func openAccounts(ctx context.Context, cfg config.Config) (accounts, error) {
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
	store, err := storesqlite.Open(ctx, cfg.DatabasePath(), keys)
	if err != nil {
		return accounts{}, fmt.Errorf("database %s: %w", cfg.DatabasePath(), err)
	}
	return accounts{store, account.NewService(store, cfg.Domains, keys, nil), master}, nil
}

// WithAccounts calls f with the accounts of a configuration's database, without
// a server. One that runs on the same database sees the changes.
func WithAccounts(ctx context.Context, cfg config.Config, f func(*account.Service) error) (err error) {
	db, err := openAccounts(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.store.Close()) }()
	return f(db.service)
}
