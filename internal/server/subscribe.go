package server

import (
	"onhook/internal/account"
	"onhook/internal/directory"
	"onhook/internal/location"
	"onhook/internal/sip"
	"onhook/internal/sipevent"
	"onhook/internal/sipprobe"
)

// buildWatchers makes what tells of bindings and what asks after them.
func (s *Server) buildWatchers() {
	cfg, p := s.cfg, s.path
	p.probes = sipprobe.New(sipprobe.Config{
		Index: p.index, Send: p.transport.Send, SentBy: p.transport.SentBy,
		Interval: cfg.Registrar.ProbeInterval, Rate: cfg.Registrar.ProbeRate,
	})
	p.notifier = sipevent.New(sipevent.Config{
		Transactions: p.transactions, Index: p.index, OwnURI: p.appendOwnURI, SentBy: p.transport.SentBy,
		MaxSubscriptions: cfg.Limits.Subscriptions, MaxPerAOR: cfg.Limits.SubscriptionsPerEndpoint,
		Logger: s.logger.With("package", "sipevent"),
	})
}

// subscribe answers a SUBSCRIBE that this server is the notifier of: to the
// registration of one of its endpoints (RFC 3680), by that endpoint itself. Any
// other is for a phone (false), but for one to the bare server, which knows no
// other event package.
func (p *path) subscribe(m *sip.Message, flow sip.Flow) bool {
	if m.To.Tag() != "" {
		key, ok := p.notifier.Find(m)
		if !ok {
			return false
		}
		e, _ := p.directory.ByID(account.EndpointID(key)) // one that is gone has no domain, and its credentials fail
		p.subscribeTo(m, flow, e)
		return true
	}
	target := &m.Target
	if !target.IsSIP() {
		return false
	}
	domain, ours := p.names.Domain(target.Host, target.Port)
	switch {
	case !ours:
		return false
	case !sipevent.Wants(m):
		if target.HasUser {
			return false
		}
		p.badEvent(m, flow)
		return true
	case p.draining.Load():
		p.unavailable(m, flow, "server.stopping", "This server is stopping")
		return true
	}
	e, known := p.directory.ByName(domain, sip.Unescape(target.User))
	if !known {
		e.Domain = domain // challenged like anybody else's: names do not show
	}
	p.subscribeTo(m, flow, e)
	return true
}

// subscribeTo lets an endpoint, and nobody else, subscribe to its registration.
func (p *path) subscribeTo(m *sip.Message, flow sip.Flow, e directory.Entry) {
	subscriber, ok := p.onConnection(flow)
	if !ok {
		r, _, ok := p.authenticate(m, flow, sip.Authorization, e.Domain)
		if !ok {
			return
		}
		subscriber = p.directory.Entry(r)
	}
	switch {
	case subscriber.ID != e.ID:
		p.refuse(m, flow, 403, "subscription.foreign", "Only the endpoint itself may subscribe to its registration")
		return
	case m.Has(sip.Require):
		p.unsupported(m, flow, sip.Require)
		return
	}
	if tx := p.begin(m, flow); tx != nil {
		p.notifier.Subscribe(tx, m, flow, sipevent.AOR{Key: location.Key(e.ID), Username: e.Username, Domain: e.Domain, URI: routable(e).AOR()})
	}
}

// badEvent refuses an event package that this server does not know (RFC 6665
// 8.3.2).
func (p *path) badEvent(m *sip.Message, flow sip.Flow) {
	p.stats.refused.Add(1)
	msg := sip.AppendReply(nil, m, flow.Remote, 489, "", p.toTag(m))
	msg = sip.AppendHeader(msg, sip.AllowEvents, sipevent.Package)
	p.send(m, flow, sip.AppendBody(msg, nil))
}
