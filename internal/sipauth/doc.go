// Package sipauth challenges and verifies Digest credentials in SIP requests
// (RFC 3261 22, RFC 7616, RFC 8760): MD5 and SHA-256, qop auth. It stores no
// secrets and answers no requests; whose credentials count, and what a verdict
// leads to, is its caller's.
//
// # Nonces
//
// A nonce carries its time, the process that made it, and a MAC over both,
// the realm and, on UDP, the address it was sent to. So nothing is stored for a
// stranger. Only for a nonce that was used with a right password is its window
// of nonce counts kept (RFC 7616 5.12), in a bounded table. A nonce whose window
// had to go is stale from then on, and so is every nonce of an earlier process,
// whose windows are lost; no nonce count is ever accepted twice.
package sipauth
