package storesql

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"

	"onhook/internal/account"
)

// Endpoints returns one page, newest first, and the number of all that match.
// What it shows is found in memory; only the page is read. An endpoint that is
// deleted in between is left out.
func (s *Store) Endpoints(ctx context.Context, owner string, q account.EndpointQuery) (page []account.Endpoint, total int, err error) {
	if !s.roster.Loaded() {
		if err := s.EachEndpoint(ctx, func(account.Endpoint) error { return nil }); err != nil {
			return nil, 0, err
		}
	}
	ids, total := s.roster.Find(owner, q)
	if len(ids) == 0 {
		return nil, total, nil
	}
	numbers, place := make([]int64, len(ids)), make(map[account.EndpointID]int, len(ids))
	for i, id := range ids {
		numbers[i], place[id] = int64(id), i
	}
	in, arg := s.list(numbers)
	page = make([]account.Endpoint, 0, len(ids))
	err = s.each(ctx, func(row scanner) error {
		e, err := s.scanEndpoint(row)
		page = append(page, e)
		return err
	}, `SELECT `+endpointColumns+` FROM endpoints WHERE id `+in, arg)
	slices.SortFunc(page, func(a, b account.Endpoint) int { return place[a.ID] - place[b.ID] })
	return page, total, err
}

// SetRegistered says whether an endpoint has a live binding.
func (s *Store) SetRegistered(id account.EndpointID, is bool) { s.roster.SetRegistered(id, is) }

// EachEndpoint calls f with every endpoint, oldest first. The first time the
// lists' memory is filled with them, too.
func (s *Store) EachEndpoint(ctx context.Context, f func(account.Endpoint) error) error {
	return s.roster.Load(ctx, func(ctx context.Context, put func(account.Endpoint)) error {
		return s.each(ctx, func(row scanner) error {
			e, err := s.scanEndpoint(row)
			if err != nil {
				return err
			}
			put(e)
			return f(e)
		}, `SELECT `+endpointColumns+` FROM endpoints ORDER BY seq`)
	})
}

// snapshot begins to read what is there now; end ends it.
func (s *Store) snapshot(ctx context.Context) (r reader, end func(), err error) {
	t, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true, Isolation: s.dialect.Snapshot()})
	if err != nil {
		return reader{}, nil, Failed(s.dialect, err)
	}
	return reader{conn{on: t, dialect: s.dialect, silence: s.silence}, s.keys}, func() { _ = t.Rollback() }, nil // nothing was written: there is nothing to lose
}

func asWritten(s string) string { return s }

// matchConditions writes a text filter as SQL.
func (c conn) matchConditions(column string, m account.Match, fold func(string) string) (conditions []string, args []any) {
	add := func(condition string, values ...any) {
		conditions = append(conditions, condition)
		args = append(args, values...)
	}
	if m.Exact.Set {
		add(column+" = ?", fold(m.Exact.Value))
	}
	if m.StartsWith.Set && m.StartsWith.Value != "" {
		prefix := fold(m.StartsWith.Value)
		add(column+" >= ? AND "+column+" < ?", prefix, prefix+"\U0010ffff") // an index serves a range
	}
	if m.Contains.Set {
		add(c.dialect.Contains(column), fold(m.Contains.Value))
	}
	return conditions, args
}

// ApplicationPage returns one page, newest first, and the number of all that
// match. Both are read from one snapshot.
func (s *Store) ApplicationPage(ctx context.Context, owner string, q account.ApplicationQuery) (page []account.Application, total int, err error) {
	more, args := s.matchConditions("name", q.Name, asWritten)
	from := ` FROM applications WHERE ` + strings.Join(append([]string{"owner = ?"}, more...), " AND ")
	total, err = s.page(ctx, func(row scanner) error {
		a, err := scanApplication(row)
		page = append(page, a)
		return err
	}, applicationColumns, from, q.Limit, q.Offset, append([]any{owner}, args...))
	return page, total, err
}

// SubAccounts returns one page, newest first, and the number of all that match.
func (s *Store) SubAccounts(ctx context.Context, parent string, q account.SubAccountQuery) (page []account.Account, total int, err error) {
	total, err = s.page(ctx, func(row scanner) error {
		a, err := scanAccount(row)
		page = append(page, a)
		return err
	}, accountColumns, ` FROM accounts WHERE parent = ? AND (enabled OR NOT ?)`, q.Limit, q.Offset, []any{parent, q.ActiveOnly})
	return page, total, err
}

// page runs f with the rows of one page and returns how many match in all.
func (s *Store) page(ctx context.Context, f func(scanner) error, columns, from string, limit, offset int, args []any) (total int, err error) {
	t, end, err := s.snapshot(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	err = t.row(ctx, `SELECT count(*)`+from, args...).Scan(&total)
	if errors.Is(err, account.ErrNotFound) { // a filter that no row can meet
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return total, t.each(ctx, f, `SELECT `+columns+from+` ORDER BY seq DESC LIMIT ? OFFSET ?`, append(args, limit, offset)...)
}
