package storesqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"onhook/internal/account"
	"onhook/internal/storesql"
	"onhook/internal/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Opener {
		path := filepath.Join(t.TempDir(), "on hook?#%.db") // whatever a path may hold
		return func(keys *account.Keys) (account.Store, error) {
			s, err := Open(t.Context(), path, keys)
			if err != nil {
				return nil, err
			}
			return s, nil
		}
	})
}

func testKeys(t testing.TB) *account.Keys {
	t.Helper()
	keys, err := account.NewKeys(bytes.Repeat([]byte{7}, account.KeyLen))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

var owner = account.Account{AuthID: "MA_AAAAAAAA", Name: "owner", Enabled: true, CreatedAt: time.Unix(1e9, 0).UTC(), UpdatedAt: time.Unix(1e9, 0).UTC()}

// openOwned opens a store that has the owner.
func openOwned(t testing.TB, path string, set settings) database {
	t.Helper()
	s, err := open(context.Background(), path, testKeys(t), set)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	err = s.Update(context.Background(), func(ctx context.Context, tx account.Tx) error { return tx.InsertAccount(ctx, owner, "token") })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func endpoint(n int) account.Endpoint {
	name := fmt.Sprintf("user_%07d", n)
	return account.Endpoint{ID: account.EndpointID(100_000_000_000_000 + n), Owner: owner.AuthID, Main: owner.AuthID, Username: name, Domain: "sip.test",
		Alias: "Phone of " + name, MaxContacts: 10, CreatedAt: time.Unix(1e9, 0).UTC(), UpdatedAt: time.Unix(1e9, 0).UTC(), Secret: account.Secret{HasSHA256: true}}
}

func insert(s database, n int) error {
	return s.Update(context.Background(), func(ctx context.Context, tx account.Tx) error { return tx.InsertEndpoint(ctx, endpoint(n)) })
}

// reads fails the test unless the store answers reads.
func reads(t *testing.T, s database, endpoints int) {
	t.Helper()
	page, total, err := s.Endpoints(t.Context(), owner.AuthID, account.EndpointQuery{Limit: 1, Username: account.Match{Contains: account.Some("user")}})
	if err != nil || total != endpoints || len(page) != min(1, endpoints) {
		t.Fatalf("list: %d of %d, %v, want %d", len(page), total, err, endpoints)
	}
	if _, err := s.Login(t.Context(), owner.AuthID); err != nil {
		t.Fatalf("login: %v", err)
	}
}

func TestLockedDatabaseRefusesChangesAndReadsGoOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	s := openOwned(t, path, settings{busy: 10 * time.Millisecond})
	if err := insert(s, 1); err != nil {
		t.Fatal(err)
	}
	other, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	conn, err := other.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for n := range 20 { // alone and together
		group.Go(func() {
			if err := insert(s, 2+n); !errors.Is(err, account.ErrUnavailable) {
				t.Errorf("insert while locked: %v", err)
			}
		})
	}
	group.Wait()
	reads(t, s, 1)
	if _, err := conn.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := insert(s, 2); err != nil {
		t.Errorf("insert after the lock is gone: %v", err)
	}
	reads(t, s, 2)
}

func TestFullDiskRefusesChangesAndReadsGoOn(t *testing.T) {
	s := openOwned(t, filepath.Join(t.TempDir(), "db"), settings{busy: time.Second, maxPages: 60})
	told := 0
	s.Subscribe(func(account.Change) { told++ })
	made := 0
	var err error
	for err == nil {
		if err = insert(s, made); err == nil {
			made++
		}
	}
	if !errors.Is(err, account.ErrUnavailable) || made == 0 {
		t.Fatalf("after %d: %v", made, err)
	}
	// Together: none may claim success that is not there.
	var group sync.WaitGroup
	var mu sync.Mutex
	for n := range 200 {
		group.Go(func() {
			err := insert(s, 10_000+n)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				made++
			} else if !errors.Is(err, account.ErrUnavailable) {
				t.Errorf("insert on a full disk: %v", err)
			}
		})
	}
	group.Wait()
	reads(t, s, made)
	if told != made {
		t.Errorf("told %d changes, %d were made", told, made)
	}
	if _, err := s.write.ExecContext(t.Context(), "PRAGMA max_page_count = 100000"); err != nil {
		t.Fatal(err)
	}
	if err := insert(s, 20_000); err != nil {
		t.Fatalf("insert after room was made: %v", err)
	}
	reads(t, s, made+1)
}

