package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"onhook/internal/account"
	"onhook/internal/location"
	"onhook/internal/sipproxy"
)

// registrations shows the API the bindings, and ends them for it
// (api.Registrations).
type registrations struct{ path *path }

func (r registrations) Bindings(id account.EndpointID) []location.Binding {
	bindings := r.path.index.Lookup(location.Key(id), nil)
	for i := range bindings {
		b := &bindings[i]
		if at, ok := r.path.transport.Heard(b.Flow); ok && at.After(b.LastSeen) {
			b.LastSeen = at // a keepalive, or anything else, on its connection
		}
	}
	return bindings
}

func (r registrations) End(ctx context.Context, id account.EndpointID, bindingID string) (bool, error) {
	ended, ok, err := r.path.index.End(ctx, location.Key(id), bindingID, location.Deactivated)
	if err != nil || !ok {
		return false, unavailable(err)
	}
	r.path.closeFlows([]location.Binding{ended})
	return true, nil
}

func (r registrations) EndAll(ctx context.Context, id account.EndpointID) error {
	ended, err := r.path.index.EndAll(ctx, location.Key(id), location.Deactivated)
	r.path.closeFlows(ended)
	return unavailable(err)
}

// unavailable tells the API that a change which the journal refused may be
// tried again.
func unavailable(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w: %w", account.ErrUnavailable, err)
}

// closeFlows closes the connections of ended bindings, except those on which
// another endpoint is registered.
func (p *path) closeFlows(ended []location.Binding) {
	for i := range ended {
		if flow := ended[i].Flow; flow.Transport.Reliable() && !p.index.FlowInUse(flow) {
			p.transport.CloseFlow(flow)
		}
	}
}

// changed takes in one committed change of an endpoint: the directory knows it
// before the API call returns, and a secret that is worthless now ends the
// bindings that were made with it. The hub is told what it shall tell: a
// creation before any device can register, a deletion after all are gone.
func (s *Server) changed(ctx context.Context, c account.Change) {
	if c.Kind == account.Deleted {
		s.path.traces.Forget(uint64(c.Before.ID))
		s.hub.Leaving(c.Before)
		defer s.hub.Changed(c)
	} else {
		s.hub.Changed(c)
	}
	s.path.directory.Apply(c)
	if !c.SecretChanged {
		s.rotated(ctx, c)
		return
	}
	s.path.proxy.EndOf(c.Before.ID, sipproxy.EndWithCredentials) // while there still is a way to the devices
	ended, err := s.path.index.EndAll(ctx, location.Key(c.Before.ID), location.CredentialsChanged)
	if err != nil {
		s.logger.Error("bindings made with the old password could not be ended", "endpoint_id", c.Before.ID.String(), "error", err)
	}
	reason := "deactivated" // a subscriber who knows the new password may return
	if _, there := s.path.directory.ByID(c.Before.ID); !there {
		reason = "noresource"
	}
	s.path.notifier.End(location.Key(c.Before.ID), reason)
	s.path.closeFlows(ended)
}

// rotated takes in that an old password works beside a new one for a while, or
// that its time is over: its bindings are known, and end with it.
func (s *Server) rotated(ctx context.Context, c account.Change) {
	if !c.Rotated && !c.OverlapEnded {
		return
	}
	key := location.Key(c.Before.ID)
	var ended []location.Binding
	var err error
	if c.OverlapEnded || !c.Before.PreviousUntil.IsZero() { // the one before the old one is worthless, too
		ended, err = s.path.index.EndPrevious(ctx, key)
	}
	if err == nil && c.Rotated {
		err = s.path.index.Age(ctx, key)
	}
	if err != nil {
		s.logger.Error("bindings made with an old password could not be brought up to date", "endpoint_id", c.Before.ID.String(), "error", err)
	}
	s.path.closeFlows(ended)
}

// accountChanged takes in one committed change of an account: the endpoints of
// a disabled one lose their bindings, and the SIP side answers them with 403.
func (s *Server) accountChanged(ctx context.Context, c account.AccountChange) {
	if c.After.AuthID == "" { // deleted, and its endpoints before it
		s.path.directory.SetEnabled(c.Before.AuthID, true)
		s.path.directory.SetLimits(c.Before.AuthID, account.Limits{})
		return
	}
	s.path.directory.SetEnabled(c.After.AuthID, c.After.Enabled)
	s.path.directory.SetLimits(c.After.AuthID, c.After.Limits)
	if c.After.Enabled || !c.Before.Enabled {
		return
	}
	for _, key := range s.path.index.RegisteredKeys() {
		e, ok := s.path.directory.ByID(account.EndpointID(key))
		if !ok || e.Owner != c.After.AuthID && e.Main != c.After.AuthID {
			continue
		}
		ended, err := s.path.index.EndAll(ctx, key, location.Deactivated)
		if err != nil {
			s.logger.Error("bindings of a disabled account could not be ended", "endpoint_id", e.ID.String(), "error", err)
		}
		s.path.notifier.End(key, "rejected")
		s.path.closeFlows(ended)
	}
}

// expirySweep is how long an endpoint may outlive its expires_at.
const expirySweep = time.Second

// sweepExpired deletes the endpoints, and ends the old passwords, whose time has
// come.
func (s *Server) sweepExpired(ctx context.Context) error {
	tick := time.NewTicker(expirySweep)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		_, err := s.accounts.DeleteExpired(ctx)
		if _, ending := s.accounts.EndOverlaps(ctx); err == nil {
			err = ending
		}
		if err != nil && ctx.Err() == nil && !failing {
			s.logger.Error("expired endpoints and old passwords cannot be ended at present", "error", err)
		}
		failing = err != nil
	}
}
