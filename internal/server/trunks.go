package server

import (
	"cmp"

	"onhook/internal/api"
	"onhook/internal/siptrunk"
	"onhook/internal/trunk"
)

// trunks gives the trunks the shape that api asks for.
type trunks struct {
	table    *trunk.Table
	upstream *siptrunk.Registrations
}

func (t trunks) Trunks() []api.Trunk {
	lines := t.table.Lines()
	out := make([]api.Trunk, len(lines))
	for i, l := range lines {
		status := t.upstream.Status(l.Name)
		out[i] = api.Trunk{Name: l.Name, URI: l.URI, Transport: l.Transport, Username: l.Username, Prefixes: l.Prefixes, Strip: l.Strip, Prepend: l.Prepend,
			CallerID: l.CallerID, CallerIDIn: cmp.Or(l.CallerIDIn, trunk.AssertedIdentity), Priority: l.Priority, Weight: l.Weight,
			Calls: l.Calls(), MaxCalls: l.MaxCalls,
			Registration: api.TrunkRegistration{State: status.State, Until: status.Until, Address: status.Address, Error: status.Error}}
		for _, n := range l.Networks {
			out[i].Networks = append(out[i].Networks, n.String())
		}
	}
	return out
}

func (t trunks) Numbers() []api.Number {
	var out []api.Number
	for _, n := range t.table.Numbers() {
		user, domain, _ := t.table.NumberEndpoint(n.Number)
		out = append(out, api.Number{Number: n.Number, Endpoint: user + "@" + domain})
	}
	return out
}
