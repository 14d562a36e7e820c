package sipproxy

import (
	"strconv"
	"strings"

	"onhook/internal/sip"
)

// rewrite is a request on its way out (RFC 3261 16.6): what is copied and what
// is changed.
type rewrite struct {
	req        *sip.Message
	source     sip.Flow // where req came from
	flow       sip.Flow // where it goes
	uri        string
	branch     string
	hops       uint32
	breadth    uint32  // Max-Breadth, 0 for the one that came
	skipRoutes int     // Route values of ours at the top
	path       string  // Path of the binding, becomes Route (RFC 3327 5.3)
	record     *cookie // nil: not record-routed
	identity   string  // address-of-record to assert, "" for none
	call       string  // X-Onhook-Call-Id, "" for none
	loopMark   string  // goes to the end of the branch
	asserted   bool    // the P-Asserted-Identity that came is kept (RFC 3325 5)
	from       string  // replaces From, "" for nothing
	cseq       uint32  // added to the CSeq
	extra      []byte  // whole header fields to put in
}

// CallIDHeader tells our endpoints the UUID of a call.
const CallIDHeader = "X-Onhook-Call-Id"

// append writes the whole request.
func (w *rewrite) append(p *Proxy, dst []byte) []byte {
	uri, last := w.nextURI()
	dst = sip.AppendRequestLine(dst, w.req.Method, uri)
	dst = w.appendVia(p, dst)
	if w.record != nil {
		dst = w.appendRecordRoute(p, dst)
	}
	dst = append(dst, "Max-Forwards: "...)
	dst = strconv.AppendUint(dst, uint64(w.hops), 10)
	dst = append(dst, "\r\n"...)
	if w.breadth != 0 {
		dst = sip.AppendNumber(dst, sip.MaxBreadth, w.breadth)
	}
	dst = w.appendRoutes(dst, last)
	via := false
	for i := range w.req.Headers {
		switch h := &w.req.Headers[i]; h.ID {
		case sip.Via:
			if !via {
				dst, via = sip.AppendViaReceived(dst, w.req, w.source.Remote), true
				continue
			}
			dst = sip.AppendHeader(dst, sip.Via, h.Value)
		case sip.MaxForwards, sip.Route, sip.ContentLength:
		case sip.MaxBreadth:
			if w.breadth == 0 {
				dst = sip.AppendField(dst, h.Name, h.Value)
			}
		case sip.PAssertedIdentity:
			if w.asserted {
				dst = sip.AppendField(dst, h.Name, h.Value)
			}
		case sip.From, sip.CSeq, sip.RAck:
			dst = w.appendChanged(dst, h)
		case sip.ProxyAuthorization: // RFC 3261 22.3: what is for us ends here
			if d, err := sip.ParseDigest(h.Value); err != nil || !p.Ours(d.Realm, 0) {
				dst = sip.AppendField(dst, h.Name, h.Value)
			}
		default:
			if h.ID != sip.OtherHeader || !strings.EqualFold(h.Name, CallIDHeader) {
				dst = sip.AppendField(dst, h.Name, h.Value)
			}
		}
	}
	if w.identity != "" && !private(w.req) {
		dst = sip.AppendHeader(dst, sip.PAssertedIdentity, "<"+w.identity+">")
	}
	if w.call != "" {
		dst = sip.AppendField(dst, CallIDHeader, w.call)
	}
	dst = append(dst, w.extra...)
	return sip.AppendBody(dst, w.req.Body)
}

// appendChanged writes a field that a trunk may get another way than it came.
func (w *rewrite) appendChanged(dst []byte, h *sip.Header) []byte {
	switch {
	case h.ID == sip.From && w.from != "":
		return sip.AppendField(dst, h.Name, w.from)
	case h.ID == sip.CSeq && w.cseq != 0:
		return appendCSeq(dst, w.req.CSeq+w.cseq, w.req.CSeqMethod)
	case h.ID == sip.RAck && w.cseq != 0:
		// RFC 3262 7.2: RSeq, and the CSeq of the request it acknowledges.
		if f := strings.Fields(h.Value); len(f) == 3 {
			if n, err := strconv.ParseUint(f[1], 10, 32); err == nil {
				return sip.AppendField(dst, h.Name, f[0]+" "+strconv.FormatUint(n+uint64(w.cseq), 10)+" "+f[2])
			}
		}
	}
	return sip.AppendField(dst, h.Name, h.Value)
}

func appendCSeq(dst []byte, n uint32, method string) []byte {
	dst = append(dst, "CSeq: "...)
	dst = strconv.AppendUint(dst, uint64(n), 10)
	dst = append(append(dst, ' '), method...)
	return append(dst, "\r\n"...)
}

