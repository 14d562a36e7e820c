package server

import (
	"onhook/internal/routing"
	"onhook/internal/sip"
	"onhook/internal/sipproxy"
)

// Redirect decides about a Contact to which a device has redirected a request
// (sipproxy.Redirects). Only endpoints are followed: a phone number, and what
// costs money or leaves the server, is for the caller to dial.
func (p *path) Redirect(req *sip.Message, from sipproxy.Caller, target sip.URI) (d routing.Decision, ours bool) {
	if _, ours := p.names.Domain(target.Host, target.Port); !ours {
		return d, false
	}
	caller := routing.Caller{Kind: routing.External}
	switch {
	case from.Trunk != nil:
		caller.Kind = routing.Trunk
	case from.Endpoint != 0:
		e, ok := p.directory.ByID(from.Endpoint)
		if !ok || !e.Enabled {
			return d, false
		}
		caller = p.known(e)
	}
	d = p.router.Decide(routing.Request{Method: req.Method, Caller: caller, Target: target, Media: media(req)})
	return d, d.Via == routing.ViaEndpoint
}
