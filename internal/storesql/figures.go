package storesql

import (
	"errors"
	"sync/atomic"
	"time"

	"onhook/internal/account"
)

// operation is how often something was done, how long it took in all, and how
// often the database could not be used for it.
type operation struct {
	n, failed   atomic.Uint64
	nanoseconds atomic.Int64
}

func (o *operation) done(start time.Time, err error) {
	if o == nil {
		return
	}
	o.n.Add(1)
	o.nanoseconds.Add(int64(time.Since(start)))
	if errors.Is(err, account.ErrUnavailable) {
		o.failed.Add(1)
	}
}

// Figures of one kind of operation.
type Figures struct {
	Count       uint64
	Unavailable uint64        // of which the database could not be used
	Took        time.Duration // in all
}

func (o *operation) figures() Figures {
	return Figures{Count: o.n.Load(), Unavailable: o.failed.Load(), Took: time.Duration(o.nanoseconds.Load())}
}

// Stats are a store's figures for the metrics.
type Stats struct {
	Lookups  Figures
	Commits  Figures // each of all changes that waited
	Waiting  int     // changes that wait for a commit
	Changes  uint64  // committed
	Followed uint64  // changes of other servers, taken in
}

// Stats returns the present figures.
func (s *Store) Stats() Stats {
	return Stats{Lookups: s.took.figures(), Commits: s.writer.took.figures(), Waiting: s.writer.queued(),
		Changes: s.feed.committedOwn.Load(), Followed: s.feed.followed.Load()}
}
