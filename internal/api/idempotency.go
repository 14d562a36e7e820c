package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"onhook/internal/account"
)

// Answers keeps the answers to requests with an Idempotency-Key for a day.
type Answers interface {
	// Answer is account.ErrNotFound when there is none.
	Answer(ctx context.Context, authID, path, key string) (account.Answer, error)
	// Once answers as before when the answer is fresh, else by f: what f
	// changes with its context and the answer it returns are kept together or
	// not at all. The same request at the same time waits. f may run again.
	Once(ctx context.Context, authID, path, key string, now time.Time, f func(context.Context) (account.Answer, error)) (a account.Answer, again bool, err error)
}

const (
	idempotencyKey    = "Idempotency-Key"
	maxIdempotencyKey = 255
)

// errNothingDone undoes a request that was refused: it may be tried again with
// the same key, corrected or not.
var errNothingDone = errors.New("nothing done")

// once serves a POST with an Idempotency-Key: the first time as any other; when
// it succeeded before, it is answered as it was then.
func (h *handler) once(r *request, t *route, serve serveFunc) (reply, error) {
	keys := r.Header.Values(idempotencyKey)
	if len(keys) != 1 || keys[0] == "" || len(keys[0]) > maxIdempotencyKey || strings.ContainsFunc(keys[0], func(c rune) bool { return c < ' ' || c > '~' }) {
		return reply{}, &account.Invalid{Fields: map[string]string{idempotencyKey: "Must be 1 to 255 printable ASCII characters, once"}}
	}
	key, path := keys[0], strings.TrimSuffix(strings.TrimPrefix(r.URL.EscapedPath(), "/api"), "/")
	body, err := h.readBody(r, maxBulkBody)
	if err != nil {
		return reply{}, err
	}
	asked := r.asked(body)
	var rep reply
	answer, again, err := h.answered(r, t.apart, path, key, func(ctx context.Context) (account.Answer, error) {
		one := *r
		one.Request = r.WithContext(ctx)
		one.Body = io.NopCloser(bytes.NewReader(body))
		var err error
		if rep, err = serve(h, &one); err == nil && rep.status >= 300 {
			err = errNothingDone
		}
		if err != nil {
			return account.Answer{}, err
		}
		return account.Answer{Request: asked, Status: rep.status, APIID: r.id, Body: encode(rep.body), At: h.Now()}, nil
	})
	switch {
	case errors.Is(err, errNothingDone):
		return rep, nil
	case err != nil:
		return reply{}, err
	case !again:
		return rep, nil
	case answer.Request != asked:
		h.Stats.KeyConflicts.Add(1)
		return fail(http.StatusConflict, "this Idempotency-Key was used with another request"), nil
	}
	h.Stats.Replayed.Add(1)
	r.id = answer.APIID // the answer's, which names it in its body
	r.w.Header().Set("X-Request-Id", r.id)
	return reply{status: answer.Status, raw: answer.Body, header: map[string]string{
		"Content-Type": "application/json", "Cache-Control": "no-store", "Idempotency-Replayed": "true"}}, nil
}

// answered is Answers.Once, after a look that takes no transaction. What is done
// apart from the store is done before its answer is kept.
func (h *handler) answered(r *request, apart bool, path, key string, do func(context.Context) (account.Answer, error)) (a account.Answer, again bool, err error) {
	a, err = h.Answers.Answer(r.Context(), r.caller.AuthID, path, key)
	switch {
	case err == nil && a.Fresh(h.Now()):
		return a, true, nil
	case err != nil && !errors.Is(err, account.ErrNotFound):
		return a, false, err
	}
	if apart {
		if a, err = do(r.Context()); err != nil {
			return a, false, err
		}
		do = func(context.Context) (account.Answer, error) { return a, nil }
	}
	return h.Answers.Once(r.Context(), r.caller.AuthID, path, key, h.Now(), do)
}

// asked is the hash of what a request asks: its query, profile, type and body.
func (r *request) asked(body []byte) (sum [sha256.Size]byte) {
	hash := sha256.New()
	for _, part := range []string{r.URL.RawQuery, r.profile.String(), r.Header.Get("Content-Type")} {
		hash.Write([]byte(part))
		hash.Write([]byte{0})
	}
	hash.Write(body)
	hash.Sum(sum[:0])
	return sum
}
