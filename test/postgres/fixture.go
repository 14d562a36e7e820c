package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
)

// common is the server that the tests of one package share.
var common struct {
	sync.Mutex
	server *Server
	err    error
	users  int
}

// Database returns the URL of an empty database of the test's own: a schema on
// a server that runs while a test needs it. Where none is installed the test is
// skipped; with CI=true it fails.
func Database(t testing.TB) string {
	t.Helper()
	common.Lock()
	defer common.Unlock()
	if common.users == 0 {
		common.server, common.err = New(context.Background(), false)
	}
	missing(t, common.err)
	common.users++
	t.Cleanup(func() {
		common.Lock()
		defer common.Unlock()
		if common.users--; common.users > 0 {
			return
		}
		if err := common.server.Close(); err != nil {
			t.Errorf("postgres: %v", err)
		}
	})
	schema := "test_" + strings.ToLower(rand.Text())
	if err := common.server.Run(t.Context(), "CREATE SCHEMA "+schema); err != nil {
		t.Fatal(err)
	}
	return common.server.URL("search_path", schema)
}

// Own returns a server of the test's own, to stop and to start, whose commits
// are on disk.
func Own(t testing.TB) *Server {
	t.Helper()
	s, err := New(t.Context(), true)
	missing(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("postgres: %v", err)
		}
	})
	return s
}

func missing(t testing.TB, err error) {
	t.Helper()
	switch {
	case errors.Is(err, ErrMissing) && os.Getenv("CI") != "true":
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
}
