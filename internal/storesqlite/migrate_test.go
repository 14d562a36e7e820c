package storesqlite

import (
	"database/sql"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"onhook/internal/account"
)

// TestFileOfTheFirstVersion: what the first version wrote is there after the
// migration, and new things stand beside it.
func TestFileOfTheFirstVersion(t *testing.T) {
	path, keys := filepath.Join(t.TempDir(), "db"), testKeys(t)
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	_, files := dialect{}.Migrations()
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, files,
		goose.WithSlog(slog.New(slog.DiscardHandler)), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.UpTo(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	hash, born := keys.HashToken("token"), time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	exec := func(query string, args ...any) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), query, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec(`INSERT INTO settings (name, value) VALUES ('key_check', ?)`, keys.Check())
	for _, a := range []struct{ id, parent any }{{"MA_AAAAAAAA", nil}, {"SA_BBBBBBBB", "MA_AAAAAAAA"}} {
		exec(`INSERT INTO accounts (auth_id, parent, name, enabled, token_hash, token, created_at, updated_at) VALUES (?, ?, 'old', 1, ?, ?, ?, ?)`,
			a.id, a.parent, hash[:], keys.SealToken(a.id.(string), "token"), born.Unix(), born.Unix())
	}
	e := account.Endpoint{ID: 100_000_000_000_001, Owner: "SA_BBBBBBBB", Main: "MA_AAAAAAAA", Username: "old", Domain: "sip.test", Alias: "old",
		MaxContacts: 10, CreatedAt: born, UpdatedAt: born}
	exec(`INSERT INTO endpoints (id, owner, main, username, username_key, domain, alias, allow_voice, allow_message, allow_video, allow_same_domain,
		allow_other_domains, allow_phones, allow_apps, max_contacts, secret, created_at, updated_at) VALUES (?, ?, ?, 'old', 'old', 'sip.test', 'old',
		0, 0, 0, 0, 0, 0, 0, 10, ?, ?, ?)`, int64(e.ID), e.Owner, e.Main, keys.SealSecret(e.ID, e.Secret), born.Unix(), born.Unix())
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	s, err := Open(t.Context(), path, keys)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	e.Secret.HasSHA256 = false
	if got, err := s.Endpoint(t.Context(), e.ID); err != nil || got != e {
		t.Errorf("endpoint is %+v, %v", got, err)
	}
	all, err := s.Accounts(t.Context())
	if err != nil || len(all) != 2 || all[0].ID == all[1].ID || all[1].Parent != "MA_AAAAAAAA" || all[1].Name != "old" || !all[1].Enabled {
		t.Fatalf("accounts are %+v, %v", all, err)
	}
	if got, err := s.AccountByID(t.Context(), all[1].ID); err != nil || got != all[1] {
		t.Errorf("by number: %+v, %v", got, err)
	}
	service := account.NewService(s, []string{"sip.test"}, keys, nil)
	sub, _, err := service.CreateSubAccount(t.Context(), all[0], account.SubAccountSpec{Name: account.Some("new")})
	if err != nil || sub.ID == all[0].ID || sub.ID == all[1].ID {
		t.Errorf("a new one: %+v, %v", sub, err)
	}
	if err := service.DeleteSubAccount(t.Context(), all[0], "SA_BBBBBBBB", true); err != nil {
		t.Error(err)
	}
}
