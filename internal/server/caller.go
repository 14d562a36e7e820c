package server

import (
	"onhook/internal/account"
	"onhook/internal/directory"
	"onhook/internal/location"
	"onhook/internal/routing"
	"onhook/internal/sip"
	"onhook/internal/sipauth"
)

// oldSecret is the credentials of a REGISTER that came with the password before
// the present one.
type oldSecret struct {
	record *directory.Record
	secret *account.Secret
}

// authenticate verifies a request's digest credentials, and answers it with a
// challenge where they do not hold. old is the secret they were made with when it
// is the one before the present one.
func (p *path) authenticate(m *sip.Message, flow sip.Flow, header sip.HeaderID, domain string) (r *directory.Record, old *account.Secret, ok bool) {
	credentials := credentials{p.directory}
	result := p.auth.Verify(m, header, domain, flow, credentials)
	if result.Previous {
		if old = result.User.(*directory.Record).Previous(); old == nil { // its time ended this moment
			result.Verdict = sipauth.Wrong
		}
	}
	switch result.Verdict {
	case sipauth.OK:
		p.bans.Right(pair(domain, result.Username, flow))
		r := result.User.(*directory.Record)
		if p.directory.Enabled(r) {
			return r, old, true
		}
		p.refuse(m, flow, 403, "account.disabled", "The account is disabled")
		return nil, nil, false
	case sipauth.Wrong: // with a nonce that shows the source to be real; never the first 401, never a stale one
		p.bans.Wrong(pair(domain, result.Username, flow))
	case sipauth.Banned:
		p.refuse(m, flow, 403, "auth.banned", "Too many wrong passwords for this user from this address")
		return nil, nil, false
	case sipauth.Malformed:
		p.refuse(m, flow, 400, "auth.malformed", "The credentials cannot be read")
		return nil, nil, false
	}
	status, challenge := 401, sip.WWWAuthenticate
	if header == sip.ProxyAuthorization {
		status, challenge = 407, sip.ProxyAuthenticate
	}
	p.stats.challenged.Add(1)
	buf := p.buffers.Get().(*[]byte)
	msg := sip.AppendReply((*buf)[:0], m, flow.Remote, status, "", p.toTag(m))
	msg = p.auth.AppendChallenge(msg, m, challenge, domain, flow, result.Verdict == sipauth.Stale, credentials)
	if result.Verdict == sipauth.Wrong { // for an unknown name as for a wrong password
		msg = p.appendReason(msg, "auth.bad_credentials", "The credentials are wrong")
	}
	*buf = sip.AppendBody(msg, nil)
	p.send(m, flow, *buf)
	p.buffers.Put(buf)
	return nil, nil, false
}

// caller finds out who is asking: the endpoint alone on this connection, or the
// one whose credentials these are; somebody else claiming one of our domains is
// challenged, and everybody else comes from outside.
func (p *path) caller(m *sip.Message, flow sip.Flow) (routing.Caller, bool) {
	from := &m.FromURI
	domain, claimsOurs := p.names.Domain(from.Host, from.Port)
	claimsOurs = claimsOurs && from.IsSIP()

	entry, known := p.onConnection(flow)
	if !known {
		realm, offered := p.offeredRealm(m)
		if !claimsOurs && !offered {
			return routing.Caller{Kind: routing.External}, true
		}
		if !claimsOurs {
			domain = realm
		}
		r, _, ok := p.authenticate(m, flow, sip.ProxyAuthorization, domain)
		if !ok {
			return routing.Caller{}, false
		}
		entry = p.directory.Entry(r)
	}
	if claimsOurs {
		if named, ok := p.directory.ByName(domain, sip.Unescape(from.User)); ok && named.ID != entry.ID {
			p.refuse(m, flow, 403, "auth.foreign_from", "From names another endpoint than the credentials")
			p.attempted(m, flow, calling(routable(entry)), routing.Endpoint{}, 403, "auth.foreign_from")
			return routing.Caller{}, false
		}
	}
	return p.known(entry), true
}

// known is an endpoint as a caller.
func (p *path) known(e directory.Entry) routing.Caller {
	c := routing.Caller{Kind: routing.Known, Endpoint: routable(e)}
	if r := p.directory.FindID(e.ID); r != nil {
		c.Limits = p.limiter.ofNumbers(r)
	}
	return c
}

// owner tells whose an endpoint is (sipproxy.Config.Owners).
func (p *path) owner(id account.EndpointID) (owner, main string) {
	e, _ := p.directory.ByID(id)
	return e.Owner, e.Main
}

// onConnection returns the endpoint that alone is registered on a connection.
func (p *path) onConnection(flow sip.Flow) (directory.Entry, bool) {
	if !flow.Transport.Reliable() {
		return directory.Entry{}, false
	}
	var buf [2]location.Key
	keys := p.index.OnFlow(flow, buf[:0])
	if len(keys) != 1 {
		return directory.Entry{}, false
	}
	e, ok := p.directory.ByID(account.EndpointID(keys[0]))
	return e, ok && e.Enabled
}

// offeredRealm returns the first of our domains for which a request carries
// credentials.
func (p *path) offeredRealm(m *sip.Message) (string, bool) {
	for i := range m.Headers {
		if h := &m.Headers[i]; h.ID == sip.ProxyAuthorization {
			if d, err := sip.ParseDigest(h.Value); err == nil && p.names.isDomain(d.Realm) {
				return d.Realm, true
			}
		}
	}
	return "", false
}

func routable(e directory.Entry) routing.Endpoint {
	return routing.Endpoint{ID: e.ID, Owner: e.Owner, Main: e.Main, Username: e.Username, Domain: e.Domain, Allow: e.Allow, NoExternalCalls: e.NoExternalCalls}
}

// credentials gives the directory the shape that sipauth asks for.
type credentials struct{ directory *directory.Directory }

func (c credentials) HA1(realm, username string) (sipauth.HA1, any, bool) {
	r := c.directory.Find(realm, username)
	if r == nil {
		return sipauth.HA1{}, nil, false
	}
	return sipauth.HA1(*r.Secret()), r, true
}

func (c credentials) Previous(user any) (sipauth.HA1, bool) {
	before := user.(*directory.Record).Previous()
	if before == nil {
		return sipauth.HA1{}, false
	}
	return sipauth.HA1(*before), true
}

func (c credentials) OffersSHA256(realm string) bool { return c.directory.OffersSHA256(realm) }
