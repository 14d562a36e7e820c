package storesql

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"onhook/internal/account"
)

// entry is what one transaction changed. In a shared database its number is
// its place in the order of commits.
type entry struct {
	number       int64
	accounts     []account.AccountChange
	applications []account.ApplicationChange
	endpoints    []account.Change
	trunks       bool // trunks or numbers changed: read them again
	webhooks     bool // webhooks did
}

func (e *entry) empty() bool {
	return len(e.accounts) == 0 && len(e.applications) == 0 && len(e.endpoints) == 0 && !e.trunks && !e.webhooks
}

// add puts what one job changed beside what others of its transaction did. It
// copies the endpoints only where there are others' already.
func (e *entry) add(more *entry) {
	if e.endpoints == nil {
		e.endpoints = slices.Clip(more.endpoints)
	} else {
		e.endpoints = append(e.endpoints, more.endpoints...)
	}
	e.accounts = append(e.accounts, more.accounts...)
	e.applications = append(e.applications, more.applications...)
	e.trunks, e.webhooks = e.trunks || more.trunks, e.webhooks || more.webhooks
}

// entries reads up to limit entries after the last one told, and checks that
// none is missing.
func entries(ctx context.Context, r reader, told int64, limit int) (all []entry, err error) {
	next := max(told, 1) // the one told last is looked at too: it must be there
	err = r.each(ctx, func(row scanner) error {
		var number int64
		var body string
		if err := row.Scan(&number, &body); err != nil {
			return err
		}
		if number != next {
			return fmt.Errorf("%w (%d follows %d)", ErrFellBehind, number, next-1)
		}
		next++
		if number == told {
			return nil
		}
		e, err := parseEntry(r.keys, number, body)
		all = append(all, e)
		return err
	}, `SELECT number, CASE WHEN number = ? THEN '' ELSE body END FROM changes WHERE number >= ? ORDER BY number LIMIT ?`, told, told, limit+1)
	if err == nil && told > 0 && next == told {
		err = fmt.Errorf("%w (%d is gone)", ErrFellBehind, told)
	}
	return all, err
}

// append writes an entry, whose body is formatted, and has the others look for
// it. The transaction holds the lock.
func (e *entry) append(ctx context.Context, r reader, s Shared, self string, body []byte) error {
	whole, err := e.withSecrets(body, r.keys)
	if err != nil {
		return err
	}
	if _, err := r.exec(ctx, `INSERT INTO changes (number, at, body) VALUES (?, ?, ?)`, e.number, time.Now().Unix(), string(whole)); err != nil {
		return err
	}
	_, err = r.exec(ctx, s.Notify(), self)
	return err
}

// The body of an entry: JSON. Endpoints are written without their secrets, which
// follow, sealed as they are in their tables.
type (
	entryJSON struct {
		Accounts     []account.AccountChange     `json:",omitempty"`
		Applications []account.ApplicationChange `json:",omitempty"`
		Endpoints    []changeJSON                `json:",omitempty"`
		Trunks       bool                        `json:",omitempty"`
		Webhooks     bool                        `json:",omitempty"`
		Secrets      [][]byte                    `json:",omitempty"` // four for each change; none in the outbox
	}
	changeJSON struct {
		Kind          account.ChangeKind
		Before, After *account.Endpoint `json:",omitempty"`
		SecretChanged bool              `json:",omitempty"`
		Rotated       bool              `json:",omitempty"`
		OverlapEnded  bool              `json:",omitempty"`
	}
)

// format writes an entry without secrets.
func (e *entry) format() ([]byte, error) {
	out := entryJSON{Accounts: e.accounts, Applications: e.applications, Trunks: e.trunks, Webhooks: e.webhooks, Endpoints: make([]changeJSON, len(e.endpoints))}
	for i := range e.endpoints {
		c := &e.endpoints[i]
		out.Endpoints[i] = changeJSON{Kind: c.Kind, SecretChanged: c.SecretChanged, Rotated: c.Rotated, OverlapEnded: c.OverlapEnded}
		if c.Before.ID != 0 {
			out.Endpoints[i].Before = &c.Before
		}
		if c.After.ID != 0 {
			out.Endpoints[i].After = &c.After
		}
	}
	return json.Marshal(out)
}

// withSecrets adds the secrets to a formatted entry.
func (e *entry) withSecrets(body []byte, keys *account.Keys) ([]byte, error) {
	if len(e.endpoints) == 0 {
		return body, nil
	}
	all := make([][]byte, 0, 4*len(e.endpoints))
	for i := range e.endpoints {
		c := &e.endpoints[i]
		for _, e := range [...]*account.Endpoint{&c.Before, &c.After} {
			var secret, previous []byte
			if e.ID != 0 {
				secret, previous = keys.SealSecret(e.ID, e.Secret), sealPrevious(keys, *e)
			}
			all = append(all, secret, previous)
		}
	}
	secrets, err := json.Marshal(entryJSON{Secrets: all})
	if err != nil {
		return nil, err
	}
	return append(append(body[:len(body)-1:len(body)-1], ','), secrets[1:]...), nil
}

func parseEntry(keys *account.Keys, number int64, body string) (entry, error) {
	var in entryJSON
	if err := json.Unmarshal([]byte(body), &in); err != nil {
		return entry{}, fmt.Errorf("change %d: %w", number, err)
	}
	if in.Secrets != nil && len(in.Secrets) != 4*len(in.Endpoints) {
		return entry{}, fmt.Errorf("change %d has %d secrets of %d endpoints", number, len(in.Secrets), len(in.Endpoints))
	}
	e := entry{number: number, accounts: in.Accounts, applications: in.Applications, trunks: in.Trunks, webhooks: in.Webhooks}
	for i, c := range in.Endpoints {
		var sealed [4][]byte
		if in.Secrets != nil {
			copy(sealed[:], in.Secrets[4*i:])
		}
		before, err := opened(keys, c.Before, sealed[0], sealed[1])
		if err != nil {
			return entry{}, err
		}
		after, err := opened(keys, c.After, sealed[2], sealed[3])
		if err != nil {
			return entry{}, err
		}
		e.endpoints = append(e.endpoints, account.Change{Kind: c.Kind, Before: before, After: after, SecretChanged: c.SecretChanged,
			Rotated: c.Rotated, OverlapEnded: c.OverlapEnded})
	}
	return e, nil
}

// opened is an endpoint with its secrets, as far as there are any.
func opened(keys *account.Keys, e *account.Endpoint, secret, previous []byte) (out account.Endpoint, err error) {
	if e == nil {
		return out, nil
	}
	out = *e
	if secret != nil {
		out.Secret, err = keys.OpenSecret(out.ID, secret)
	}
	if err == nil && previous != nil {
		out.Previous, err = keys.OpenSecret(out.ID, previous)
	}
	return out, err
}
