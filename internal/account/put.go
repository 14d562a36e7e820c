package account

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// PutEndpoint brings the endpoint with the spec's username and domain to the
// state that is asked for: it makes it, or changes the one there is, which
// created tells. patch holds the same wishes as spec; what it does not name
// stays. Errors are those of CreateEndpoint and UpdateEndpoint.
func (s *Service) PutEndpoint(ctx context.Context, owner Account, spec EndpointSpec, patch EndpointPatch) (e Endpoint, created bool, err error) {
	if owner.Parent != "" && patch.SubAccount.Value == "" {
		patch.SubAccount = Optional[string]{} // its own, as at the creation
	}
	for attempt := 0; ; attempt++ {
		present, err := s.named(ctx, owner, spec)
		if err == nil {
			e, err = s.UpdateEndpoint(ctx, owner, present.ID, patch)
			if errors.Is(err, ErrNotFound) && attempt == 0 {
				continue // deleted in between
			}
			return e, false, err
		}
		if !errors.Is(err, ErrNotFound) {
			return Endpoint{}, false, fmt.Errorf("put endpoint: %w", err)
		}
		e, err = s.CreateEndpoint(ctx, owner, spec)
		var taken *Conflict
		if errors.As(err, &taken) && attempt == 0 {
			continue // by somebody else, or made in between
		}
		return e, err == nil, err
	}
}

// named finds the endpoint that a spec names among those of the scope, which are
// also its sub-accounts'.
func (s *Service) named(ctx context.Context, scope Account, spec EndpointSpec) (Endpoint, error) {
	domain := s.domains[0]
	if spec.Domain.Set {
		domain = strings.ToLower(spec.Domain.Value)
	}
	e, err := s.store.EndpointNamed(ctx, domain, spec.Username.Value)
	return seen(e, err, scope)
}
