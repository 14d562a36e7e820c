// Package sipproxy forwards requests and forks them to an endpoint's devices:
// a record-routing, transaction-stateful proxy (RFC 3261 16). It decides
// nothing about who may call whom, and owns no socket.
//
// A forwarded dialog-creating request carries a Record-Route with a sealed
// cookie that says which call it is and how to reach either side. Requests
// within the dialog are routed by that cookie alone, so that a restart of the
// server between INVITE and BYE does no harm.
package sipproxy
