package siptransport

import (
	"bytes"
	"time"

	"onhook/internal/sip"
)

// Over UDP nobody slows a sender down: what comes faster than it can be handled
// waits in the socket's buffer, and is worth the less the longer it has waited.
// So time is not spent on what came too late, nor on beginning what will not be
// ended:
//
//   - what has waited for as long as a client waits until it sends again
//     (RFC 3261 17.1.1.1: T1) is dropped: the same comes once more;
//   - what has waited for half of that is handled if it goes on with something,
//     and dropped if it begins something, but for one in a batch, which is
//     answered, so that its sender knows and goes elsewhere.
//
// A process that stood still for a moment is not overloaded, and catches up: that
// holds once datagrams have come late for a while (see backlog).
//
// What does not fit into the buffer any more the kernel drops; Stats counts it.
const (
	t1          = 500 * time.Millisecond
	refuseAfter = t1 / 2
)

// backlog knows since when a worker's datagrams come late. Times are those of
// Transport.now.
type backlog struct{ since, latest int64 }

// lasts takes in whether a datagram has come late, and reports whether they have
// done so for as long as patience, and go on to: with no pause of twice that.
func (b *backlog) lasts(late bool, now int64, patience time.Duration) bool {
	if b.since != 0 && now-b.latest > 2*int64(patience) {
		b.since = 0
	}
	if late {
		if b.since == 0 {
			b.since = now
		}
		b.latest = now
	}
	return b.since != 0 && b.latest-b.since >= int64(patience)
}

// overdue reports whether a datagram is not to be handled because of how long it
// has waited, and does what is to be done with it instead.
func (w *worker) overdue(data []byte, now int64, waited time.Duration, flow sip.Flow) bool {
	t := w.l.t
	late := waited > t.cfg.RefuseAfter
	if !w.backlog.lasts(late, now, t.cfg.OverloadAfter) || !late || waited <= t.cfg.DropAfter && !beginsWork(data) {
		return false
	}
	if waited > t.cfg.DropAfter || w.refused || w.msg.Parse(data) != nil {
		w.stats.overdue.Add(1)
		return true
	}
	w.refused = true
	w.stats.overloaded.Add(1)
	w.serving.Store(remoteHash(flow.Remote))
	t.handler.Overloaded(&w.msg, flow)
	w.serving.Store(noRemote)
	return true
}

// beginsWork guesses whether a message is a request that nothing has been done
// for yet: no response, no ACK or CANCEL, without the credentials that an earlier
// answer asked for and without the Route that a dialog gave it.
func beginsWork(data []byte) bool {
	for _, prefix := range []string{"SIP/2.0 ", "ACK ", "CANCEL "} {
		if len(data) >= len(prefix) && string(data[:len(prefix)]) == prefix {
			return false
		}
	}
	return !bytes.Contains(data, []byte("\nRoute:")) && !bytes.Contains(data, []byte("uthorization:"))
}
