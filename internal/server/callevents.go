package server

import (
	"context"
	"encoding/binary"
	"errors"

	"onhook/internal/api"
	"onhook/internal/callrecord"
	"onhook/internal/event"
	"onhook/internal/feed"
)

// callBuffer is how many events of calls may wait for the hub.
const callBuffer = 4096

var callEvents = [...]event.Type{callrecord.Started: event.CallStarted, callrecord.Answered: event.CallAnswered, callrecord.Ended: event.CallEnded}

// tellCalls makes events of the calls that begin, are answered and end, until
// their feed is closed.
func (s *Server) tellCalls(calls *callrecord.Feed) error {
	defer close(s.callsTold)
	for {
		e, err := calls.Next(context.Background()) // ends with the feed: the last calls are told, too
		if errors.Is(err, feed.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		if e.Type == callrecord.Gap {
			s.hub.Tell(event.Event{Type: event.StreamGap}, struct{}{})
			continue
		}
		r := e.Record
		s.hub.Tell(event.Event{Type: callEvents[e.Type], Account: r.Account, Main: r.Main,
			Key: binary.BigEndian.Uint64(r.ID[8:])}, api.CallEvent(r, e.At))
	}
}
