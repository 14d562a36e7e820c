package registrar

import (
	"strconv"
	"strings"
	"unsafe"

	"onhook/internal/sip"
	"onhook/internal/sipgruu"
)

// Bounds of what a device may make us keep. Ordinary values are a tenth of
// them.
const (
	maxContactSize = 2048 // URI and parameters
	maxPathSize    = 2048
	maxCallIDSize  = 512
	maxUserAgent   = 256 // longer ones are cut
	maxInRequest   = 64  // Contact values of one request
)

// registration is one REGISTER on its way, pooled. It is the location.Editor
// of its own change.
type registration struct {
	r     *Registrar
	req   *sip.Message // until Edit has returned
	flow  sip.Flow
	aor   AOR
	reply Replier

	contacts []contact
	star     bool   // Contact: *
	path     string // Path values joined
	outbound bool   // RFC 5626 applies
	gruu     bool   // the device asks for GRUUs
	previous bool   // its password is the one before

	keptAlive bool // the request registers a flow with us, and no edge proxy
	tag       [16]byte
	scratch   []byte // what path and contact.params point into

	buf     []byte // the response
	common  int    // where Via, From, To, Call-ID, CSeq begin in buf
	special int    // and where they end
}

// contact is one Contact value of the request.
type contact struct {
	raw      string // the URI as written
	uri      sip.URI
	params   string // as location.Binding.Params
	instance string
	regID    uint32
	q        uint16
	expires  uint32 // seconds granted; 0 removes
}

// refusal is why a request changes nothing.
type refusal struct {
	status int
	reason string // for the Warning, "" for none
}

func (e *refusal) Error() string { return strconv.Itoa(e.status) + " " + e.reason }

var (
	errExtension   = &refusal{420, ""}
	errBrief       = &refusal{423, ""}
	errOutbound    = &refusal{439, ""}
	errUnavailable = &refusal{503, ""}
	errOrder       = &refusal{500, "CSeq is not higher than that of an earlier REGISTER with this Call-ID"}
	errCredentials = &refusal{403, "The credentials have just changed"}
	errStar        = &refusal{400, "Contact: * stands alone and with Expires: 0"}
	errContact     = &refusal{400, "Contact URI is malformed"}
	errContacts    = &refusal{400, "Too many Contact values"}
	errRegID       = &refusal{400, "A Contact with reg-id stands alone"}
	errGRUU        = &refusal{403, "A GRUU is no Contact to be registered"}
	errTooLong     = &refusal{400, "Contact, Path or Call-ID is too long"}
)

// read looks at the request without the bindings: RFC 3261 10.3 steps 2 and 6.
func (g *registration) read() *refusal {
	for c := g.req.Values(sip.Require); c.Next(); {
		if !g.r.supported(c.Value) {
			return errExtension
		}
	}
	if len(g.req.CallID) > maxCallIDSize {
		return errTooLong
	}
	if refused := g.readPath(); refused != nil {
		return refused
	}
	if refused := g.readContacts(); refused != nil {
		return refused
	}
	if refused := g.readOutbound(); refused != nil {
		return refused
	}
	if g.r.cfg.GRUUs != nil {
		g.gruu = g.req.HasOption(sip.Supported, "gruu") || g.req.HasOption(sip.Require, "gruu")
	}
	for i := range g.contacts {
		// RFC 3261 10.3 step 7: an interval that is too short, but not 0, gets 423.
		if e := g.contacts[i].expires; e > 0 && e < g.r.min {
			return errBrief
		}
		g.contacts[i].expires = min(g.contacts[i].expires, g.r.max)
	}
	return nil
}

// supported reports whether we know an option that a REGISTER may require.
func (r *Registrar) supported(option string) bool {
	return strings.EqualFold(option, "path") || strings.EqualFold(option, "outbound") ||
		r.cfg.GRUUs != nil && strings.EqualFold(option, "gruu")
}

// readPath joins the Path values (RFC 3327 5.3).
func (g *registration) readPath() *refusal {
	if !g.req.Has(sip.Path) {
		return nil
	}
	start := len(g.scratch)
	for c := g.req.Values(sip.Path); c.Next(); {
		if len(g.scratch) > start {
			g.scratch = append(g.scratch, ", "...)
		}
		g.scratch = append(g.scratch, c.Value...)
	}
	g.path = view(g.scratch[start:])
	if len(g.path) > maxPathSize {
		return errTooLong
	}
	return nil
}

