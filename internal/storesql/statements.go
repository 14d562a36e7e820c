package storesql

import (
	"context"
	"database/sql"
	"sync"
)

// statements keeps the statements of a pool that were prepared before, where
// parsing them again costs as much as running them.
type statements struct {
	db *sql.DB

	mu     sync.RWMutex
	known  map[string]*sql.Stmt
	wanted []string // by transactions, which hold the connection themselves
}

const (
	maxStatements = 256
	maxStatement  = 8192 // bytes
)

func newStatements(db *sql.DB) *statements {
	return &statements{db: db, known: map[string]*sql.Stmt{}}
}

// find returns a prepared statement, nil where there is none. One that is not
// known is prepared at once or, for a transaction, when that is over.
func (s *statements) find(ctx context.Context, query string, t *sql.Tx) *sql.Stmt {
	s.mu.RLock()
	known, n := s.known[query], len(s.known)+len(s.wanted)
	s.mu.RUnlock()
	switch {
	case known != nil && t != nil:
		return t.StmtContext(ctx, known)
	case known != nil || n >= maxStatements || len(query) > maxStatement:
		return known
	case t != nil:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.wanted = append(s.wanted, query)
		return nil
	}
	return s.prepare(ctx, query)
}

// prepareWanted prepares what transactions have asked for.
func (s *statements) prepareWanted(ctx context.Context) {
	s.mu.Lock()
	wanted := s.wanted
	s.wanted = nil
	s.mu.Unlock()
	for _, query := range wanted {
		s.prepare(ctx, query)
	}
}

// prepare keeps a statement; one that does not prepare fails where it is run.
func (s *statements) prepare(ctx context.Context, query string) *sql.Stmt {
	stmt, err := s.db.PrepareContext(ctx, query)
	if err != nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.known[query]; known != nil {
		_ = stmt.Close() // the other is as good
		return known
	}
	s.known[query] = stmt
	return stmt
}
