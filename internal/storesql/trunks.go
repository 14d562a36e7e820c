package storesql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"onhook/internal/account"
	"onhook/internal/trunk"
)

var _ trunk.Store = (*Store)(nil)

// Trunks returns all trunks and numbers, oldest first.
func (s *Store) Trunks(ctx context.Context) (trunks []trunk.Trunk, numbers []trunk.Number, err error) {
	err = s.each(ctx, func(row scanner) error {
		t, err := s.scanTrunk(row)
		trunks = append(trunks, t)
		return err
	}, `SELECT settings, password FROM trunks ORDER BY seq`)
	if err != nil {
		return nil, nil, err
	}
	err = s.each(ctx, func(row scanner) error {
		n, err := scanNumber(row)
		numbers = append(numbers, n)
		return err
	}, `SELECT number, endpoint, application FROM numbers ORDER BY seq`)
	return trunks, numbers, err
}

func (r reader) scanTrunk(row scanner) (t trunk.Trunk, err error) {
	var settings string
	var sealed []byte
	if err := row.Scan(&settings, &sealed); err != nil {
		return t, err
	}
	if err := json.Unmarshal([]byte(settings), &t); err != nil {
		return t, fmt.Errorf("settings of a trunk: %w", err)
	}
	if sealed != nil {
		t.Password, err = r.keys.OpenTrunk(t.Name, sealed)
	}
	return t, err
}

func scanNumber(row scanner) (n trunk.Number, err error) {
	return n, row.Scan(&n.Number, &n.Endpoint, &n.Application)
}

// trunkRow is what a row holds of a trunk beside its name.
func (t *tx) trunkRow(one trunk.Trunk) (settings string, sealed []byte, err error) {
	text, err := json.Marshal(one)
	if one.Password != "" {
		sealed = t.keys.SealTrunk(one.Name, one.Password)
	}
	return string(text), sealed, err
}

// InsertTrunk adds a trunk.
func (s *Store) InsertTrunk(ctx context.Context, one trunk.Trunk) error {
	return s.updateTrunks(ctx, func(ctx context.Context, t *tx) error {
		if err := t.room(ctx, "trunks", trunk.MaxTrunks); err != nil {
			return err
		}
		settings, sealed, err := t.trunkRow(one)
		if err != nil {
			return err
		}
		_, err = t.exec(ctx, `INSERT INTO trunks (name, settings, password) VALUES (?, ?, ?)`, one.Name, settings, sealed)
		return t.takenTrunk(err)
	})
}

// ChangeTrunk replaces a trunk by what change makes of it.
func (s *Store) ChangeTrunk(ctx context.Context, name string, change func(trunk.Trunk) (trunk.Trunk, error)) error {
	return s.updateTrunks(ctx, func(ctx context.Context, t *tx) error {
		before, err := t.scanTrunk(t.row(ctx, `SELECT settings, password FROM trunks WHERE name = ?`, name))
		if err != nil {
			return err
		}
		after, err := change(before)
		if err != nil {
			return err
		}
		settings, sealed, err := t.trunkRow(after)
		if err != nil {
			return err
		}
		return t.one(ctx, `UPDATE trunks SET settings = ?, password = ? WHERE name = ?`, settings, sealed, name)
	})
}

// DeleteTrunk removes a trunk.
func (s *Store) DeleteTrunk(ctx context.Context, name string) error {
	return s.updateTrunks(ctx, func(ctx context.Context, t *tx) error {
		return t.one(ctx, `DELETE FROM trunks WHERE name = ?`, name)
	})
}

// InsertNumber adds a number.
func (s *Store) InsertNumber(ctx context.Context, n trunk.Number) error {
	return s.updateTrunks(ctx, func(ctx context.Context, t *tx) error {
		if err := t.room(ctx, "numbers", trunk.MaxNumbers); err != nil {
			return err
		}
		_, err := t.exec(ctx, `INSERT INTO numbers (number, endpoint, application) VALUES (?, ?, ?)`, n.Number, n.Endpoint, n.Application)
		return t.takenTrunk(err)
	})
}

// ChangeNumber replaces a number by what change makes of it.
func (s *Store) ChangeNumber(ctx context.Context, number string, change func(trunk.Number) (trunk.Number, error)) error {
	return s.updateTrunks(ctx, func(ctx context.Context, t *tx) error {
		before, err := scanNumber(t.row(ctx, `SELECT number, endpoint, application FROM numbers WHERE number = ?`, number))
		if err != nil {
			return err
		}
		after, err := change(before)
		if err != nil {
			return err
		}
		return t.one(ctx, `UPDATE numbers SET endpoint = ?, application = ? WHERE number = ?`, after.Endpoint, after.Application, number)
	})
}

// DeleteNumber removes a number.
func (s *Store) DeleteNumber(ctx context.Context, number string) error {
	return s.updateTrunks(ctx, func(ctx context.Context, t *tx) error {
		return t.one(ctx, `DELETE FROM numbers WHERE number = ?`, number)
	})
}

// SubscribeTrunks registers f for every committed change of trunks and numbers,
// whichever server made it. f must not wait.
func (s *Store) SubscribeTrunks(f func()) { subscribe(s.feed, &s.feed.trunks, f) }

// updateTrunks is update for a change of trunks or numbers.
func (s *Store) updateTrunks(ctx context.Context, f func(context.Context, *tx) error) error {
	err := s.update(ctx, func(ctx context.Context, t *tx) error {
		t.entry.trunks = true
		return f(ctx, t)
	})
	if errors.Is(err, account.ErrNotFound) {
		return trunk.ErrNotFound
	}
	return err
}

// room refuses another row of a table that has as many as it may have.
func (t *tx) room(ctx context.Context, table string, most int) error {
	var n int
	if err := t.row(ctx, `SELECT count(*) FROM `+table).Scan(&n); err != nil {
		return err
	}
	if n >= most {
		return trunk.ErrFull
	}
	return nil
}

func (t *tx) takenTrunk(err error) error {
	if t.taken(err, "") {
		return trunk.ErrTaken
	}
	return err
}
