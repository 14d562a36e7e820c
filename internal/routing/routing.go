// Package routing decides who may reach whom: from the facts of a request, the
// names of a server and the bindings of its endpoints it makes a decision with
// its reason. It is pure: no I/O, no clock, no state.
package routing

import (
	"cmp"
	"slices"
	"strings"

	"onhook/internal/account"
	"onhook/internal/location"
	"onhook/internal/sip"
	"onhook/internal/sipgruu"
	"onhook/internal/trunk"
)

// Endpoint is what routing knows of an endpoint.
type Endpoint struct {
	ID       account.EndpointID
	Owner    string // auth_id of the account or sub-account it belongs to
	Main     string // auth_id of the main account
	Username string
	Domain   string
	Allow    account.Permissions
	// NoExternalCalls keeps callers from outside away.
	NoExternalCalls bool
}

// AOR writes the endpoint's address-of-record, sip:user@domain.
func (e Endpoint) AOR() string { return "sip:" + e.Username + "@" + e.Domain }

// Names is how routing finds endpoints and knows its own hosts.
type Names interface {
	// Endpoint finds an endpoint by its SIP domain and its user in any case.
	Endpoint(domain, user string) (Endpoint, bool)
	// ByID finds an endpoint by its id.
	ByID(id account.EndpointID) (Endpoint, bool)
	// Domain returns the SIP domain that a host and port (0: none) stand for: a
	// domain itself, or an address of the server's, which means the first domain.
	Domain(host string, port uint16) (domain string, ok bool)
	// AppDomain reports whether host is the domain of applications.
	AppDomain(host string) bool
	// Application reports whether there is an application of this identifier.
	Application(id string) bool
}

// Phones is how routing finds its way to and from phone numbers.
type Phones interface {
	// Candidates are the trunks that take a number, in the order to try.
	Candidates(number string) []trunk.Candidate
	// Callee returns whom a number of ours rings.
	Callee(number string) (c trunk.Callee, ok bool)
}

// Bindings is how routing finds an endpoint's devices.
type Bindings interface {
	Lookup(key location.Key, dst []location.Binding) []location.Binding
}

// CallerKind says how far a caller is known.
type CallerKind uint8

// The kinds of callers.
const (
	External CallerKind = iota // anybody out there
	Known                      // one of our endpoints, authenticated
	Trunk                      // a trunk, known by its address
)

// Caller is who asks.
type Caller struct {
	Kind     CallerKind
	Endpoint Endpoint // of a Known caller
	// Limits are those of a Known caller and of its accounts; nil for none.
	Limits []account.Limits
}

// Media is what a request asks to exchange.
type Media struct {
	Audio  bool // an audio stream, or no session description at all
	Video  bool
	Other  bool // a stream of another kind
	Opaque bool // there may be streams, but nobody here can read which
}

// Request is what a decision depends on.
type Request struct {
	Method sip.Method
	Caller Caller
	Target sip.URI // the Request-URI after Route pre-processing (RFC 3261 16.4)
	Media  Media
}

// Via says which way a request goes.
type Via string

// The ways.
const (
	ViaEndpoint     Via = "endpoint"
	ViaServer       Via = "server"
	ViaPhones       Via = "phones"
	ViaApplication  Via = "application"
	ViaOtherDomains Via = "other_domains"
)

// Decision is the answer. A refusal has Status, Reason and Sentence; a request
// that goes through to an endpoint has Callee and at least one target.
type Decision struct {
	Allowed bool
	Via     Via
	Callee  Endpoint
	Targets []location.Binding // in the order to try; see NextGroup
	Lines   []trunk.Candidate  // the trunks to a number, in the order to try
	Device  *sipgruu.Device    // that the target names by its GRUU; nil: any of the endpoint's
	// WithoutVideo is set where the call goes on and its video streams do not: one
	// side may not use video.
	WithoutVideo bool
	Status       int
	Reason       string
	Untold       string // the reason where the caller is not told it
	Sentence     string
}

