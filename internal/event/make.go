package event

import (
	"context"
	"encoding/binary"
	"time"

	"onhook/internal/account"
	"onhook/internal/callrecord"
	"onhook/internal/location"
)

// kinds names what happened to an endpoint.
var kinds = map[account.ChangeKind]Type{account.Created: EndpointCreated, account.Updated: EndpointUpdated, account.Deleted: EndpointDeleted}

// make makes one event of a change.
func (h *Hub) make(ctx context.Context, c *account.Change) {
	e, changed := &c.After, []string(nil)
	switch c.Kind {
	case account.Deleted:
		e = &c.Before
		h.mu.Lock()
		delete(h.leaving, e.ID)
		h.mu.Unlock()
	case account.Updated:
		changed = c.Changed()
		if len(changed) == 0 {
			return // of nothing that shows
		}
	}
	made := Event{Type: kinds[c.Kind], Account: e.Owner, Main: e.Main, Key: uint64(e.ID), Foreign: c.Foreign}
	if c.Last { // a crash between the events of one transaction brings all of them again
		made.Seq = c.Seq
	}
	h.endpoint(ctx, made, c.At, e, nil, changed)
}

// bindingTypes are the types of the bindings' events.
var bindingTypes = [...]Type{location.Registered: EndpointRegistered, location.Refreshed: EndpointRefreshed,
	location.Unregistered: EndpointUnregistered, location.Deactivated: EndpointUnregistered, location.Expired: EndpointExpired,
	location.Replaced: EndpointReplaced, location.FlowLost: EndpointFlowLost, location.CredentialsChanged: EndpointCredentialsChanged}

// binding makes one event of a binding's.
func (h *Hub) binding(ctx context.Context, e *location.Event) {
	if e.Type == location.Gap {
		h.lost.Add(uint64(e.Missed))
		h.missed(ctx, e.At)
		return
	}
	id := account.EndpointID(e.Key)
	of, ok := h.cfg.Endpoint(id)
	if !ok {
		h.mu.Lock()
		of, ok = h.leaving[id]
		h.mu.Unlock()
	}
	if !ok {
		return // deleted before its device was heard
	}
	h.of = of
	h.endpoint(ctx, Event{Type: bindingTypes[e.Type], Account: of.Owner, Main: of.Main, Key: uint64(id)}, e.At, &h.of, &e.Binding, nil)
}

// endpoint puts an event of an endpoint's into the batch.
func (h *Hub) endpoint(ctx context.Context, e Event, at time.Time, of *account.Endpoint, b *location.Binding, changed []string) {
	e.ID = h.ids.Next(at)
	start := len(h.text)
	h.text = e.appendHead(h.text, at)
	h.text = h.cfg.Data(ctx, h.text, of, b, changed)
	h.seal(ctx, e, start)
}

// callTypes are the types of the calls' events.
var callTypes = [...]Type{callrecord.Started: CallStarted, callrecord.Answered: CallAnswered, callrecord.Ended: CallEnded}

// call makes one event of a call's.
func (h *Hub) call(ctx context.Context, e *callrecord.Event) {
	if e.Type == callrecord.Gap {
		h.lost.Add(uint64(e.Missed))
		h.missed(ctx, e.At)
		return
	}
	r := e.Record
	made := Event{ID: h.ids.Next(e.At), Type: callTypes[e.Type], Account: r.Account, Main: r.Main, Key: binary.BigEndian.Uint64(r.ID[8:])}
	start := len(h.text)
	h.text = h.cfg.CallData(made.appendHead(h.text, e.At), r, e.At)
	h.seal(ctx, made, start)
}

// missed makes the event that stands for those that were lost.
func (h *Hub) missed(ctx context.Context, at time.Time) {
	e := Event{ID: h.ids.Next(at), Type: StreamGap}
	start := len(h.text)
	h.text = append(e.appendHead(h.text, at), "{}"...)
	h.seal(ctx, e, start)
}

// seal closes the body that begins at start.
func (h *Hub) seal(ctx context.Context, e Event, start int) {
	h.text = append(h.text, '}')
	e.Body = h.text[start:len(h.text):len(h.text)]
	h.batch = append(h.batch, e)
	if len(h.batch) >= maxBatch {
		h.flush(ctx)
	}
}

// flush appends the batch to the log, as often as it takes: while it does not
// succeed, the sources fill up and count what they lose.
func (h *Hub) flush(ctx context.Context) {
	for len(h.batch) > 0 {
		err := h.cfg.Log.Append(h.batch)
		if err == nil {
			break
		}
		if n := h.failures.Add(1); n&(n-1) == 0 { // at each power of two: a full disk must not fill the log
			h.cfg.Logger.Error("events cannot be written", "failures", n, "error", err)
		}
		select {
		case <-time.After(retry):
		case <-ctx.Done():
			h.lost.Add(uint64(len(h.batch)))
			h.batch, h.text = nil, nil
			return
		}
	}
	for i := range h.batch {
		h.seq = max(h.seq, h.batch[i].Seq)
	}
	h.dirty = h.dirty || len(h.batch) > 0
	h.made.Add(uint64(len(h.batch)))
	clear(h.batch)
	h.batch, h.text = h.batch[:0], h.text[:0]
	if cap(h.text) > maxText {
		h.text = nil
	}
}

// sync makes what was appended safe, and tells the outbox from time to time.
func (h *Hub) sync(ctx context.Context, now bool) {
	if h.dirty {
		if err := h.cfg.Log.Sync(); err != nil {
			h.failures.Add(1)
			h.cfg.Logger.Error("events cannot be made safe", "error", err)
			return
		}
		h.dirty, h.safe = false, h.seq
	}
	if h.cfg.Outbox == nil {
		h.dropped = h.safe
	}
	if h.dropped == h.safe || !now && h.cfg.Now().Sub(h.dropAt) < dropEvery {
		return
	}
	h.dropAt = h.cfg.Now()
	if err := h.cfg.Outbox.DropChanges(ctx, h.safe); err != nil {
		if ctx.Err() == nil {
			h.cfg.Logger.Warn("stored changes cannot be dropped yet", "error", err)
		}
		return
	}
	h.dropped = h.safe
}
