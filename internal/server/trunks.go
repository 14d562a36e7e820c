package server

import (
	"context"
	"fmt"
	"slices"

	"onhook/internal/account"
	"onhook/internal/directory"
	"onhook/internal/siptrunk"
	"onhook/internal/trunk"
)

// buildTrunks makes what knows the ways to the telephone network and what
// registers with them.
func (s *Server) buildTrunks(ctx context.Context) (err error) {
	p := s.path
	if p.trunks, err = trunk.NewTable(s.cfg.DefaultRegion, s.cfg.Domains[0]); err != nil {
		return fmt.Errorf("default_region: %w", err)
	}
	s.upstream = siptrunk.New(siptrunk.Config{
		Table: p.trunks, Transport: p.transport, Transactions: p.transactions, Resolver: p.resolver, Moved: s.trustTrunks,
		Logger: s.logger.With("package", "siptrunk"),
	})
	s.trunks = trunk.NewService(trunk.ServiceConfig{
		Table: p.trunks, Store: s.store, Trunks: s.cfg.Trunks, Numbers: s.cfg.Numbers, Changed: s.trunksChanged, Logger: s.logger.With("package", "trunk"),
	})
	return s.trunks.Load(ctx)
}

// trunksChanged has the rest of the server follow the table.
func (s *Server) trunksChanged() {
	s.trustTrunks()
	s.upstream.Changed()
}

// trustTrunks tells the guard where the trunks are: what they send is much, and no
// flood.
func (s *Server) trustTrunks() {
	s.trust.Lock() // the last to look is the last to tell
	defer s.trust.Unlock()
	s.guard.Trust(slices.Concat(s.cfg.TrustedNetworks, s.path.trunks.Networks()))
}

// phones gives the trunks the shape that sipproxy asks for.
type phones struct {
	*trunk.Table
	directory *directory.Directory
}

// NumberOf returns the number of an endpoint.
func (p phones) NumberOf(id account.EndpointID) string {
	if e, ok := p.directory.ByID(id); ok {
		return p.Table.NumberOf(e.Username, e.Domain)
	}
	return ""
}
