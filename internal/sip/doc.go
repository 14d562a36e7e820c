// Package sip parses and writes SIP messages, headers and URIs (RFC 3261 and
// friends). It opens no socket and knows no clock.
//
// # Who owns the buffer
//
// A parsed Message is a view of the buffer it was parsed from: nothing is
// copied, and every string that a Message, URI, NameAddr, Via or Params hands
// out points into that buffer. The buffer belongs to the transport, which
// reuses it as soon as the handler it called returns. So:
//
//   - inside the handler, use the strings freely;
//   - whatever outlives the handler (a transaction, a binding, a log record
//     handed to another goroutine) copies what it keeps: strings.Clone for a
//     part, Message.Clone for the whole;
//   - Parse may write into the buffer: it replaces the line break of a folded
//     header line by spaces (RFC 3261 7.3.1), so that every value is one span.
//
// The transport's tests overwrite each buffer after its handler returns, so
// that a view that was kept shows up as garbage and not as a rare bug.
package sip
