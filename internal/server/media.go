package server

import (
	"onhook/internal/account"
	"onhook/internal/directory"
	"onhook/internal/routing"
	"onhook/internal/sdp"
	"onhook/internal/sip"
	"onhook/internal/sipproxy"
)

// media says what a request offers: audio also where it has no session
// description, since the streams come later in the call then, or one that nobody
// here can read.
func media(m *sip.Message) routing.Media {
	found := body(m).Media()
	return routing.Media{
		Audio: found.Audio || found.Opaque || !found.Described,
		Video: found.Video, Other: found.Other, Opaque: found.Opaque,
	}
}

func body(m *sip.Message) sdp.Body {
	b := sdp.Body{Bytes: m.Body}
	if len(m.Body) > 0 {
		b.Type, _ = m.Value(sip.ContentType)
		b.Encoding, _ = m.Value(sip.ContentEncoding)
	}
	return b
}

// permissions is what the endpoints of a call may exchange at this moment
// (sipproxy.Policy).
type permissions struct{ directory *directory.Directory }

// of returns an endpoint's flags. A party that is none of our endpoints may do
// everything, and one that exists no more nothing.
func (p permissions) of(id account.EndpointID) account.Permissions {
	if id == 0 {
		return account.Permissions{Voice: true, Message: true, Video: true}
	}
	e, ok := p.directory.ByID(id)
	if !ok || !e.Enabled {
		return account.Permissions{}
	}
	return e.Allow
}

// Request judges a request within a call by what both sides may do now.
func (p permissions) Request(m *sip.Message, caller, callee account.EndpointID) *sipproxy.Refusal {
	offered := routing.Media{}
	switch m.Method {
	case sip.MESSAGE:
	case sip.INVITE:
		offered = media(m)
	case sip.UPDATE:
		if found := body(m).Media(); !found.Described && !found.Opaque {
			return nil
		}
		offered = media(m)
	default:
		return nil
	}
	if status, reason, sentence := routing.Forbidden(m.Method, offered, p.of(caller), "The calling endpoint"); status != 0 {
		return &sipproxy.Refusal{Status: status, Reason: reason, Sentence: sentence}
	}
	if status, reason, sentence := routing.Forbidden(m.Method, offered, p.of(callee), "The called endpoint"); status != 0 {
		return &sipproxy.Refusal{Status: status, Reason: reason, Sentence: sentence}
	}
	return nil
}

// Answer refuses a call of which its 2xx leaves nothing but video, where one side
// may not use it: a late offer, or an answer that takes nothing else.
func (p permissions) Answer(m *sip.Message, caller, callee account.EndpointID) *sipproxy.Refusal {
	found := body(m).Media()
	if !found.Video || found.Audio || found.Other || p.of(caller).Video && p.of(callee).Video {
		return nil
	}
	return &sipproxy.Refusal{Status: 488, Reason: "permission.allow_video", Sentence: "One side may not use video, and the call has nothing else"}
}

// Body returns the body with which a message that carries an offer or an answer
// goes on: without the video streams where one side may not use video (RFC 3264
// 6), in an answer as in an offer, so that both always agree. A description that
// cannot be read might hold video, and does not pass there at all. A PRACK cannot
// be refused (RFC 3262 5), so the audio streams that it may not have go the same
// way.
func (p permissions) Body(m *sip.Message, caller, callee account.EndpointID) []byte {
	b := body(m)
	found := b.Media()
	prack := m.Method == sip.PRACK
	if !found.Video && !found.Opaque && !(found.Audio && prack) {
		return m.Body
	}
	one, other := p.of(caller), p.of(callee)
	var forbidden []string
	if !one.Video || !other.Video {
		forbidden = append(forbidden, sdp.Video)
	}
	if prack && (!one.Voice || !other.Voice) {
		forbidden = append(forbidden, sdp.Audio)
	}
	switch {
	case len(forbidden) == 0:
		return m.Body
	case found.Opaque:
		return nil
	}
	return b.Refuse(forbidden...)
}