func (g *registration) readContacts() *refusal {
	byHeader, header := g.req.Number(sip.Expires)
	if !header {
		byHeader = g.r.byDefault
	}
	for c := g.req.Values(sip.Contact); c.Next(); {
		// RFC 3261 10.3 step 6: * removes all, stands alone, and only with Expires: 0.
		if g.star || c.Value == "*" && len(g.contacts) > 0 {
			return errStar
		}
		if c.Value == "*" {
			if !header || byHeader != 0 {
				return errStar
			}
			g.star = true
			continue
		}
		if len(g.contacts) == maxInRequest {
			return errContacts
		}
		if len(c.Value) > maxContactSize {
			return errTooLong
		}
		one, ok := g.readContact(c.Value, byHeader)
		if !ok {
			return errContact
		}
		// RFC 5627 5.1: a binding to one of our own GRUUs would lead back here.
		if sipgruu.Is(one.uri) && strings.EqualFold(one.uri.Host, g.aor.Domain) {
			return errGRUU
		}
		g.contacts = append(g.contacts, one)
	}
	return nil
}

// readContact reads one Contact value. RFC 3261 10.2.1: any URI scheme may be
// registered; what nobody can dial is for the router to pass over.
func (g *registration) readContact(value string, expires uint32) (c contact, ok bool) {
	a, err := sip.ParseNameAddr(value)
	if err != nil {
		return c, false
	}
	c.raw, c.expires, c.q = a.URI, expires, 1000
	if c.uri, err = sip.ParseURI(a.URI); err != nil {
		return c, false
	}
	start := len(g.scratch)
	for rest := a.Params; ; {
		name, v, more, ok := rest.Next()
		if !ok {
			break
		}
		rest = more
		switch {
		case strings.EqualFold(name, "expires"):
			c.expires, _ = a.Expires() // RFC 3261 20.10 says what a malformed one counts as
			continue
		case strings.EqualFold(name, "q"):
			c.q = sip.QValue(v)
			continue
		case strings.EqualFold(name, "pub-gruu"), strings.EqualFold(name, "temp-gruu"):
			continue // ours to say (RFC 5627 5.2)
		case strings.EqualFold(name, "reg-id"):
			if n, err := strconv.ParseUint(v, 10, 31); err == nil {
				c.regID = uint32(n)
			}
		}
		g.scratch = append(g.scratch, ';')
		g.scratch = append(g.scratch, name...)
		if v != "" {
			g.scratch = append(g.scratch, '=')
			g.scratch = append(g.scratch, v...)
		}
	}
	c.params = view(g.scratch[start:])
	if v, ok := sip.Params(c.params).Get("+sip.instance"); ok {
		c.instance = strings.TrimSuffix(strings.TrimPrefix(strings.Trim(v, `"`), "<"), ">")
	}
	return c, true
}

// readOutbound decides whether RFC 5626 applies, which is so when the device
// asks for it and reached us directly or through an edge proxy that takes part.
func (g *registration) readOutbound() *refusal {
	wants := g.req.HasOption(sip.Supported, "outbound") || g.req.HasOption(sip.Require, "outbound")
	for i := range g.contacts {
		c := &g.contacts[i]
		if c.regID != 0 && (c.instance == "" || !wants) {
			c.regID = 0 // RFC 5626 6: without an instance it means nothing
		}
		if c.regID == 0 {
			continue
		}
		if !g.firstHop() {
			return errOutbound // RFC 5626 6: 439 when the first hop lacks outbound
		}
		g.outbound = true
		if c.expires == 0 {
			continue
		}
		g.keptAlive = g.path == ""
		// RFC 5626 6: one instance over one flow; others may only be removed along with it.
		for j := range g.contacts {
			if j != i && g.contacts[j].expires != 0 {
				return errRegID
			}
		}
	}
	return nil
}

// firstHop reports whether nobody stands between the device and us, or an edge
// proxy whose Path says ;ob.
func (g *registration) firstHop() bool {
	hops := 0
	for c := g.req.Values(sip.Via); c.Next(); {
		hops++
	}
	if hops <= 1 {
		return true
	}
	for c := g.req.Values(sip.Path); c.Next(); {
		if a, err := sip.ParseNameAddr(c.Value); err == nil {
			if u, err := sip.ParseURI(a.URI); err == nil && u.Params.Has("ob") {
				return true
			}
		}
	}
	return false
}

// userAgent returns the User-Agent, cut to what is kept.
func (g *registration) userAgent() string {
	ua, _ := g.req.Value(sip.UserAgent)
	if len(ua) <= maxUserAgent {
		return ua
	}
	end := maxUserAgent
	for end > 0 && ua[end]&0xC0 == 0x80 { // not in the middle of a UTF-8 character
		end--
	}
	return ua[:end]
}

// view returns b as a string; b is not written to again while it is used.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
