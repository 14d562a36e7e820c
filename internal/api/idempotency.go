package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"onhook/internal/account"
)

// Answers keeps the answers to requests with an Idempotency-Key for a day.
type Answers interface {
	// Answer is account.ErrNotFound when there is none.
	Answer(ctx context.Context, authID, path, key string) (account.Answer, error)
	SaveAnswer(ctx context.Context, authID, path, key string, a account.Answer) error
}

const (
	idempotencyKey    = "Idempotency-Key"
	maxIdempotencyKey = 255
	maxUnderWay       = 10_000 // requests with a key at a time
)

// underWay are the requests with a key that have no answer yet.
type underWay struct {
	mu   sync.Mutex
	keys map[string]struct{}
}

func (u *underWay) begin(key string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, there := u.keys[key]; there || len(u.keys) >= maxUnderWay {
		return false
	}
	if u.keys == nil {
		u.keys = map[string]struct{}{}
	}
	u.keys[key] = struct{}{}
	return true
}

func (u *underWay) end(key string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.keys, key)
}

// once serves a POST with an Idempotency-Key: the first time as any other; when
// it succeeded before, it is answered as it was then.
func (h *handler) once(r *request, serve serveFunc) (reply, error) {
	keys := r.Header.Values(idempotencyKey)
	if len(keys) != 1 || keys[0] == "" || len(keys[0]) > maxIdempotencyKey || strings.ContainsFunc(keys[0], func(c rune) bool { return c < ' ' || c > '~' }) {
		return reply{}, &account.Invalid{Fields: map[string]string{idempotencyKey: "Must be 1 to 255 printable ASCII characters, once"}}
	}
	key, path := keys[0], strings.TrimSuffix(strings.TrimPrefix(r.URL.EscapedPath(), "/api"), "/")
	asked, err := h.asked(r)
	if err != nil {
		return reply{}, err
	}
	whole := r.caller.AuthID + "\x00" + path + "\x00" + key
	if !h.underWay.begin(whole) {
		return fail(http.StatusConflict, "a request with this Idempotency-Key is under way"), nil
	}
	defer h.underWay.end(whole)
	before, err := h.Answers.Answer(r.Context(), r.caller.AuthID, path, key)
	switch {
	case errors.Is(err, account.ErrNotFound) || err == nil && h.Now().Sub(before.At) >= account.AnswerAge:
	case err != nil:
		return reply{}, err
	case before.Request != asked:
		return fail(http.StatusConflict, "this Idempotency-Key was used with another request"), nil
	default:
		r.id = before.APIID // the answer's, which names it in its body
		r.w.Header().Set("X-Request-Id", r.id)
		return reply{status: before.Status, raw: before.Body, header: map[string]string{
			"Content-Type": "application/json", "Cache-Control": "no-store", "Idempotency-Replayed": "true"}}, nil
	}
	rep, err := serve(h, r)
	if err != nil || rep.status >= 300 || rep.stream != nil || rep.handler != nil {
		return rep, err // nothing was changed: it may be tried again
	}
	made := account.Answer{Request: asked, Status: rep.status, APIID: r.id, Body: encode(rep.body), At: h.Now()}
	// The change is made and must be answered, whatever becomes of this.
	if err := h.Answers.SaveAnswer(context.WithoutCancel(r.Context()), r.caller.AuthID, path, key, made); err != nil {
		h.log.LogAttrs(r.Context(), slog.LevelWarn, "an answer cannot be kept for its Idempotency-Key", slog.String("api_id", r.id), slog.Any("error", err))
	}
	return rep, nil
}

// asked is the hash of what a request asks: its query, profile, type and body,
// which may be read again afterwards.
func (h *handler) asked(r *request) (sum [sha256.Size]byte, err error) {
	body, err := h.readBody(r, maxBulkBody)
	if err != nil {
		return sum, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	hash := sha256.New()
	for _, part := range []string{r.URL.RawQuery, r.profile.String(), r.Header.Get("Content-Type")} {
		hash.Write([]byte(part))
		hash.Write([]byte{0})
	}
	hash.Write(body)
	hash.Sum(sum[:0])
	return sum, nil
}
