package storesql

import (
	"context"
	"errors"

	"onhook/internal/account"
)

// lookups is a reader that answers the same question about an account or an
// application once. It is for one goroutine.
type lookups struct {
	reader
	accounts     map[string]found[account.Account]
	applications map[string]found[account.Application]
	defaults     map[string]found[account.Application] // by owner
}

// found is an answer that holds: there is one, or there is none.
type found[T any] struct {
	value T
	err   error // nil or account.ErrNotFound
}

// Lookups returns a reader for one task.
func (s *Store) Lookups() account.Reader { return newLookups(s.reader) }

func newLookups(r reader) *lookups {
	l := &lookups{reader: r}
	l.forget()
	return l
}

// forget must follow a change of an account or an application, and one undone.
func (l *lookups) forget() {
	l.accounts, l.applications, l.defaults = map[string]found[account.Account]{}, map[string]found[account.Application]{}, map[string]found[account.Application]{}
}

func (l *lookups) Account(ctx context.Context, authID string) (account.Account, error) {
	return once(ctx, l.accounts, authID, l.reader.Account)
}

func (l *lookups) Application(ctx context.Context, appID string) (account.Application, error) {
	return once(ctx, l.applications, appID, l.reader.Application)
}

func (l *lookups) DefaultApplication(ctx context.Context, owner string) (account.Application, error) {
	return once(ctx, l.defaults, owner, l.reader.DefaultApplication)
}

func once[T any](ctx context.Context, known map[string]found[T], key string, look func(context.Context, string) (T, error)) (T, error) {
	got, ok := known[key]
	if !ok {
		got.value, got.err = look(ctx, key)
		if got.err == nil || errors.Is(got.err, account.ErrNotFound) {
			known[key] = got
		}
	}
	return got.value, got.err
}
