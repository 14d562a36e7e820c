// Package siptransaction runs the transaction machines of RFC 3261 17 as
// corrected by RFC 6026: it absorbs and answers retransmissions, retransmits,
// times out, acknowledges failed INVITEs and matches CANCEL. It takes a sender,
// not a socket, and knows nothing of dialogs, users or routing.
//
// # Time
//
// All timers of a Layer sit on a hashed timer wheel with a resolution of 10 ms
// that Run drives: nothing fires before its time, and at most one tick late.
// No transaction has a goroutine. Callbacks run on the goroutine that brought
// the message or on Run's, never with a lock held, and must not block.
//
// # Memory
//
// A server transaction of a method other than INVITE leaves behind, once it is
// answered, the bytes of its final response and a place in a queue, for as long
// as the request may be retransmitted (Timer J), nothing else. Queue and
// transactions are bounded; what is dropped at a bound is counted.
package siptransaction
