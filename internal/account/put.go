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

// named finds the endpoint that a spec names among those of the owner or of the
// sub-account that it names.
func (s *Service) named(ctx context.Context, owner Account, spec EndpointSpec) (Endpoint, error) {
	domain := s.domains[0]
	if spec.Domain.Set {
		domain = strings.ToLower(spec.Domain.Value)
	}
	sub := spec.SubAccount
	if sub.Value == "" {
		sub = Optional[string]{}
	}
	who, err := s.selected(ctx, owner, sub)
	if err != nil || who == "" {
		return Endpoint{}, errors.Join(err, ErrNotFound)
	}
	all, _, err := s.store.Endpoints(ctx, who, EndpointQuery{Limit: MaxLimit, Username: Match{Exact: Some(spec.Username.Value)}})
	if err != nil {
		return Endpoint{}, err
	}
	for _, e := range all {
		if e.Domain == domain {
			return e, nil
		}
	}
	return Endpoint{}, ErrNotFound
}
