package registrar

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strconv"
	"time"

	"onhook/internal/location"
	"onhook/internal/sip"
	"onhook/internal/sipgruu"
)

// newTag makes the To tag of the reply.
func (g *registration) newTag() {
	var raw [8]byte
	binary.LittleEndian.PutUint64(raw[:], rand.Uint64())
	hex.Encode(g.tag[:], raw[:])
}

// begin writes a response up to CSeq and remembers where its parts are.
func (g *registration) begin(status int) {
	g.buf = sip.AppendReply(g.buf[:0], g.req, g.flow.Remote, status, "", view(g.tag[:]))
	g.common = bytes.IndexByte(g.buf, '\n') + 1
	g.special = len(g.buf)
}

// refuse answers anything but 200 and ends the registration.
func (g *registration) refuse(refused *refusal) {
	g.begin(refused.status)
	switch refused {
	case errExtension:
		g.buf = g.appendUnsupported(g.buf)
	case errBrief:
		g.buf = sip.AppendNumber(g.buf, sip.MinExpires, g.r.min)
	case errUnavailable:
		g.buf = g.appendRetryAfter(g.buf)
	}
	if refused.reason != "" && g.aor.Domain != "" {
		g.buf = append(g.buf, "Warning: 399 "...)
		g.buf = append(g.buf, g.aor.Domain...)
		g.buf = append(g.buf, " \""...)
		g.buf = append(g.buf, refused.reason...)
		g.buf = append(g.buf, "\"\r\n"...)
	}
	g.buf = sip.AppendBody(g.buf, nil)
	g.respond(refused.status)
}

func (g *registration) respond(status int) {
	g.reply.Respond(status, g.buf)
	g.release()
}

// appendUnsupported lists the required options we do not know (RFC 3261
// 8.2.2.3).
func (g *registration) appendUnsupported(dst []byte) []byte {
	separator := "Unsupported: "
	for c := g.req.Values(sip.Require); c.Next(); {
		if !g.r.supported(c.Value) {
			dst = append(dst, separator...)
			dst = append(dst, c.Value...)
			separator = ", "
		}
	}
	return append(dst, "\r\n"...)
}

// appendRetryAfter spreads those who were refused together.
func (g *registration) appendRetryAfter(dst []byte) []byte {
	return sip.AppendNumber(dst, sip.RetryAfter, g.r.retryAfter+rand.Uint32N(g.r.retryAfter+1))
}

// renderOK writes the 200, which lists all bindings (RFC 3261 10.3 step 8).
func (g *registration) renderOK(s *location.Set) {
	g.begin(200)
	for i := len(s.Bindings) - 1; i >= 0; i-- {
		g.buf = g.appendContact(g.buf, &s.Bindings[i], s.Now)
	}
	if g.path != "" && g.req.HasOption(sip.Supported, "path") {
		g.buf = sip.AppendHeader(g.buf, sip.Path, g.path) // RFC 3327 5.3
	}
	if g.r.cfg.ServiceRoute != nil {
		g.buf = append(g.buf, "Service-Route: <"...) // RFC 3608 6.3
		g.buf = g.r.cfg.ServiceRoute(g.buf, g.flow)
		g.buf = append(g.buf, ">\r\n"...)
	}
	if g.outbound {
		g.buf = sip.AppendHeader(g.buf, sip.Require, "outbound") // RFC 5626 6
	}
	if g.keptAlive && g.r.flowTimer > 0 {
		g.buf = sip.AppendNumber(g.buf, sip.FlowTimer, g.flowTimer()) // RFC 5626 6
	}
	g.buf = append(g.buf, "Supported: path, outbound"...)
	if g.r.cfg.GRUUs != nil {
		g.buf = append(g.buf, ", gruu"...)
	}
	g.buf = append(g.buf, "\r\n"...)
	g.buf = append(g.buf, g.r.date.field(s.Now)...)
	g.buf = sip.AppendBody(g.buf, nil)
	g.req = nil // not ours any more once Edit has returned
}

// udpFlowTimer is the longest a NAT can be trusted to remember (RFC 5626 4.4.2).
const udpFlowTimer = 30

func (g *registration) flowTimer() uint32 {
	if g.flow.Transport.Reliable() {
		return g.r.flowTimer
	}
	return min(g.r.flowTimer, udpFlowTimer)
}

func (g *registration) appendContact(dst []byte, b *location.Binding, now time.Time) []byte {
	dst = append(dst, "Contact: <"...)
	dst = append(dst, b.Contact...)
	dst = append(dst, '>')
	dst = append(dst, b.Params...)
	if g.gruu && b.InstanceID != "" { // RFC 5627 5.2
		dst = append(dst, ";pub-gruu=\""...)
		dst = sipgruu.AppendPublic(dst, g.aor.Username, g.aor.Domain, b.InstanceID)
		dst = append(dst, '"')
		if b.GRUUs != 0 {
			dst = append(dst, ";temp-gruu=\""...)
			dst = g.r.cfg.GRUUs.AppendTemporary(dst, g.aor.Domain, g.aor.Key, b)
			dst = append(dst, '"')
		}
	}
	if b.Q != 1000 {
		dst = append(dst, ";q=0."...)
		dst = append(dst, byte('0'+b.Q/100), byte('0'+b.Q/10%10), byte('0'+b.Q%10))
	}
	dst = append(dst, ";expires="...)
	left := (b.Expires.Sub(now) + time.Second - 1) / time.Second
	dst = strconv.AppendInt(dst, int64(left), 10)
	return append(dst, "\r\n"...)
}

// Committed sends the reply: the 200 when the change is durable, else 503. The
// request is gone by then, so the 503 is made from the parts of the 200 that
// both share.
func (g *registration) Committed(err error) {
	if err == nil {
		if g.keptAlive && g.r.flowTimer > 0 && g.r.cfg.Watch != nil && g.flow.Transport.Reliable() {
			g.r.cfg.Watch(g.flow)
		}
		g.respond(200)
		return
	}
	common := g.buf[g.common:g.special]
	msg := sip.AppendStatusLine(make([]byte, 0, len(common)+128), 503, "")
	msg = append(msg, common...)
	msg = g.appendRetryAfter(msg)
	g.buf = sip.AppendBody(msg, nil)
	g.respond(503)
}
