package siptransport

import (
	"bytes"
	"time"

	"onhook/internal/sip"
)

// Over UDP nobody slows a sender down: what comes faster than it can be handled
// waits in the socket's buffer, and is worth the less the longer it has waited.
// While a socket has such a queue for longer than a pause of ours explains, no
// time is spent on what came too late, nor on beginning what will not be ended:
//
//   - what has waited for as long as a client waits until it sends again
//     (RFC 3261 17.1.1.1: T1) is dropped: the same comes once more;
//   - what has waited for half of that is handled if it goes on with something,
//     and dropped if it begins something, but for one in a batch, which is
//     answered, so that its sender knows and comes back later.
//
// What does not fit into the buffer any more the kernel drops; Stats counts it.
const (
	dropAfter   = 500 * time.Millisecond // T1
	refuseAfter = dropAfter / 2
	standing    = 250 * time.Millisecond
)

// While what comes has waited for longQueue already, a worker handles longTurn
// batches before it pauses. A commit then serves them all, which matters on a
// single processor: it waits for the disk as long as a commit takes.
const (
	longQueue = 50 * time.Millisecond
	longTurn  = 4
)

// overload is what a worker knows of its queue.
type overload struct {
	since   int64 // when the queue became too long, by Transport.now; 0: it is not
	is      bool
	refused bool // one datagram of this batch
	batches int  // since the last pause, while the queue is long
}

// look is told of each batch: whether it was as much as can be read at once and
// how long its first datagram has waited.
func (o *overload) look(full bool, waited time.Duration, now int64) {
	o.refused = false
	switch {
	case !full || waited <= refuseAfter:
		o.since = 0
	case o.since == 0:
		o.since = now
	}
	o.is = o.since != 0 && now-o.since >= int64(standing)
}

// pauses reports, after a batch, whether it is time to let others compute.
func (o *overload) pauses(full bool, waited time.Duration) bool {
	if !full || waited <= longQueue {
		o.batches = 0
		return true
	}
	o.batches = (o.batches + 1) % longTurn
	return o.batches == 0
}

// overdue reports whether a datagram is not to be handled because of how long it
// has waited, and does what is to be done with it instead.
func (w *worker) overdue(data []byte, waited time.Duration, flow sip.Flow) bool {
	if waited <= refuseAfter || waited <= dropAfter && !beginsWork(data) {
		return false
	}
	if waited > dropAfter || w.overload.refused || w.msg.Parse(data) != nil {
		w.stats.overdue.Add(1)
		return true
	}
	w.overload.refused = true
	w.stats.overloaded.Add(1)
	w.serving.Store(remoteHash(flow.Remote))
	w.l.t.handler.Overloaded(&w.msg, flow)
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
