// Package sipresolve finds where a SIP URI leads to (RFC 3263): by NAPTR, SRV and
// address records it makes an ordered list of addresses to try. It dials none of
// them.
//
// Answers are kept as long as their TTL says, negative ones too, in a bounded
// table. Lookups of one destination that are under way at the same time are one
// lookup. An address on which somebody had no luck is put behind the others for
// a while.
//
// Resolve never waits: what is known is answered at once, everything else by a
// bounded number of lookups, each with a goroutine of its own.
package sipresolve
