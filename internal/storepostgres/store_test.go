package storepostgres

import (
	"database/sql"
	"log/slog"
	"testing"

	"onhook/internal/account"
	"onhook/internal/storetest"
	"onhook/test/postgres"
)

var quiet = slog.New(slog.DiscardHandler)

// direct opens the database beside the store.
func direct(t testing.TB, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func TestConformance(t *testing.T) {
	postgres.Database(t) // keeps the server for all of them
	storetest.Run(t, func(t *testing.T) storetest.Opener {
		url := postgres.Database(t)
		return func(keys *account.Keys) (account.Store, error) {
			s, err := Open(t.Context(), url, keys, quiet)
			if err != nil {
				return nil, err
			}
			return s, nil
		}
	})
}
