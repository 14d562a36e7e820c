package account

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// What a caller of Service or Store decides on, with errors.Is.
var (
	ErrNotFound     = errors.New("not found")                             // does not exist, or is somebody else's
	ErrUnauthorized = errors.New("invalid credentials")                   // unknown account, wrong token or disabled
	ErrUnavailable  = errors.New("the store cannot take changes now")     // disk full, locked, read-only
	ErrWrongKey     = errors.New("the key does not open this store")      // sealed with another key
	ErrNameTaken    = errors.New("the name is taken")                     // by another application of the account
	ErrNotEmpty     = errors.New("the sub-account owns endpoints")        // and shall not be deleted with them
	ErrMainOnly     = errors.New("only a main account may do this")       // and the caller is a sub-account
	ErrDuplicate    = errors.New("a generated identifier exists already") // Store to Service only: draw another
)

// Invalid is a refused request with every bad field of it. Exactly one of the
// maps is filled.
type Invalid struct {
	Fields map[string]string         // API field name → plain sentence
	Items  map[int]map[string]string // the same by index into a bulk request
}

func (e *Invalid) Error() string {
	var b strings.Builder
	b.WriteString("invalid request parameters")
	for _, name := range slices.Sorted(maps.Keys(e.Fields)) {
		fmt.Fprintf(&b, "; %s: %s", name, e.Fields[name])
	}
	for _, i := range slices.Sorted(maps.Keys(e.Items)) {
		for _, name := range slices.Sorted(maps.Keys(e.Items[i])) {
			fmt.Fprintf(&b, "; %d.%s: %s", i, name, e.Items[i][name])
		}
	}
	return b.String()
}

// Conflict is a username that is taken in its domain.
type Conflict struct {
	Username string
	Index    int            // of the first one in a bulk request, else 0
	Items    map[int]string // every one of a bulk request by index, else nil
}

func (e *Conflict) Error() string {
	return fmt.Sprintf("username %q already exists", e.Username)
}
