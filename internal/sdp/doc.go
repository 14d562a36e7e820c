// Package sdp reads and edits session descriptions (RFC 8866), on their own or
// as parts of a multipart body. It is lenient: what it does not know stays as
// it is, byte for byte, and what it can make no sense of is no error.
//
// It negotiates nothing: it tells which streams a description has, and refuses
// some of them the way an offerer or an answerer would.
package sdp