// Router decides with one server's names and bindings.
type Router struct {
	Names         Names
	Bindings      Bindings
	Phones        Phones         // nil: there are no trunks
	GRUUs         *sipgruu.GRUUs // reads the targets that name one device; nil: none does
	ExternalCalls bool           // whether callers from outside may reach endpoints
}

// Decide gives the decision for a request without a To tag. Flags are tested
// before existence and existence before registration, so that a refusal tells
// no more than it must.
func (r *Router) Decide(req Request) Decision {
	d := r.destination(req)
	if req.Caller.Kind == Trunk {
		return r.fromTrunk(req, d)
	}
	switch d.Via {
	case ViaServer:
		d.Allowed = true
		return d
	case ViaEndpoint:
		return r.toEndpoint(req, d)
	}
	if req.Caller.Kind == External {
		return refuse(d, 403, "relay.denied", "This server does not relay calls from outside")
	}
	allow := req.Caller.Endpoint.Allow
	switch {
	case d.Via == ViaPhones && !allow.Phones:
		return refuse(d, 403, "permission.allow_phones", "This endpoint may not call phone numbers")
	case d.Via == ViaApplication && !allow.Apps:
		return refuse(d, 403, "permission.allow_apps", "This endpoint may not call applications")
	case d.Via == ViaOtherDomains && !allow.OtherDomains:
		return refuse(d, 403, "permission.allow_other_domains", "This endpoint may not call other domains")
	}
	if status, reason, sentence := Forbidden(req.Method, req.Media, allow, "This endpoint"); status != 0 {
		return refuse(d, status, reason, sentence)
	}
	overLimit := func(l account.Limits) bool { return !l.PermitsNumber(plain(number(req.Target))) }
	if d.Via == ViaPhones && slices.ContainsFunc(req.Caller.Limits, overLimit) {
		return refuse(d, 403, "limit.number_prefix", "This endpoint may not call numbers that begin so")
	}
	switch d.Via {
	case ViaPhones:
		if r.Phones != nil {
			d.Lines = r.Phones.Candidates(number(req.Target))
		}
		if len(d.Lines) == 0 {
			return refuse(d, 404, "phones.no_route", "There is no route to this phone number")
		}
	case ViaApplication:
		if !r.Names.Application(sip.Unescape(req.Target.User)) {
			return refuse(d, 404, "app.unknown", "There is no such application")
		}
		return toApplication(d)
	}
	d.Allowed = true // the way is found by its name (RFC 3263)
	d.WithoutVideo = req.Media.Video && !allow.Video
	return d
}

// fromTrunk decides for what comes from the telephone network: it may reach our
// numbers and endpoints, and nothing else.
func (r *Router) fromTrunk(req Request, d Decision) Decision {
	if d.Callee.ID != 0 || d.Via == ViaServer {
		d.Allowed = d.Via == ViaServer
		if d.Allowed {
			return d
		}
		return r.toEndpoint(req, d)
	}
	if d.Via != ViaPhones && d.Via != ViaEndpoint {
		return refuse(d, 403, "relay.denied", "This server does not relay calls from a trunk")
	}
	if r.Phones != nil {
		callee, ok := r.Phones.Callee(number(req.Target))
		switch {
		case ok && callee.Application != "":
			return toApplication(d)
		case ok:
			d.Via = ViaEndpoint
			if d.Callee, ok = r.Names.Endpoint(callee.Domain, callee.User); !ok {
				d.Callee = Endpoint{Domain: callee.Domain}
			}
			return r.toEndpoint(req, d)
		}
	}
	return refuse(d, 404, "phones.unknown_number", "This number belongs to nobody here")
}

func toApplication(d Decision) Decision {
	d.Via = ViaApplication
	return refuse(d, 480, "app.unavailable", "Applications do not take calls in this version")
}

