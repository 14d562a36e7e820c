// Package callrecord is a call as data: who called whom, when, how it ended and
// why, as one account sees it; the feed of calls that begin, are answered and
// end; and the outbox that carries finished records to a Store. It knows no SIP
// message, no SQL and no HTTP.
//
// A call between endpoints of two accounts has two records with one ID, each
// from its account's side; a call within an account has one.
package callrecord
