// Package server builds a whole onhook from its configuration, owns the order
// in which its parts start and stop, and holds the way of a SIP request
// (path.go). It decides nothing that a part of it could decide.
package server