// number is the phone number in a sip or tel address.
func number(target sip.URI) string { return sip.Unescape(target.User) }

// destination names the way by the target alone.
func (r *Router) destination(req Request) Decision {
	u := req.Target
	if u.Is("tel") {
		return Decision{Via: ViaPhones}
	}
	if r.Names.AppDomain(u.Host) {
		return Decision{Via: ViaApplication}
	}
	domain, ours := r.Names.Domain(u.Host, u.Port)
	if !ours {
		return Decision{Via: ViaOtherDomains}
	}
	if !u.HasUser {
		return Decision{Via: ViaServer, Callee: Endpoint{Domain: domain}}
	}
	if r.GRUUs != nil && sipgruu.Is(u) {
		return r.toDevice(u, domain)
	}
	user := sip.Unescape(u.User)
	if callee, ok := r.Names.Endpoint(domain, user); ok {
		return Decision{Via: ViaEndpoint, Callee: callee}
	}
	unknown := Decision{Via: ViaEndpoint, Callee: Endpoint{Domain: domain}}
	if req.Caller.Kind == External && !strings.HasPrefix(user, "+") {
		return unknown // it could be a name: which numbers are names must not show
	}
	if phone, _ := u.Params.Get("user"); IsNumber(user) || strings.EqualFold(phone, "phone") && !isName(user) {
		return Decision{Via: ViaPhones}
	}
	return unknown
}

// toDevice finds the endpoint of a GRUU. Without one the target is unknown.
func (r *Router) toDevice(u sip.URI, domain string) Decision {
	d := Decision{Via: ViaEndpoint, Callee: Endpoint{Domain: domain}}
	device, ok := r.GRUUs.Read(u)
	if !ok {
		return d
	}
	callee, known := Endpoint{}, false
	if device.Temporary {
		callee, known = r.Names.ByID(account.EndpointID(device.Key))
	} else {
		callee, known = r.Names.Endpoint(domain, sip.Unescape(u.User))
	}
	if known && strings.EqualFold(callee.Domain, domain) {
		d.Callee, d.Device = callee, &device
	}
	return d
}

func (r *Router) toEndpoint(req Request, d Decision) Decision {
	external, ours := req.Caller.Kind == External, req.Caller.Kind == Known
	known := d.Callee.ID != 0
	if external && !r.ExternalCalls {
		return refuse(d, 403, "relay.denied", "This server takes no calls from outside")
	}
	if ours {
		if !req.Caller.Endpoint.Allow.SameDomain && strings.EqualFold(d.Callee.Domain, req.Caller.Endpoint.Domain) {
			return refuse(d, 403, "permission.allow_same_domain", "This endpoint may not call endpoints of its own domain")
		}
		if status, reason, sentence := Forbidden(req.Method, req.Media, req.Caller.Endpoint.Allow, "This endpoint"); status != 0 {
			return refuse(d, status, reason, sentence)
		}
	}
	if external && d.Callee.NoExternalCalls {
		return refuseTo(req, d, 403, "permission.external_calls", "This endpoint takes no calls from outside")
	}
	if known {
		if status, reason, sentence := Forbidden(req.Method, req.Media, d.Callee.Allow, "The called endpoint"); status != 0 {
			return refuseTo(req, d, status, reason, sentence)
		}
	}
	if !known {
		return refuseTo(req, d, 404, "endpoint.unknown", "There is no endpoint of this name")
	}
	d.Targets = r.Bindings.Lookup(location.Key(d.Callee.ID), nil)
	if d.Device != nil {
		d.Targets = slices.DeleteFunc(d.Targets, func(b location.Binding) bool { return !d.Device.Names(&b) })
		// RFC 5627 6.1: a temporary GRUU is void with its registration; a public
		// one stays, and its device may return.
		if len(d.Targets) == 0 && d.Device.Temporary {
			return refuseTo(req, d, 404, "gruu.expired", "This address of a device is no longer valid")
		} else if len(d.Targets) == 0 {
			return refuseTo(req, d, 480, "gruu.unregistered", "The device is not registered")
		}
	}
	if req.Target.Is("sips") { // RFC 3261 26.2.2: encrypted on every hop
		d.Targets = slices.DeleteFunc(d.Targets, func(b location.Binding) bool { return !b.Flow.Transport.Secure() })
	}
	if len(d.Targets) == 0 {
		return refuseTo(req, d, 480, "endpoint.unregistered", "The endpoint is not registered")
	}
	Order(d.Targets)
	d.Allowed = true
	d.WithoutVideo = req.Media.Video && !(d.Callee.Allow.Video && (!ours || req.Caller.Endpoint.Allow.Video))
	return d
}

