package trunk

import (
	"context"
	"errors"
)

// How many trunks and numbers a Store keeps.
const (
	MaxTrunks  = 1000
	MaxNumbers = 100_000
)

// What a change is refused with, beside an *Error.
var (
	ErrTaken    = errors.New("there is one of this name already")
	ErrNotFound = errors.New("there is none of this name")
	ErrFull     = errors.New("there are as many as a server keeps: delete one first")
)

// Store keeps the trunks and numbers that are made while the server runs.
type Store interface {
	// Trunks returns all, oldest first.
	Trunks(ctx context.Context) ([]Trunk, []Number, error)
	// InsertTrunk returns ErrTaken or ErrFull.
	InsertTrunk(ctx context.Context, t Trunk) error
	// ChangeTrunk replaces a trunk by what change makes of it, which may be
	// called again, and keeps its name. It returns ErrNotFound or change's error.
	ChangeTrunk(ctx context.Context, name string, change func(before Trunk) (Trunk, error)) error
	// DeleteTrunk returns ErrNotFound.
	DeleteTrunk(ctx context.Context, name string) error
	// InsertNumber returns ErrTaken or ErrFull.
	InsertNumber(ctx context.Context, n Number) error
	// ChangeNumber is as ChangeTrunk.
	ChangeNumber(ctx context.Context, number string, change func(before Number) (Number, error)) error
	// DeleteNumber returns ErrNotFound.
	DeleteNumber(ctx context.Context, number string) error
	// SubscribeTrunks has f called after every change, also those of other
	// servers on the same database. f must not wait.
	SubscribeTrunks(f func())
}
