package storesql

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"onhook/internal/account"
)

// Endpoints returns one page, newest first, and the number of all that match.
// Both are read from one snapshot.
func (s *Store) Endpoints(ctx context.Context, owner string, q account.EndpointQuery) (page []account.Endpoint, total int, err error) {
	t, end, err := s.snapshot(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer end()
	var all int // that the owner has
	err = t.row(ctx, `SELECT count(*) FROM endpoints WHERE owner = ?`, owner).Scan(&all)
	if err != nil {
		return nil, 0, err
	}
	where, args, filtered := s.conditions(owner, q)
	var wanted []int64
	if q.RegisteredIn != nil || len(q.NotRegisteredIn) > 0 {
		wanted, total, err = registered(ctx, t, where, args, q)
	} else {
		wanted, total, err = matching(ctx, t, where, args, q, all, filtered)
	}
	if err != nil || len(wanted) == 0 {
		return nil, total, err
	}
	in, arg := t.list(wanted)
	err = t.each(ctx, func(row scanner) error {
		e, err := t.scanEndpoint(row)
		page = append(page, e)
		return err
	}, `SELECT `+endpointColumns+` FROM endpoints WHERE seq `+in+` ORDER BY seq DESC`, arg)
	return page, total, err
}

// snapshot begins to read what is there now; end ends it.
func (s *Store) snapshot(ctx context.Context) (r reader, end func(), err error) {
	t, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true, Isolation: s.dialect.Snapshot()})
	if err != nil {
		return reader{}, nil, Failed(s.dialect, err)
	}
	return reader{conn{t, s.dialect, s.silence}, s.keys}, func() { _ = t.Rollback() }, nil // nothing was written: there is nothing to lose
}

// matching returns which rows make the page, and how many match in all.
func matching(ctx context.Context, t reader, where string, args []any, q account.EndpointQuery, all int, filtered bool) (page []int64, total int, err error) {
	if total = all; filtered {
		err := t.row(ctx, `SELECT count(*) FROM endpoints`+t.filterIndex(q)+` WHERE `+where, args...).Scan(&total)
		if errors.Is(err, account.ErrNotFound) { // a filter that no row can meet
			return nil, 0, nil
		}
		if err != nil {
			return nil, 0, err
		}
	}
	if q.Offset >= total {
		return nil, total, nil
	}
	err = t.each(ctx, func(row scanner) error {
		var seq int64
		err := row.Scan(&seq)
		page = append(page, seq)
		return err
	}, `SELECT seq FROM endpoints`+t.pageIndex(q, all, total)+` WHERE `+where+` ORDER BY seq DESC LIMIT ? OFFSET ?`, append(args, q.Limit, q.Offset)...)
	return page, total, err
}

// registered is matching for a query by registration, whose sets may hold
// every endpoint of the server: they are looked into here, not in SQL.
func registered(ctx context.Context, t reader, where string, args []any, q account.EndpointQuery) (page []int64, total int, err error) {
	in, out := set(q.RegisteredIn), set(q.NotRegisteredIn)
	err = t.each(ctx, func(row scanner) error {
		var seq int64
		var id account.EndpointID
		if err := row.Scan(&seq, &id); err != nil {
			return err
		}
		if _, ok := in[id]; !ok && q.RegisteredIn != nil {
			return nil
		}
		if _, ok := out[id]; ok {
			return nil
		}
		if total >= q.Offset && len(page) < q.Limit {
			page = append(page, seq)
		}
		total++
		return nil
	}, `SELECT seq, id FROM endpoints WHERE `+where+` ORDER BY seq DESC`, args...)
	return page, total, err
}

func set(ids []account.EndpointID) map[account.EndpointID]struct{} {
	m := make(map[account.EndpointID]struct{}, len(ids))
	for _, id := range ids {
		m[id] = struct{}{}
	}
	return m
}

// filterIndex names the index that answers a query by itself where SQLite,
// which keeps no statistics here, might read every row instead.
func (c conn) filterIndex(q account.EndpointQuery) string {
	username, alias := q.Username != account.Match{}, q.Alias != account.Match{}
	application := q.Application.Set || q.ApplicationIsNull.Set
	switch {
	case username && !alias && !application:
		return c.dialect.IndexedBy("endpoints_username")
	case alias && !username && !application:
		return c.dialect.IndexedBy("endpoints_alias")
	}
	return ""
}

// pageIndex chooses between the two ways to a page of a query by name: sort
// what matches, or walk from the newest until enough has matched. To walk is to
// read rows, some five times dearer than to sort, and where the matches lie is
// unknown.
func (c conn) pageIndex(q account.EndpointQuery, all, total int) string {
	index := c.filterIndex(q)
	sorted := total // rows to sort
	if q.Username.Contains.Set || q.Alias.Contains.Set {
		sorted += all / 5 // and an index to read, which is cheaper
	}
	if walked := (q.Offset + q.Limit) * (all / total); index != "" && 5*walked < sorted {
		return c.dialect.IndexedBy("endpoints_owner")
	}
	return index
}

// conditions writes a query's filters but those by registration as SQL; filtered is false when there is
// none beside the owner.
func (c conn) conditions(owner string, q account.EndpointQuery) (where string, args []any, filtered bool) {
	all := []string{"owner = ?"}
	args = []any{owner}
	add := func(condition string, values ...any) {
		all = append(all, condition)
		args = append(args, values...)
	}
	match := func(column string, m account.Match, fold func(string) string) {
		more, values := c.matchConditions(column, m, fold)
		all, args = append(all, more...), append(args, values...)
	}
	match("username_key", q.Username, strings.ToLower)
	match("alias", q.Alias, asWritten)
	if q.Application.Set {
		add("application = ?", q.Application.Value)
	}
	if q.ApplicationIsNull.Set {
		if q.ApplicationIsNull.Value {
			add("application IS NULL")
		} else {
			add("application IS NOT NULL")
		}
	}
	return strings.Join(all, " AND "), args, len(all) > 1
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
