package storesqlite

import (
	"context"
	"database/sql"
	"strings"

	"onhook/internal/account"
)

// Endpoints returns one page, newest first, and the number of all that match.
// Both are read from one snapshot.
func (s *Store) Endpoints(ctx context.Context, owner string, q account.EndpointQuery) (page []account.Endpoint, total int, err error) {
	where, args, filtered := conditions(owner, q)
	count := `SELECT count(*) FROM endpoints WHERE ` + where
	if !filtered {
		count = `SELECT coalesce((SELECT n FROM endpoint_counts WHERE owner = ?), 0)`
	}
	t, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, 0, unavailable(err)
	}
	defer t.Rollback() // nothing was written: there is nothing to lose
	if err := t.QueryRowContext(ctx, count, args...).Scan(&total); err != nil {
		return nil, 0, unavailable(err)
	}
	r := reader{t, s.keys}
	err = each(ctx, t, func(row scanner) error {
		e, err := r.scanEndpoint(row)
		page = append(page, e)
		return err
	}, `SELECT `+endpointColumns+` FROM endpoints WHERE `+where+` ORDER BY seq DESC LIMIT ? OFFSET ?`, append(args, q.Limit, q.Offset)...)
	return page, total, err
}

// conditions writes a query's filters as SQL; filtered is false when there is
// none beside the owner.
func conditions(owner string, q account.EndpointQuery) (where string, args []any, filtered bool) {
	all := []string{"owner = ?"}
	args = []any{owner}
	add := func(condition string, values ...any) {
		all = append(all, condition)
		args = append(args, values...)
	}
	match := func(column string, m account.Match, fold func(string) string) {
		if m.Exact.Set {
			add(column+" = ?", fold(m.Exact.Value))
		}
		if m.StartsWith.Set && m.StartsWith.Value != "" {
			prefix := fold(m.StartsWith.Value)
			add(column+" >= ? AND "+column+" < ?", prefix, prefix+"\U0010ffff") // an index serves a range
		}
		if m.Contains.Set {
			add("instr("+column+", ?) > 0", fold(m.Contains.Value))
		}
	}
	match("username_key", q.Username, strings.ToLower)
	match("alias", q.Alias, func(s string) string { return s })
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
	if q.RegisteredIn != nil {
		add("id IN (SELECT value FROM json_each(?))", list(q.RegisteredIn))
	}
	if len(q.NotRegisteredIn) > 0 {
		add("id NOT IN (SELECT value FROM json_each(?))", list(q.NotRegisteredIn))
	}
	return strings.Join(all, " AND "), args, len(all) > 1
}
