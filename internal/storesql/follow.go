package storesql

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"onhook/internal/account"
)

// Run takes in what other processes change, until the context ends. It returns
// at once where the database is this process's own.
func (s *Store) Run(ctx context.Context) error {
	if s.writer.shared == nil {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wake := make(chan struct{}, 1)
	listening := make(chan struct{})
	go func() {
		defer close(listening)
		s.listen(ctx, wake)
	}()
	err := s.follow(ctx, wake)
	cancel()
	<-listening
	return err
}

// listen wakes the follower when another process has changed something. Without
// a connection it looks by itself.
func (s *Store) listen(ctx context.Context, wake chan<- struct{}) {
	for {
		_ = s.writer.shared.Listen(ctx, func(from string) { // its error is the follower's, too
			if from == s.writer.name {
				return
			}
			select {
			case wake <- struct{}{}:
			default:
			}
		})
		select {
		case <-ctx.Done():
			return
		case <-time.After(s.poll):
		}
	}
}

// follow looks for changes when it is woken and from time to time.
func (s *Store) follow(ctx context.Context, wake <-chan struct{}) error {
	tick := time.NewTicker(s.poll)
	defer tick.Stop()
	lost := false
	var pruned time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-wake:
		}
		err := s.catchUp(ctx)
		if err == nil && time.Since(pruned) > changePrune {
			pruned = time.Now()
			err = s.prune(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, account.ErrUnavailable) && !lost:
			s.feed.logger.Error("the database is lost: known endpoints are served from memory, the API refuses changes", "error", err)
		case err == nil && lost:
			s.feed.logger.Info("the database is back")
		case err != nil && !errors.Is(err, account.ErrUnavailable):
			return fmt.Errorf("follow other servers: %w", err)
		}
		lost = err != nil
	}
}

// caughtUp is how many entries are read at once.
const caughtUp = 64

// catchUp tells what was committed and not told yet.
func (s *Store) catchUp(ctx context.Context) error {
	for {
		all, err := entries(ctx, s.reader, s.feed.last(), caughtUp)
		if err != nil {
			return err
		}
		s.feed.committed(all, 0, nil)
		if len(all) < caughtUp {
			return nil
		}
	}
}

// prune forgets old changes, but for the last: numbers go on from it.
func (s *Store) prune(ctx context.Context) error {
	_, err := s.exec(ctx, `DELETE FROM changes WHERE at < ? AND number < (SELECT max(number) FROM changes)`,
		time.Now().Add(-changeAge).Unix())
	return err
}

// newName is what this process calls itself among those that share a database.
func newName() string { return rand.Text() }
