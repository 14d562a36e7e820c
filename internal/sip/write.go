package sip

import (
	"net/netip"
	"strconv"
)

// The Append functions write into a buffer of the caller's and allocate only
// when it is too small.

// AppendRequestLine writes "METHOD uri SIP/2.0".
func AppendRequestLine(dst []byte, method Method, uri string) []byte {
	dst = append(dst, method...)
	dst = append(dst, ' ')
	dst = append(dst, uri...)
	return append(dst, " SIP/2.0\r\n"...)
}

// AppendStatusLine writes "SIP/2.0 code reason"; an empty reason becomes the
// usual phrase.
func AppendStatusLine(dst []byte, status int, reason string) []byte {
	if reason == "" {
		reason = ReasonPhrase(status)
	}
	dst = append(dst, "SIP/2.0 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	dst = append(dst, reason...)
	return append(dst, "\r\n"...)
}

// AppendHeader writes one header field under its canonical name.
func AppendHeader(dst []byte, id HeaderID, value string) []byte {
	return AppendField(dst, id.String(), value)
}

// AppendField writes one header field under the name given.
func AppendField(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

// AppendNumber writes one numeric header field.
func AppendNumber(dst []byte, id HeaderID, n uint32) []byte {
	dst = append(dst, id.String()...)
	dst = append(dst, ": "...)
	dst = strconv.AppendUint(dst, uint64(n), 10)
	return append(dst, "\r\n"...)
}

// AppendBody ends the header with Content-Length and writes the body. The
// caller has written no Content-Length.
func AppendBody(dst []byte, body []byte) []byte {
	dst = AppendNumber(dst, ContentLength, uint32(len(body)))
	dst = append(dst, "\r\n"...)
	return append(dst, body...)
}

// AppendReply writes the beginning of a response to req: status line, Via,
// From, To, Call-ID, CSeq, and Timestamp where it is a 100 (RFC 3261 8.2.6).
// toTag is added to a To that has none, unless it is empty. source is where
// the request came from, for received and rport in the topmost Via. Further
// fields and AppendBody follow.
func AppendReply(dst []byte, req *Message, source netip.AddrPort, status int, reason, toTag string) []byte {
	dst = AppendStatusLine(dst, status, reason)
	top := true
	for i := range req.Headers {
		if h := &req.Headers[i]; h.ID == Via {
			if top {
				dst = AppendViaReceived(dst, req, source)
				top = false
				continue
			}
			dst = AppendHeader(dst, Via, h.Value)
		}
	}
	dst = appendCopy(dst, req, From)
	if to, ok := req.Value(To); ok && toTag != "" && (req.To.Params == "" || !req.To.Params.Has("tag")) {
		dst = append(dst, "To: "...)
		dst = append(dst, to...)
		dst = append(dst, ";tag="...)
		dst = append(dst, toTag...)
		dst = append(dst, "\r\n"...)
	} else {
		dst = appendCopy(dst, req, To)
	}
	dst = appendCopy(dst, req, CallID)
	dst = appendCopy(dst, req, CSeq)
	if status == 100 {
		dst = appendCopy(dst, req, Timestamp)
	}
	return dst
}

// appendCopy copies a field of the request that may be missing.
func appendCopy(dst []byte, req *Message, id HeaderID) []byte {
	if v, ok := req.Value(id); ok {
		dst = AppendHeader(dst, id, v)
	}
	return dst
}

// AppendViaReceived writes the first Via line of a received request as it has
// to stand in responses and in the forwarded request: its topmost value gets
// received (RFC 3261 18.2.1) and a filled rport (RFC 3581 4). Further values
// of the same line follow it.
func AppendViaReceived(dst []byte, req *Message, source netip.AddrPort) []byte {
	line, _ := req.Value(Via)
	top, rest, _, _ := nextValue(line)
	dst = append(dst, "Via: "...)
	wantsPort := req.Via.rport
	if !source.IsValid() || !wantsPort && !req.Via.received && sameHost(req.Via.Host, source.Addr()) {
		dst = append(dst, top...)
	} else {
		params := req.Via.Params
		head := top[:len(top)-len(params)]
		dst = append(dst, trim(head)...)
		for {
			name, value, more, ok := params.Next()
			if !ok {
				break
			}
			params = more
			if isReceivedParam(name) { // received and rport are ours to say
				continue
			}
			dst = append(dst, ';')
			dst = append(dst, name...)
			if value != "" {
				dst = append(dst, '=')
				dst = append(dst, value...)
			}
		}
		// RFC 3581 4: with rport, received is added even where it says nothing new.
		dst = append(dst, ";received="...)
		dst = source.Addr().Unmap().WithZone("").AppendTo(dst)
		if wantsPort {
			dst = append(dst, ";rport="...)
			dst = strconv.AppendUint(dst, uint64(source.Port()), 10)
		}
	}
	if rest != "" {
		dst = append(dst, ", "...)
		dst = append(dst, rest...)
	}
	return append(dst, "\r\n"...)
}

func sameHost(host string, source netip.Addr) bool {
	addr, ok := ParseHostAddr(host)
	return ok && addr.Unmap() == source.Unmap()
}

// AppendAddrPort writes "host:port" with IPv6 in brackets.
func AppendAddrPort(dst []byte, a netip.AddrPort) []byte {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port()).AppendTo(dst)
}

func isReceivedParam(name string) bool {
	return equalFold(name, "received") || equalFold(name, "rport")
}
