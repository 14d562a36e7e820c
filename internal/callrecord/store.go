package callrecord

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"onhook/internal/account"
)

// ErrNotFound is what a Store returns for a record that it does not have.
var ErrNotFound = errors.New("call record not found")

// Store keeps the records of finished calls. It answers account.ErrUnavailable
// (wrapped) when it cannot serve at present.
type Store interface {
	// SaveRecords keeps records, all or none. One that is there already, by
	// account and ID, stays as it is.
	SaveRecords(ctx context.Context, records []*Record) error
	// Record returns the record that an account has of a call; for a main account
	// also one of its sub-accounts', if it has none itself.
	Record(ctx context.Context, authID string, id ID) (*Record, error)
	// Records returns one page of an account's own records, newest first, and the
	// number of all that match.
	Records(ctx context.Context, authID string, q Query) (page []*Record, total int, err error)
	// RecordsBefore returns up to limit of an account's own records that match and
	// whose IDs sort before one, newest first: the next piece of a long list.
	RecordsBefore(ctx context.Context, authID string, q Query, before ID, limit int) ([]*Record, error)
	// DeleteRecords deletes up to limit records of calls that began before a time,
	// oldest first, and returns how many.
	DeleteRecords(ctx context.Context, before time.Time, limit int) (int, error)
}

// LastID sorts after every ID.
var LastID = ID(slices.Repeat([]byte{0xff}, len(ID{})))

// Query selects records. The zero value of each filter selects all.
type Query struct {
	From, To string    // a URI without parameters, with or without its scheme, or its user or number
	Start    time.Time // of calls that began then or later
	End      time.Time // of calls that began before
	Endpoint account.EndpointID
	Causes   []int // codes; nil: any
	Limit    int
	Offset   int
}

// CausesOf returns the codes of the causes with that text, such as
// NORMAL_CLEARING, in any case; none for a text that no cause has.
func CausesOf(text string) []int {
	codes := []int{}
	for code, c := range causes {
		if strings.EqualFold(c.Text, text) {
			codes = append(codes, code)
		}
	}
	slices.Sort(codes)
	return codes
}