// A change too large for what is left fails alone; its companions of the same
// commit succeed.
func TestOneTooManyDoesNotFailItsCompanions(t *testing.T) {
	s := openOwned(t, filepath.Join(t.TempDir(), "db"), settings{busy: time.Second, maxPages: 100})
	begun, finish := make(chan struct{}), make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() { // holds the writer until the others wait together
		_ = s.Update(t.Context(), func(context.Context, account.Tx) error { close(begun); <-finish; return nil })
	})
	<-begun
	errs := make([]error, 9)
	for i := range errs {
		group.Go(func() {
			errs[i] = s.Update(t.Context(), func(ctx context.Context, tx account.Tx) error {
				count := 1
				if i == 4 {
					count = 5000
				}
				for n := range count {
					if err := tx.InsertEndpoint(ctx, endpoint(10_000*i+n)); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
	waiting(s, len(errs))
	close(finish)
	group.Wait()
	for i, err := range errs {
		if i == 4 && !errors.Is(err, account.ErrUnavailable) || i != 4 && err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
	reads(t, s, len(errs)-1)
}

// waiting returns when n changes wait.
func waiting(s database, n int) {
	for s.Waiting() < n {
		runtime.Gosched()
	}
}

func TestTooManyWaitingChangesAreRefused(t *testing.T) {
	s := openOwned(t, filepath.Join(t.TempDir(), "db"), settings{busy: time.Second})
	begun, finish := make(chan struct{}), make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		_ = s.Update(t.Context(), func(context.Context, account.Tx) error { close(begun); <-finish; return nil })
	})
	<-begun
	for range storesql.MaxWaiting {
		group.Go(func() {
			if err := s.Update(t.Context(), func(context.Context, account.Tx) error { return nil }); err != nil {
				t.Errorf("one that waited: %v", err)
			}
		})
	}
	waiting(s, storesql.MaxWaiting)
	if err := insert(s, 1); !errors.Is(err, account.ErrUnavailable) {
		t.Errorf("one too many: %v", err)
	}
	close(finish)
	group.Wait()
}

func TestOpenIsIdempotentAndRefusesTheFuture(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	for range 3 {
		s, err := Open(t.Context(), path, testKeys(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), path, testKeys(t)); !errors.Is(err, storesql.ErrNewer) {
		t.Errorf("open: %v", err)
	}
}

func TestFilesAreTheOwnersAloneAndHoldNoSecretInClear(t *testing.T) {
	dir := t.TempDir()
	s := openOwned(t, filepath.Join(dir, "db"), settings{busy: time.Second})
	e := endpoint(1)
	copy(e.Secret.MD5[:], "sixteen bytes md")
	copy(e.Secret.SHA256[:], "thirty-two bytes of SHA-256 HA1.")
	const token = "0123456789abcdefghijklmnopqrstuvwxyzABCD"
	err := s.Update(t.Context(), func(ctx context.Context, tx account.Tx) error {
		return errors.Join(tx.InsertEndpoint(ctx, e), tx.SetToken(ctx, owner.AuthID, token))
	})
	if err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", f.Name(), info.Mode())
		}
		data, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{string(e.Secret.MD5[:]), string(e.Secret.SHA256[:]), token} {
			if strings.Contains(string(data), secret) {
				t.Errorf("%s holds %q", f.Name(), secret)
			}
		}
	}
}

// A secret moved to another row does not open: whoever can write the file
// cannot lend one endpoint another's password.
func TestSwappedSecretsDoNotOpen(t *testing.T) {
	s := openOwned(t, filepath.Join(t.TempDir(), "db"), settings{busy: time.Second})
	for n := range 2 {
		if err := insert(s, n); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.write.ExecContext(t.Context(), "UPDATE endpoints SET secret = (SELECT secret FROM endpoints WHERE id = ?) WHERE id = ?",
		int64(endpoint(0).ID), int64(endpoint(1).ID))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Endpoint(t.Context(), endpoint(1).ID); !errors.Is(err, account.ErrWrongKey) {
		t.Errorf("lookup: %v", err)
	}
}

func TestPragmasOfEveryConnection(t *testing.T) {
	s := openOwned(t, filepath.Join(t.TempDir(), "db"), settings{busy: 1234 * time.Millisecond})
	for _, c := range []struct {
		db      *sql.DB
		n       int
		pragmas map[string]string
	}{
		{s.write, 1, map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "1234"}},
		{s.read, 4, map[string]string{"journal_mode": "wal", "query_only": "1", "foreign_keys": "1", "busy_timeout": "1234"}},
	} {
		for range c.n { // held together: different connections
			conn, err := c.db.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			for name, want := range c.pragmas {
				var got string
				if err := conn.QueryRowContext(t.Context(), "PRAGMA "+name).Scan(&got); err != nil || got != want {
					t.Errorf("%s is %s, %v, want %s", name, got, err, want)
				}
			}
		}
	}
}
