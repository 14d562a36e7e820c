package account

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Limits bound the calls that an endpoint, or the endpoints of an account
// together, may place, and who may call them. Each holds beside those above it: an endpoint's, its
// sub-account's, its main account's. A zero field sets no limit.
type Limits struct {
	ConcurrentCalls int    `json:",omitempty"`
	CallsPerSecond  int    `json:",omitempty"`
	MaxDuration     int    `json:",omitempty"` // seconds, from the answer on
	NumberPrefixes  string `json:",omitempty"` // those that may be called, parted by commas
	NoExternalCalls bool   `json:",omitempty"` // callers who are no endpoints of the server do not reach them
}

// maxLimit bounds each number, and maxPrefixes and maxPrefix a list of prefixes.
const (
	maxLimit    = 1_000_000
	maxPrefixes = 100
	maxPrefix   = 16
)

// Text is how limits are stored: "" for none.
func (l Limits) Text() string {
	if l == (Limits{}) {
		return ""
	}
	b, err := json.Marshal(l)
	if err != nil {
		panic(err) // plain fields
	}
	return string(b)
}

// ParseLimits reads Text.
func ParseLimits(text string) (l Limits, err error) {
	if text == "" {
		return l, nil
	}
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		return Limits{}, fmt.Errorf("stored limits: %w", err)
	}
	return l, nil
}

// Bound returns limits within these, of which 0 is none.
func (l Limits) Bound(other Limits) Limits {
	lower := func(a, b int) int {
		if a == 0 || b != 0 && b < a {
			return b
		}
		return a
	}
	other.ConcurrentCalls = lower(other.ConcurrentCalls, l.ConcurrentCalls)
	other.CallsPerSecond = lower(other.CallsPerSecond, l.CallsPerSecond)
	other.MaxDuration = lower(other.MaxDuration, l.MaxDuration)
	other.NoExternalCalls = other.NoExternalCalls || l.NoExternalCalls
	return other
}

// Prefixes lists the number prefixes that may be called; nil: all.
func (l Limits) Prefixes() []string {
	if l.NumberPrefixes == "" {
		return nil
	}
	return strings.Split(l.NumberPrefixes, ",")
}

// PermitsNumber reports whether a phone number, without visual separators, may
// be called.
func (l Limits) PermitsNumber(number string) bool {
	if l.NumberPrefixes == "" {
		return true
	}
	for prefix := range strings.SplitSeq(l.NumberPrefixes, ",") {
		if strings.HasPrefix(number, prefix) {
			return true
		}
	}
	return false
}

// LimitsPatch is what a client wants to change; null takes a limit away.
type LimitsPatch struct {
	ConcurrentCalls Optional[int]
	CallsPerSecond  Optional[int]
	MaxDuration     Optional[int]
	NumberPrefixes  Optional[[]string]
	ExternalCalls   Optional[bool]

	Malformed map[string]string // as in EndpointSpec
}

func (p LimitsPatch) apply(l Limits) (Limits, error) {
	f := newFaults(p.Malformed)
	number := func(name string, o Optional[int], into *int) {
		switch {
		case !o.Set:
		case o.Null:
			*into = 0
		case o.Value < 1 || o.Value > maxLimit:
			f.add(name, fmt.Sprintf("Must be null or a number from 1 to %d", maxLimit))
		default:
			*into = o.Value
		}
	}
	number("concurrent_calls", p.ConcurrentCalls, &l.ConcurrentCalls)
	number("calls_per_second", p.CallsPerSecond, &l.CallsPerSecond)
	number("max_duration", p.MaxDuration, &l.MaxDuration)
	switch o := p.NumberPrefixes; {
	case !o.Set:
	case o.Null:
		l.NumberPrefixes = ""
	case len(o.Value) == 0 || len(o.Value) > maxPrefixes || slices.ContainsFunc(o.Value, badPrefix):
		f.add("number_prefixes", fmt.Sprintf("Must be null or a list of 1 to %d prefixes such as +49 or 0800", maxPrefixes))
	default:
		l.NumberPrefixes = strings.Join(o.Value, ",")
	}
	if p.ExternalCalls.Set {
		l.NoExternalCalls = !p.ExternalCalls.Value
	}
	return l, f.err()
}

// badPrefix reports whether a text is no beginning of a phone number.
func badPrefix(s string) bool {
	digits := strings.TrimPrefix(s, "+")
	return len(s) > maxPrefix || digits == "" || strings.Trim(digits, "0123456789") != ""
}

// SetEndpointLimits changes the limits of an endpoint of the scope.
func (s *Service) SetEndpointLimits(ctx context.Context, scope Account, id EndpointID, patch LimitsPatch) error {
	err := s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		before, err := visible(ctx, tx, scope, id)
		if err != nil {
			return err
		}
		after := before
		if after.Limits, err = patch.apply(before.Limits); err != nil || after == before {
			return err
		}
		after.UpdatedAt = s.time()
		return tx.UpdateEndpoint(ctx, before, after)
	})
	if err != nil {
		return fmt.Errorf("update limits: %w", err)
	}
	return nil
}

// SetAccountLimits changes the limits of an account. A sub-account's are its
// main account's to say: ErrMainOnly for its own key.
func (s *Service) SetAccountLimits(ctx context.Context, caller Account, authID string, patch LimitsPatch) error {
	if caller.Parent != "" {
		return ErrMainOnly
	}
	err := s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		before, err := tx.Account(ctx, authID)
		if err != nil {
			return err
		}
		after := before
		if after.Limits, err = patch.apply(before.Limits); err != nil || after == before {
			return err
		}
		after.UpdatedAt = s.time()
		return tx.UpdateAccount(ctx, before, after)
	})
	if err != nil {
		return fmt.Errorf("update limits: %w", err)
	}
	return nil
}
