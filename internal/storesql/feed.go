package storesql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"onhook/internal/account"
)

// ErrFellBehind ends a server that missed changes of others which are gone from
// the database: it was cut off from it for longer than changeAge, or the
// database was set back to an earlier state. A new start reads everything.
var ErrFellBehind = errors.New("changes that other servers made are no longer in the database: this server must be started again")

// How servers on one database follow each other.
const (
	changeAge   = 24 * time.Hour // how long changes are kept for a server that is cut off
	changePrune = time.Hour
)

// entry is what one transaction changed. In a shared database its number is
// its place in the order of commits.
type entry struct {
	number    int64
	accounts  []account.AccountChange
	endpoints []account.Change
	trunks    bool // trunks or numbers changed: read them again
	webhooks  bool // webhooks did
}

func (e *entry) empty() bool {
	return len(e.accounts) == 0 && len(e.endpoints) == 0 && !e.trunks && !e.webhooks
}

// add puts what one job changed beside what others of its transaction did.
func (e *entry) add(more *entry) {
	e.accounts, e.endpoints = append(e.accounts, more.accounts...), append(e.endpoints, more.endpoints...)
	e.trunks, e.webhooks = e.trunks || more.trunks, e.webhooks || more.webhooks
}

// feed tells subscribers every committed change, once and in the order of the
// commits, whoever made it.
type feed struct {
	logger *slog.Logger

	mu        sync.Mutex // held while subscribers are told
	told      int64      // the last number
	endpoints []func(account.Change)
	accounts  []func(account.AccountChange)
	trunks    []func()
	webhooks  []func()
}

func (f *feed) last() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.told
}

// committed tells what others committed before, and then a batch of our own.
func (f *feed) committed(others []entry, number int64, batch []*job) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range others {
		f.other(&others[i])
	}
	if number != 0 && number <= f.told {
		return
	}
	f.told = max(f.told, number)
	for _, j := range batch {
		if j.err == nil && j.panicked == nil {
			f.own(j)
		}
	}
}

// own tells a job's changes. A subscriber's panic is the submitter's to suffer.
func (f *feed) own(j *job) {
	defer j.recovered()
	f.tell(&j.entry)
}

// other tells what another process committed, where the program's mistakes have
// nobody to be told to.
func (f *feed) other(e *entry) {
	if e.number <= f.told {
		return
	}
	f.told = e.number
	defer func() {
		if v := recover(); v != nil {
			f.logger.Error("panic", "while", "taking in another server's change", "error", v, "stack", string(debug.Stack()))
		}
	}()
	for i := range e.endpoints {
		e.endpoints[i].Foreign = true
	}
	f.tell(e)
}

func (f *feed) tell(e *entry) {
	for _, c := range e.accounts {
		for _, tell := range f.accounts {
			tell(c)
		}
	}
	for _, c := range e.endpoints {
		for _, tell := range f.endpoints {
			tell(c)
		}
	}
	if e.trunks {
		for _, tell := range f.trunks {
			tell()
		}
	}
	if e.webhooks {
		for _, tell := range f.webhooks {
			tell()
		}
	}
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

// append writes an entry and has the others look for it. The transaction holds
// the lock.
func (e *entry) append(ctx context.Context, r reader, s Shared, self string) error {
	body, err := e.format(r.keys)
	if err != nil {
		return err
	}
	if _, err := r.exec(ctx, `INSERT INTO changes (number, at, body) VALUES (?, ?, ?)`, e.number, time.Now().Unix(), body); err != nil {
		return err
	}
	_, err = r.exec(ctx, s.Notify(), self)
	return err
}

// The body of an entry: JSON, in which secrets are sealed as they are in their
// tables. account.Secret itself refuses to be written.
type (
	entryJSON struct {
		Accounts  []account.AccountChange `json:",omitempty"`
		Endpoints []changeJSON            `json:",omitempty"`
		Trunks    bool                    `json:",omitempty"`
		Webhooks  bool                    `json:",omitempty"`
	}
	changeJSON struct {
		Kind          account.ChangeKind
		Before, After *endpointJSON `json:",omitempty"`
		SecretChanged bool          `json:",omitempty"`
		Rotated       bool          `json:",omitempty"`
		OverlapEnded  bool          `json:",omitempty"`
	}
	endpointJSON struct {
		account.Endpoint
		Secret   []byte `json:",omitempty"` // none in the outbox
		Previous []byte `json:",omitempty"`
	}
)

// format writes an entry; without keys it leaves the secrets out.
func (e *entry) format(keys *account.Keys) (string, error) {
	seal := func(e account.Endpoint) *endpointJSON {
		if e.ID == 0 {
			return nil
		}
		if keys == nil {
			return &endpointJSON{Endpoint: e}
		}
		out := &endpointJSON{Endpoint: e, Secret: keys.SealSecret(e.ID, e.Secret)}
		if !e.PreviousUntil.IsZero() {
			out.Previous = keys.SealSecret(e.ID, e.Previous)
		}
		return out
	}
	out := entryJSON{Accounts: e.accounts, Trunks: e.trunks, Webhooks: e.webhooks}
	for _, c := range e.endpoints {
		out.Endpoints = append(out.Endpoints, changeJSON{c.Kind, seal(c.Before), seal(c.After), c.SecretChanged, c.Rotated, c.OverlapEnded})
	}
	body, err := json.Marshal(out)
	return string(body), err
}

func parseEntry(keys *account.Keys, number int64, body string) (entry, error) {
	var in entryJSON
	if err := json.Unmarshal([]byte(body), &in); err != nil {
		return entry{}, fmt.Errorf("change %d: %w", number, err)
	}
	e := entry{number: number, accounts: in.Accounts, trunks: in.Trunks, webhooks: in.Webhooks}
	for _, c := range in.Endpoints {
		before, err := c.Before.open(keys)
		if err != nil {
			return entry{}, err
		}
		after, err := c.After.open(keys)
		if err != nil {
			return entry{}, err
		}
		e.endpoints = append(e.endpoints, account.Change{Kind: c.Kind, Before: before, After: after, SecretChanged: c.SecretChanged,
			Rotated: c.Rotated, OverlapEnded: c.OverlapEnded})
	}
	return e, nil
}

func (e *endpointJSON) open(keys *account.Keys) (out account.Endpoint, err error) {
	if e == nil {
		return out, nil
	}
	out = e.Endpoint
	if e.Secret == nil {
		return out, nil
	}
	if out.Secret, err = keys.OpenSecret(out.ID, e.Secret); err != nil || e.Previous == nil {
		return out, err
	}
	out.Previous, err = keys.OpenSecret(out.ID, e.Previous)
	return out, err
}

// subscribe adds a subscriber to one of the feed's lists.
func subscribe[F any](f *feed, list *[]F, tell F) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*list = append(slices.Clip(*list), tell)
}
