package storesql

import (
	"errors"
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

// feed tells subscribers every committed change, once and in the order of the
// commits, whoever made it.
type feed struct {
	logger *slog.Logger

	mu        sync.Mutex // held while subscribers are told
	told      int64      // the last number
	endpoints []func(account.Change)
	accounts  []func(account.AccountChange)
	apps      []func(account.ApplicationChange)
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
	for _, c := range e.applications {
		for _, tell := range f.apps {
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

// subscribe adds a subscriber to one of the feed's lists.
func subscribe[F any](f *feed, list *[]F, tell F) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*list = append(slices.Clip(*list), tell)
}
