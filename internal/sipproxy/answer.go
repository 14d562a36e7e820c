package sipproxy

import (
	"strconv"

	"onhook/internal/sip"
)

// answer is a final response: a device's, or one of our own.
type answer struct {
	score int
	resp  *sip.Message // nil for one of our own
	status,
	code int // what the device said, before translation
	reason, sentence string
	cause            error // why there is no response
	followed         bool  // every Contact of the 3xx is tried: it goes to nobody
}

// Scores of final responses: the lowest is passed on (RFC 3261 16.7 step 6).
const (
	scoreDecline   = 1   // 6xx
	scoreRedirect  = 300 // 3xx
	scoreWanted    = 400 // 4xx that help the caller to do better
	scoreNoAnswer  = 405 // Timer C: before the 487 that our CANCEL brings
	scoreClient    = 410
	scoreTimeout   = 420 // 408 says least
	scoreServer    = 500
	scoreLocal     = 900 // no device said it: anything a device says is better
	scoreLoop      = 940 // what a redirection ends with that leads back
	scoreCancelled = 950
)

// rate judges a device's final response.
func rate(resp *sip.Message) answer {
	a := answer{resp: resp.Clone(), status: resp.Status, code: resp.Status}
	switch s := resp.Status; {
	case s >= 600:
		a.score = scoreDecline
	case s >= 500:
		a.score = scoreServer
		if s == 503 { // 16.7 step 6: it speaks of one device, not of us
			a.status = 500
		}
	case s == 401, s == 407, s == 415, s == 420, s == 484:
		a.score = scoreWanted
	case s == 408:
		a.score = scoreTimeout
	case s >= 400:
		a.score = scoreClient
	default:
		a.score = scoreRedirect
	}
	return a
}

// withoutChallenges drops the challenges of the one response: those of all
// responses are put in instead.
func withoutChallenges(resp *sip.Message) *sip.Message {
	kept := *resp
	kept.Headers = nil
	for _, h := range resp.Headers {
		if h.ID != sip.WWWAuthenticate && h.ID != sip.ProxyAuthenticate {
			kept.Headers = append(kept.Headers, h)
		}
	}
	return &kept
}

// AppendRefusal writes a whole response of this server's to req, with its
// reason as Warning and X-Onhook-Reason where there is one.
func AppendRefusal(dst []byte, req *sip.Message, source sip.Flow, status int, toTag, domain, reason, sentence string) []byte {
	dst = sip.AppendReply(dst, req, source.Remote, status, "", toTag)
	if reason != "" {
		dst = AppendReason(dst, domain, reason, sentence)
	}
	return sip.AppendBody(dst, nil)
}

// AppendReason writes the Warning and the code that a refusal carries (RFC 3261
// 20.43).
func AppendReason(dst []byte, domain, reason, sentence string) []byte {
	dst = sip.AppendHeader(dst, sip.Warning, "399 "+domain+" "+strconv.Quote(sentence))
	return sip.AppendField(dst, ReasonHeader, reason)
}

// ReasonHeader carries the code of a refusal.
const ReasonHeader = "X-Onhook-Reason"
