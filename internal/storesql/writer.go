package storesql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"onhook/internal/account"
)

// How changes wait for each other.
const (
	MaxWaiting = 1024 // changes that may wait; more are refused
	maxBatch   = 64   // changes committed together
)

// writer runs changes one after the other and commits those that wait at the
// same time together: one fsync serves them all. Its goroutine exists only
// while there is something to do.
type writer struct {
	db      *sql.DB
	dialect Dialect
	keys    *account.Keys

	mu          sync.Mutex
	waiting     []*job
	running     bool
	closed      bool
	busy        sync.WaitGroup
	subscribers subscribers
}

// subscribers are told what was committed.
type subscribers struct {
	endpoints []func(account.Change)
	accounts  []func(account.AccountChange)
}

// job is one change on its way.
type job struct {
	ctx      context.Context // the submitter's, without its end: an interrupted statement would undo the others
	f        func(context.Context, *tx) error
	taken    atomic.Bool // begun by the writer, or withdrawn by the submitter
	done     chan struct{}
	changes  []account.Change
	accounts []account.AccountChange
	err      error
	panicked any
}

// panicError is a panic of a job's function on its way to the submitter.
type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string { return fmt.Sprintf("%v\n%s", p.value, p.stack) }

func (w *writer) update(ctx context.Context, f func(context.Context, *tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j := &job{ctx: context.WithoutCancel(ctx), f: f, done: make(chan struct{})}
	if err := w.submit(j); err != nil {
		return err
	}
	select {
	case <-j.done:
	case <-ctx.Done():
		if j.taken.CompareAndSwap(false, true) {
			return ctx.Err()
		}
		<-j.done // begun: it ends soon, one way or the other
	}
	if j.panicked != nil {
		panic(j.panicked)
	}
	return j.err
}

func (w *writer) submit(j *job) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return fmt.Errorf("%w: the database is closed", account.ErrUnavailable)
	}
	if len(w.waiting) >= MaxWaiting {
		return fmt.Errorf("%w: %d changes are waiting already", account.ErrUnavailable, MaxWaiting)
	}
	w.waiting = append(w.waiting, j)
	if !w.running {
		w.running = true
		w.busy.Go(w.run)
	}
	return nil
}

func (w *writer) queued() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.waiting)
}

// run takes what waits until nothing does.
func (w *writer) run() {
	for {
		w.mu.Lock()
		n := min(len(w.waiting), maxBatch)
		if n == 0 {
			w.waiting, w.running = nil, false
			w.mu.Unlock()
			return
		}
		batch := make([]*job, 0, n)
		for _, j := range w.waiting[:n] {
			if j.taken.CompareAndSwap(false, true) {
				batch = append(batch, j)
			}
		}
		clear(w.waiting[:n])
		w.waiting = w.waiting[n:]
		told := w.subscribers // appended to, never changed in place
		w.mu.Unlock()

		w.commit(batch)
		for _, j := range batch {
			if j.err == nil && j.panicked == nil {
				told.tell(j)
			}
			close(j.done)
		}
	}
}

// tell gives them a committed job's changes. A panic of theirs is the
// submitter's to suffer.
func (s subscribers) tell(j *job) {
	defer j.recovered()
	for _, c := range j.accounts {
		for _, f := range s.accounts {
			f(c)
		}
	}
	for _, c := range j.changes {
		for _, f := range s.endpoints {
			f(c)
		}
	}
}

func (j *job) recovered() {
	if v := recover(); v != nil {
		j.panicked = &panicError{v, debug.Stack()}
	}
}

// errNotBegun wraps the failure to begin a transaction at all.
var errNotBegun = errors.New("begin")

// commit commits the jobs together or, when one takes the others down with it
// (a disk too full for all may have room for some), each by itself.
func (w *writer) commit(batch []*job) {
	err := w.attempt(batch)
	if err == nil {
		return
	}
	alone := len(batch) == 1
	for _, j := range batch {
		if !alone && !errors.Is(err, errNotBegun) {
			err = w.attempt([]*job{j})
		}
		if alone || err != nil {
			j.err, j.changes, j.accounts = err, nil, nil
		}
	}
}

// attempt runs the jobs in one transaction. Without an error it is committed,
// and each job has its own outcome.
func (w *writer) attempt(batch []*job) error {
	t, err := w.db.BeginTx(context.Background(), nil)
	if err != nil {
		return fmt.Errorf("%w: %w", errNotBegun, failed(w.dialect, err))
	}
	defer t.Rollback() // without effect after the commit
	committing := false
	for _, j := range batch {
		if err := w.runOne(t, j, len(batch) > 1); err != nil {
			return err
		}
		committing = committing || j.err == nil && j.panicked == nil
	}
	if !committing {
		return nil
	}
	if err := t.Commit(); err != nil {
		return fmt.Errorf("commit: %w", failed(w.dialect, err))
	}
	return nil
}

// runOne runs one job. An error is the end of the whole transaction; the job's
// own failure undoes the job alone.
func (w *writer) runOne(t *sql.Tx, j *job, others bool) error {
	j.changes, j.accounts, j.err, j.panicked = nil, nil, nil, nil
	tx := &tx{reader: reader{conn{t, w.dialect}, w.keys}}
	if others {
		if _, err := t.ExecContext(j.ctx, "SAVEPOINT job"); err != nil {
			return failed(w.dialect, err)
		}
	}
	func() {
		defer j.recovered()
		j.err = j.f(j.ctx, tx)
	}()
	if tx.broken == nil && errors.Is(j.err, account.ErrUnavailable) {
		tx.broken = j.err
	}
	if tx.broken != nil {
		return tx.broken
	}
	undo := j.err != nil || j.panicked != nil
	if !undo {
		j.changes, j.accounts = tx.changes, tx.accounts
	}
	if !others {
		return nil
	}
	end := "RELEASE job"
	if undo {
		end = "ROLLBACK TO job; RELEASE job"
	}
	if _, err := t.ExecContext(j.ctx, end); err != nil {
		return failed(w.dialect, err)
	}
	return nil
}

func (w *writer) subscribe(f func(account.Change)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.subscribers.endpoints = append(w.subscribers.endpoints, f)
}

func (w *writer) subscribeAccounts(f func(account.AccountChange)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.subscribers.accounts = append(w.subscribers.accounts, f)
}

// close lets what waits finish and refuses the rest.
func (w *writer) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.busy.Wait()
}
