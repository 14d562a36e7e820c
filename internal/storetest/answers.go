package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"onhook/internal/account"
)

// answerer is what a store does about requests that may come again.
type answerer interface {
	Answer(ctx context.Context, authID, path, key string) (account.Answer, error)
	Once(ctx context.Context, authID, path, key string, now time.Time, f func(context.Context) (account.Answer, error)) (account.Answer, bool, error)
	DropAnswers(ctx context.Context, now time.Time) error
}

func (s *suite) answerer(t *testing.T) answerer {
	t.Helper()
	k, ok := s.Store.(answerer)
	if !ok {
		t.Fatal("the store keeps no answers")
	}
	return k
}

var answer = account.Answer{Request: [32]byte{1}, Status: 201, APIID: "550e8400-e29b-41d4-a716-446655440000", Body: []byte(`{"a":1}`), At: birth}

// answers: to requests with a key, sealed, for a day.
func answers(t *testing.T, s *suite) {
	ctx := t.Context()
	main := s.account(t, "MA_AAAAAAAA", "").AuthID
	one, two, late := answer, answer, answer
	two.Status, two.At = 202, birth.Add(time.Hour)
	late.At = birth.Add(account.AnswerAge)
	once := func(path string, a, want account.Answer, wantAgain bool) {
		t.Helper()
		got, again, err := s.answerer(t).Once(ctx, main, path, "key", a.At, func(context.Context) (account.Answer, error) { return a, nil })
		if err != nil || again != wantAgain || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v, %v", path, got, again, err)
		}
	}
	once("/one", one, one, false)
	once("/two", two, two, false)
	once("/one", two, one, true)
	_, _, err := s.answerer(t).Once(ctx, "MA_ZZZZZZZZ", "/one", "key", birth, func(context.Context) (account.Answer, error) { return one, nil })
	if !errors.Is(err, account.ErrNotFound) {
		t.Error(err)
	}
	s.again(t)
	if got, err := s.answerer(t).Answer(ctx, main, "/one", "key"); err != nil || !reflect.DeepEqual(got, one) {
		t.Errorf("%+v, %v", got, err)
	}
	if err := s.answerer(t).DropAnswers(ctx, birth.Add(account.AnswerAge)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{"/one": account.ErrNotFound, "/two": nil, "/three": account.ErrNotFound} {
		if _, err := s.answerer(t).Answer(ctx, main, path, "key"); !errors.Is(err, want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	late.At = two.At.Add(account.AnswerAge)
	once("/two", late, late, false) // a day later it is another request
}

// A request that may come again changes things and keeps its answer, or does
// neither; what it tries in vain leaves the rest of it alone.
func answersAndChanges(t *testing.T, s *suite) {
	ctx := t.Context()
	main := s.account(t, "MA_AAAAAAAA", "")
	var told []account.EndpointID
	s.Subscribe(func(c account.Change) { told = append(told, c.After.ID) })
	first, second := endpoint(main, 1, "first"), endpoint(main, 2, "second")
	once := func(do func(context.Context) error) (bool, error) {
		_, again, err := s.answerer(t).Once(ctx, main.AuthID, "/", "key", birth, func(ctx context.Context) (account.Answer, error) {
			return answer, do(ctx)
		})
		return again, err
	}
	if _, err := once(func(ctx context.Context) error {
		return errors.Join(s.Update(ctx, insertion(first)), errOnPurpose)
	}); !errors.Is(err, errOnPurpose) {
		t.Error(err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a panic is lost")
			}
		}()
		_, _ = once(func(ctx context.Context) error {
			if err := s.Update(ctx, insertion(first)); err != nil {
				t.Error(err)
			}
			panic("on purpose")
		})
	}()
	s.lacks(t, first.ID)
	if _, err := s.answerer(t).Answer(ctx, main.AuthID, "/", "key"); !errors.Is(err, account.ErrNotFound) || len(told) != 0 {
		t.Errorf("an answer is kept: %v, changes are told: %v", err, told)
	}
	double := second
	double.Username = first.Username
	again, err := once(func(ctx context.Context) error {
		if err := s.Update(ctx, insertion(first)); err != nil {
			return err
		}
		var taken *account.Conflict
		if err := s.Update(ctx, insertion(second, double)); !errors.Is(err, account.ErrDuplicate) && !errors.As(err, &taken) {
			t.Errorf("a username twice: %v", err)
		}
		return nil
	})
	if again || err != nil {
		t.Error(again, err)
	}
	s.has(t, first)
	s.lacks(t, second.ID)
	again, err = once(func(context.Context) error { t.Error("done twice"); return nil })
	if !again || err != nil || !slices.Equal(told, []account.EndpointID{first.ID}) {
		t.Errorf("%v, %v, told %v", again, err, told)
	}
}

// Of the same request many times at once, one is done and all are answered.
func answersAtOnce(t *testing.T, s *suite) {
	main := s.account(t, "MA_AAAAAAAA", "")
	var made, repeated atomic.Int32
	var all sync.WaitGroup
	for n := range 40 {
		all.Go(func() {
			e := endpoint(main, n, fmt.Sprintf("user%d", n))
			_, again, err := s.answerer(t).Once(t.Context(), main.AuthID, "/", "key", birth, func(ctx context.Context) (account.Answer, error) {
				return answer, s.Update(ctx, insertion(e))
			})
			switch {
			case err != nil:
				t.Error(err)
			case again:
				repeated.Add(1)
			default:
				made.Add(1)
			}
		})
	}
	all.Wait()
	if _, total := s.names(t, main.AuthID, account.EndpointQuery{}); total != 1 || made.Load() != 1 || repeated.Load() != 39 {
		t.Errorf("%d endpoints, made by %d, %d times answered again", total, made.Load(), repeated.Load())
	}
}
