// Package law holds what the repository demands of itself, as tests: which
// package may import which, and which section of which RFC is kept where. It
// has no code of its own.
//
// docs/specs.md is written by
//
//	go test ./internal/law -update
package law
