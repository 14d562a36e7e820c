package api

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"onhook/internal/account"
	"onhook/internal/event"
)

// EventStream is one subscriber's events, in order.
type EventStream interface {
	// Take returns the next event if there is one now; an error is the end.
	Take() (e event.Event, ok bool, err error)
	// Wake is ready when Take may have something again.
	Wake() <-chan struct{}
	End()
}

// Events is where events come from.
type Events interface {
	// Subscribe begins a stream of the events of an account and its
	// sub-accounts after the one with an ID, or of what comes when it is nil.
	Subscribe(account string, filter event.Filter, after *event.ID) EventStream
}

// How an event stream is kept.
const (
	heartbeat     = 15 * time.Second // between comments that keep proxies from closing it
	writeLimit    = 10 * time.Second // for a client to take what is sent; who does not is cut and may resume
	eventsAtOnce  = 64               // before they are flushed
	streamsInAll  = 10_000
	retryStreams  = 10 // seconds
	lastEventID   = "last_event_id"
	eventStream   = "text/event-stream"
	tooManyStream = "too many event streams are open, close one or try again later"
)

// streams counts the open event streams.
type streams struct {
	mu    sync.Mutex
	of    map[string]int // by account
	total int
}

func (s *streams) open(authID string, limit int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of[authID] >= limit || s.total >= streamsInAll {
		return false
	}
	if s.of == nil {
		s.of = map[string]int{}
	}
	s.of[authID]++
	s.total++
	return true
}

func (s *streams) close(authID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	if s.of[authID]--; s.of[authID] == 0 {
		delete(s.of, authID)
	}
}

// streamEvents answers GET on …/events.
func (h *handler) streamEvents(r *request) (reply, error) {
	filter, after, err := r.eventQuery()
	if err != nil {
		return reply{}, err
	}
	header := map[string]string{"Content-Type": eventStream, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
	if r.Method == http.MethodHead {
		return reply{status: http.StatusOK, raw: []byte{}, header: header}, nil
	}
	if !h.streams.open(r.scope.AuthID, h.StreamsPerAccount) {
		return tooMany(tooManyStream, retryStreams), nil
	}
	return reply{status: http.StatusOK, header: header, stream: func(ctx context.Context) {
		defer h.streams.close(r.scope.AuthID)
		s := h.Events.Subscribe(r.scope.AuthID, filter, after)
		defer s.End()
		if err := h.sendEvents(ctx, r, s); err != nil {
			h.log.LogAttrs(ctx, slog.LevelDebug, "event stream ended", slog.String("api_id", r.id), slog.Any("error", err))
		}
	}}, nil
}

// eventQuery reads what a stream shall hold and where it begins. The header
// counts more than the query, which a browser repeats when it resumes.
func (r *request) eventQuery() (filter event.Filter, after *event.ID, err error) {
	if err := r.onlyQuery("types", lastEventID, "representation"); err != nil {
		return filter, nil, err
	}
	var patterns []string
	for _, list := range r.URL.Query()["types"] {
		patterns = append(patterns, strings.Split(list, ",")...)
	}
	if filter, err = event.ParseFilter(patterns); err != nil {
		return filter, nil, &account.Invalid{Fields: map[string]string{"types": "Must be event types or patterns such as endpoint.*: " + err.Error()}}
	}
	text := r.Header.Get("Last-Event-ID")
	if text == "" {
		text = r.URL.Query().Get(lastEventID)
	}
	if text == "" {
		return filter, nil, nil
	}
	id, err := event.ParseID(text)
	if err != nil {
		return filter, nil, &account.Invalid{Fields: map[string]string{lastEventID: "Must be the id of an event"}}
	}
	return filter, &id, nil
}

// errRevoked: the key that a stream was opened with is worth nothing any more.
var errRevoked = errors.New("the key does not open this account any more")

var errStopping = errors.New("the server is stopping")

// sendEvents writes events until the client, the server or the key's account
// ends the stream.
func (h *handler) sendEvents(ctx context.Context, r *request, s EventStream) error {
	out := http.NewResponseController(r.w)
	// The deadlines of ordinary requests do not fit. Writers that cannot set
	// any are those of tests.
	_ = out.SetReadDeadline(time.Time{})
	send := func(b []byte) error {
		_ = out.SetWriteDeadline(time.Now().Add(writeLimit))
		if _, err := r.w.Write(b); err != nil {
			return err
		}
		return out.Flush()
	}
	if err := send([]byte(": the stream begins\n\n")); err != nil {
		return err
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	var b bytes.Buffer
	for {
		b.Reset()
		for n := 0; n < eventsAtOnce; n++ {
			e, ok, err := s.Take()
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			writeEvent(&b, &e)
		}
		select {
		case <-h.Stopping:
			return errStopping
		default:
		}
		if b.Len() > 0 {
			if err := send(b.Bytes()); err != nil {
				return err
			}
			continue
		}
		select {
		case <-s.Wake():
		case <-beat.C:
			if !h.stillAllowed(ctx, r) {
				return errRevoked
			}
			if err := send([]byte(": heartbeat\n\n")); err != nil {
				return err
			}
		case <-h.Stopping:
			return errStopping
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// stillAllowed asks again whether the request's key opens its account: a stream
// outlives rotated tokens and disabled accounts by one heartbeat at most.
func (h *handler) stillAllowed(ctx context.Context, r *request) bool {
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	again := &request{Request: r.WithContext(ctx), params: r.params}
	err := h.authenticate(again)
	var refused *refusal
	return !errors.Is(err, account.ErrUnauthorized) && !errors.As(err, &refused) // a store that is down revokes nothing
}

func writeEvent(b *bytes.Buffer, e *event.Event) {
	b.WriteString("id: ")
	b.WriteString(e.ID.String())
	b.WriteString("\nevent: ")
	b.WriteString(string(e.Type))
	b.WriteString("\ndata: ")
	b.Write(e.Body) // JSON of one line
	b.WriteString("\n\n")
}
