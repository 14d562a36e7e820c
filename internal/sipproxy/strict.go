package sipproxy

import (
	"strings"

	"onhook/internal/sip"
)

// FromStrictRouter undoes what a strict router has done to a request within a
// dialog: it has put the Route that is ours, with its cookie, into the Request-URI,
// and the Request-URI behind the Routes. The request comes back as if it had come
// from a loose router; any other one comes back as it is.
//
// RFC 3261 16.4: the last Route becomes the Request-URI again.
func (p *Proxy) FromStrictRouter(m *sip.Message) *sip.Message {
	if m.To.Tag() == "" || !m.Target.Params.Has(CookieParam) || !p.Ours(m.Target.Host, m.Target.Port) {
		return m
	}
	var routes []string
	for c := m.Values(sip.Route); c.Next(); {
		routes = append(routes, c.Value)
	}
	if len(routes) == 0 {
		return m
	}
	last, err := sip.ParseNameAddr(routes[len(routes)-1])
	if err != nil {
		return m
	}
	routes[len(routes)-1] = "<" + m.RequestURI + ">"
	ours := len(routes) - 1 // it goes back to the top
	b := sip.AppendRequestLine(make([]byte, 0, len(m.Bytes())+64), m.Method, last.URI)
	b = sip.AppendHeader(b, sip.Route, routes[ours])
	for _, r := range routes[:ours] {
		b = sip.AppendHeader(b, sip.Route, r)
	}
	for i := range m.Headers {
		if h := &m.Headers[i]; h.ID != sip.Route && h.ID != sip.ContentLength {
			b = sip.AppendField(b, h.Name, h.Value)
		}
	}
	loose := &sip.Message{}
	if loose.Parse(sip.AppendBody(b, m.Body)) != nil {
		return m
	}
	return loose
}

// toStrictRouter prepares a request whose next hop is a strict router: its first
// Route names it without lr. That becomes the Request-URI, which goes behind the
// other Routes; last is "" for any other request.
//
// RFC 3261 16.6 step 6.
func toStrictRouter(uri string, first string) (next, last string) {
	na, err := sip.ParseNameAddr(first)
	if err != nil {
		return uri, ""
	}
	u, err := sip.ParseURI(na.URI)
	if err != nil || !u.IsSIP() || u.Params.Has("lr") {
		return uri, ""
	}
	return na.URI, "<" + uri + ">"
}

// splitRoutes parts a list of Route values that we have joined.
func splitRoutes(routes string) (first, rest string) {
	first, rest, _ = strings.Cut(routes, ">, ")
	if rest != "" {
		first += ">"
	}
	return first, rest
}