// private reports whether the caller's identity is not to be asserted (RFC 3325
// 9.3). The values are parted by semicolons (RFC 3323 4.2).
func private(req *sip.Message) bool {
	for c := req.Values(sip.Privacy); c.Next(); {
		for value := range strings.SplitSeq(c.Value, ";") {
			if strings.EqualFold(strings.TrimSpace(value), "id") {
				return true
			}
		}
	}
	return false
}

func (w *rewrite) appendVia(p *Proxy, dst []byte) []byte {
	dst = append(dst, "Via: SIP/2.0/"...)
	dst = append(dst, w.flow.Transport.String()...)
	dst = append(dst, ' ')
	dst = append(dst, p.Transport.SentBy(w.flow)...)
	dst = append(dst, ";branch="...)
	dst = append(dst, w.branch...)
	return append(dst, "\r\n"...)
}

// appendRecordRoute writes one Record-Route, or two where the request leaves by
// another transport or listener than it came by, one facing each side (RFC
// 5658).
func (w *rewrite) appendRecordRoute(p *Proxy, dst []byte) []byte {
	var buf [256]byte
	sealed := p.sealer.seal(buf[:0], w.record)
	secure := w.req.Target.Is("sips")
	dst = appendRoute(dst, p, w.flow, secure, sealed)
	if w.flow.Transport != w.source.Transport || w.flow.Listener != w.source.Listener {
		dst = appendRoute(dst, p, w.source, secure, sealed)
	}
	return dst
}

// appendRoute writes one. RFC 3261 16.6 step 4: it is a sips: where the request
// goes to one, and its transport is what runs over TLS then (26.2.2).
func appendRoute(dst []byte, p *Proxy, facing sip.Flow, secure bool, sealed []byte) []byte {
	transport := facing.Transport
	scheme := "Record-Route: <sip:"
	if secure && transport.Secure() {
		scheme = "Record-Route: <sips:"
		if transport == sip.TLS {
			transport = sip.TCP
		}
	}
	if transport == sip.WSS {
		transport = sip.WS // RFC 7118 knows transport=ws alone; the browser keeps its connection anyway
	}
	dst = append(dst, scheme...)
	dst = append(dst, p.Transport.SentBy(facing)...)
	dst = append(dst, ";transport="...)
	dst = append(dst, transport.Param()...)
	dst = append(dst, ";lr;"+CookieParam+"="...)
	dst = append(dst, sealed...)
	return append(dst, ">\r\n"...)
}

// appendRoutes writes the Route values that are left: those of the binding's
// Path, then the request's own without ours. With last, the first one stands in
// the Request-URI.
func (w *rewrite) appendRoutes(dst []byte, last string) []byte {
	if w.path != "" {
		dst = sip.AppendHeader(dst, sip.Route, w.path)
	}
	n, skip := 0, w.skipRoutes
	if last != "" {
		skip++
	}
	for c := w.req.Values(sip.Route); c.Next(); n++ {
		if n >= skip {
			dst = sip.AppendHeader(dst, sip.Route, c.Value)
		}
	}
	if last != "" {
		dst = sip.AppendHeader(dst, sip.Route, last)
	}
	return dst
}

// nextURI is the Request-URI to send, and what goes behind the Routes then, see
// toStrictRouter.
func (w *rewrite) nextURI() (uri, last string) {
	if w.path != "" {
		return w.uri, ""
	}
	n := 0
	for c := w.req.Values(sip.Route); c.Next(); n++ {
		if n == w.skipRoutes {
			return toStrictRouter(w.uri, c.Value)
		}
	}
	return w.uri, ""
}

// maxForwards returns the hops a request has left; one that does not say gets
// the usual 70 (RFC 3261 16.6 step 3).
func maxForwards(req *sip.Message) uint32 {
	if n, ok := req.Number(sip.MaxForwards); ok {
		return n
	}
	return 70
}

// appendResponse writes a response as it goes on upstream (RFC 3261 16.7):
// without our Via, and with this body. extra is whole header fields to put in.
func appendResponse(dst []byte, resp *sip.Message, status int, extra, body []byte, back *restore) []byte {
	reason := resp.Reason
	if status != resp.Status {
		reason = ""
	}
	dst = sip.AppendStatusLine(dst, status, reason)
	n := 0
	for c := resp.Values(sip.Via); c.Next(); n++ {
		if n > 0 {
			dst = sip.AppendHeader(dst, sip.Via, c.Value)
		}
	}
	for i := range resp.Headers {
		switch h := &resp.Headers[i]; h.ID {
		case sip.Via, sip.PAssertedIdentity, sip.ContentLength:
		case sip.From, sip.CSeq:
			dst = back.append(dst, h, resp)
		default:
			dst = sip.AppendField(dst, h.Name, h.Value)
		}
	}
	dst = append(dst, extra...)
	return sip.AppendBody(dst, body)
}
