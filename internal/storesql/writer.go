package storesql

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

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
	db       *sql.DB
	dialect  Dialect
	keys     *account.Keys
	silence  time.Duration
	prepared *statements
	feed     *feed
	shared   Shared                 // nil: nobody else writes
	name     string                 // among those that share the database
	origin   atomic.Pointer[string] // whose outbox keeps what is committed here; nil: nobody's

	mu      sync.Mutex
	waiting []*job
	running bool
	closed  bool
	busy    sync.WaitGroup
}

// job is one change on its way.
type job struct {
	ctx      context.Context // the submitter's, without its end: an interrupted statement would undo the others
	f        func(context.Context, *tx) error
	taken    atomic.Bool // begun by the writer, or withdrawn by the submitter
	done     chan struct{}
	entry    entry
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
		w.mu.Unlock()

		w.commit(batch)
		if w.prepared != nil {
			w.prepared.prepareWanted(context.Background())
		}
		for _, j := range batch {
			close(j.done)
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

// errJobFailed asks for another attempt, with savepoints.
var errJobFailed = errors.New("a change failed")

// commit commits the jobs together or, when one takes the others down with it
// (a disk too full for all may have room for some), each by itself.
func (w *writer) commit(batch []*job) {
	// A savepoint per job costs round trips, which are dear to a database that
	// is elsewhere; most batches need none.
	err := w.attempt(batch, w.shared == nil && len(batch) > 1)
	if errors.Is(err, errJobFailed) {
		err = w.attempt(batch, true)
	}
	if err == nil {
		return
	}
	together := len(batch) == 1 || errors.Is(err, errNotBegun) ||
		// A commit whose answer is lost may have happened. The log will tell.
		w.shared != nil && errors.Is(err, account.ErrUnavailable)
	for _, j := range batch {
		if !together {
			err = w.attempt([]*job{j}, false)
		}
		if err != nil {
			j.err, j.entry = err, entry{}
		}
	}
}

// attempt runs the jobs in one transaction. Without an error it is committed
// and told, and each job has its own outcome. Without savepoints, a job that
// fails beside others is errJobFailed.
func (w *writer) attempt(batch []*job, savepoints bool) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	patience := w.patience(cancel)
	defer patience.Stop()
	t, err := w.db.BeginTx(ctx, nil)
	if err != nil && w.shared != nil {
		t, err = w.db.BeginTx(ctx, nil) // the connection may have been that of a server which was restarted
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errNotBegun, w.failed(ctx, err))
	}
	defer t.Rollback() // without effect after the commit
	patience.Stop()    // statements have their own
	r := newLookups(reader{conn{t, w.dialect, w.silence, w.prepared}, w.keys})
	others, err := w.lock(ctx, r.reader)
	if err != nil {
		return fmt.Errorf("%w: %w", errNotBegun, err)
	}
	committing := false
	for _, j := range batch {
		if err := w.runOne(r, j, savepoints, len(batch) > 1); err != nil {
			return err
		}
		committing = committing || j.err == nil && j.panicked == nil
	}
	if !committing {
		return nil
	}
	number, err := w.log(ctx, r.reader, others, batch)
	if err != nil {
		return err
	}
	patience = w.patience(cancel)
	defer patience.Stop()
	if err := t.Commit(); err != nil {
		return fmt.Errorf("commit: %w", w.failed(ctx, err))
	}
	w.feed.committed(others.entries, number, batch)
	return nil
}

// patience ends a transaction that the database leaves without an answer.
func (w *writer) patience(end func()) *time.Timer {
	return time.AfterFunc(cmp.Or(w.silence, math.MaxInt64), end)
}

func (w *writer) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: no answer for %v: %w", account.ErrUnavailable, w.silence, err)
	}
	return Failed(w.dialect, err)
}

// behind is what others committed and we have not told yet.
type behind struct {
	told    int64
	entries []entry
}

// lock makes a transaction the only one that writes, in all processes, so that
// it sees what the ones before it did.
func (w *writer) lock(ctx context.Context, r reader) (b behind, err error) {
	if w.shared == nil {
		return b, nil
	}
	if _, err := r.exec(ctx, w.shared.Lock()); err != nil {
		return b, err
	}
	b.told = w.feed.last()
	for more := caughtUp; more == caughtUp; {
		all, err := entries(ctx, r, b.told+int64(len(b.entries)), caughtUp)
		if err != nil {
			return b, err
		}
		more = len(all)
		b.entries = append(b.entries, all...)
	}
	return b, nil
}

// log writes down what the batch changes, for the outbox and for other
// processes.
func (w *writer) log(ctx context.Context, r reader, b behind, batch []*job) (number int64, err error) {
	e := entry{number: b.told + int64(len(b.entries)) + 1}
	for _, j := range batch {
		if j.err == nil && j.panicked == nil {
			e.add(&j.entry)
		}
	}
	if e.empty() {
		return 0, nil
	}
	origin := w.origin.Load()
	keep := origin != nil && len(e.endpoints) > 0
	if !keep && w.shared == nil {
		return 0, nil
	}
	body, err := e.format()
	if err == nil && keep {
		err = w.keep(ctx, r, *origin, body, batch)
	}
	if err != nil || w.shared == nil {
		return 0, err
	}
	return e.number, e.append(ctx, r, w.shared, w.name, body)
}

// runOne runs one job. An error is the end of the whole transaction; the job's
// own failure undoes the job alone.
func (w *writer) runOne(r *lookups, j *job, savepoint, others bool) error {
	j.entry, j.err, j.panicked = entry{}, nil, nil
	tx := &tx{lookups: r}
	if savepoint {
		if _, err := r.exec(j.ctx, "SAVEPOINT job"); err != nil {
			return err
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
		j.entry = tx.entry
	}
	switch {
	case !savepoint && undo && others:
		return errJobFailed
	case !savepoint:
		return nil
	case undo:
		r.forget()
		if _, err := r.exec(j.ctx, "ROLLBACK TO job"); err != nil {
			return err
		}
	}
	_, err := r.exec(j.ctx, "RELEASE job")
	return err
}

// close lets what waits finish and refuses the rest.
func (w *writer) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.busy.Wait()
}