// Forbidden tests the flags that hold for both sides of a request, within a call
// as at its beginning; who names the side in the sentence. The status is 0 when
// none forbids it. A video stream beside others forbids nothing: it alone is
// refused. A description that nobody can read might hold one.
func Forbidden(method sip.Method, media Media, allow account.Permissions, who string) (status int, reason, sentence string) {
	offers := method == sip.INVITE || method == sip.UPDATE
	switch {
	case method == sip.MESSAGE && !allow.Message:
		return 403, "permission.allow_message", who + " may not exchange messages"
	case offers && media.Audio && !allow.Voice:
		return 403, "permission.allow_voice", who + " may not take part in voice calls"
	case offers && media.Opaque && !allow.Video:
		return 488, "media.unreadable", who + " may not use video, and the session description cannot be read"
	case offers && media.Video && !media.Audio && !media.Other && !allow.Video:
		return 488, "permission.allow_video", who + " may not use video, and the call has nothing else"
	}
	return 0, "", ""
}

// refuseTo refuses a request to an endpoint of ours. To a caller from outside
// every such refusal is one and the same, without a reason: it must not tell
// which names exist.
func refuseTo(req Request, d Decision, status int, reason, sentence string) Decision {
	if req.Caller.Kind == External {
		d.Untold = reason
		return refuse(d, 480, "", "")
	}
	return refuse(d, status, reason, sentence)
}

func refuse(d Decision, status int, reason, sentence string) Decision {
	d.Status, d.Reason, d.Sentence = status, reason, sentence
	return d
}

// IsNumber reports whether a user part is a phone number: an optional + and
// digits, with the visual separators of RFC 3966 5.1.1 allowed between them.
func IsNumber(user string) bool {
	user = strings.TrimPrefix(user, "+")
	digits := 0
	for i := 0; i < len(user); i++ {
		switch c := user[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c == '-' || c == '.' || c == '(' || c == ')':
		default:
			return false
		}
	}
	return digits > 0
}

// plain is a phone number without its visual separators and parameters (RFC 3966
// 5.1.1).
func plain(number string) string {
	number, _, _ = strings.Cut(number, ";")
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r == '+' {
			return r
		}
		return -1
	}, number)
}

// isName reports whether a user part holds a letter, and so is no number.
func isName(user string) bool {
	return strings.ContainsFunc(user, func(c rune) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' })
}

// Order sorts bindings into the order to try: those known to be reachable
// before suspects, then by q, then the newest first.
func Order(bindings []location.Binding) {
	slices.SortStableFunc(bindings, func(a, b location.Binding) int {
		return cmp.Or(cmp.Compare(a.State, b.State), cmp.Compare(b.Q, a.Q))
	})
}

// NextGroup cuts off the bindings that ring at the same time: those of the
// first one's state and q (RFC 3261 16.6).
func NextGroup(targets []location.Binding) (group, rest []location.Binding) {
	n := 0
	for n < len(targets) && targets[n].State == targets[0].State && targets[n].Q == targets[0].Q {
		n++
	}
	return targets[:n], targets[n:]
}
