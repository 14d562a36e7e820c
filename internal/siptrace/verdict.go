package siptrace

import (
	"bytes"
	"strconv"
	"time"
)

// Outcome says how an attempt ended.
type Outcome string

// The outcomes.
const (
	Pending   Outcome = "pending" // no end was seen yet
	Succeeded Outcome = "succeeded"
	Failed    Outcome = "failed"
)

// Verdict is what became of an attempt.
type Verdict struct {
	Outcome  Outcome
	Reason   string // a code such as bad_digest; "" when it succeeded or nothing is known
	Sentence string
}

const (
	// ackTime is how long a caller may take to acknowledge a 200 before its
	// silence means something; it is repeated from the first half second on.
	ackTime = 5 * time.Second
	// answerTime is how long a request may be without any final answer (RFC 3261
	// 17.1.2.2, 64*T1), how long a phone may take to answer a challenge.
	answerTime = 32 * time.Second
)

// judge reads an attempt's messages. The last final response to the caller says
// how it ended, that which begins a call before those within it. untold is why the
// caller was refused without a reason.
func judge(kind Kind, entries []entry, untold string, now time.Time) Verdict {
	first := entries[0]
	request, answer := lastExchange(entries)
	switch {
	case answer == nil && now.Sub(first.at) > answerTime && kind != Call:
		return Verdict{Failed, "timeout", "There was no final answer"}
	case answer == nil:
		return Verdict{Pending, "", ""}
	case challenged(answer.text):
		return judgeChallenge(request, answer, now)
	case status(answer.text) >= 300:
		return judgeRefusal(answer.text, untold)
	case kind == Call:
		return judgeCall(entries, answer, now)
	}
	return Verdict{Succeeded, "", ""}
}

// lastExchange finds the last final response sent to where the first request
// came from, and the request that it answers. Behind the one that begins a call
// there are none.
func lastExchange(entries []entry) (request, answer *entry) {
	method, _, _ := bytes.Cut(entries[0].text, []byte(" "))
	for i := range entries {
		e := &entries[i]
		if e.flow != entries[0].flow {
			continue
		}
		if e.in && bytes.HasPrefix(e.text, append(method, ' ')) {
			request = e
		}
		if cseq, _ := field(e.text, "cseq", ""); !e.in && status(e.text) >= 200 && bytes.HasSuffix(cseq, method) {
			if answer = e; status(e.text) < 300 {
				break
			}
		}
	}
	return request, answer
}

// judgeChallenge says why a phone that was challenged is not in.
func judgeChallenge(request, answer *entry, now time.Time) Verdict {
	_, www := field(request.text, "authorization", "")
	_, proxy := field(request.text, "proxy-authorization", "")
	switch {
	case bytes.Contains(answer.text, []byte("stale=true")):
		return Verdict{Failed, "nonce_stale", "The challenge that was answered is too old or was used before, and the phone has not answered the new one"}
	case www || proxy:
		return Verdict{Failed, "bad_digest", "The password or the username is wrong"}
	case now.Sub(answer.at) > answerTime:
		return Verdict{Failed, "challenge_unanswered", "The phone was challenged and never answered"}
	}
	return Verdict{Pending, "", ""}
}

// reasons are the codes of our own refusals under the names of a diagnosis.
var reasons = map[string]string{
	"endpoint.unregistered":  "unregistered",
	"flow.lost":              "flow_lost",
	"endpoint.unreachable":   "flow_lost",
	"phones.no_route":        "no_route",
	"other_domains.no_route": "no_route",
}

func diagnosis(reason string) string {
	if name, ok := reasons[reason]; ok {
		return name
	}
	return reason
}

// judgeRefusal reads a final response of 300 and more: ours tells its reason, a
// phone's its status.
func judgeRefusal(msg []byte, untold string) Verdict {
	code, sentence := status(msg), line(msg[min(len(msg), len("SIP/2.0 ")):])
	if reason, ok := field(msg, "x-onhook-reason", ""); ok {
		v := Verdict{Failed, diagnosis(string(reason)), ""}
		warning, _ := field(msg, "warning", "")
		if _, quoted, ok := bytes.Cut(warning, []byte(`"`)); ok {
			v.Sentence = string(bytes.TrimSuffix(quoted, []byte(`"`)))
		}
		return v
	}
	if untold != "" {
		return Verdict{Failed, diagnosis(untold), "The caller is from outside, and was not told this reason: " + string(sentence)}
	}
	switch code {
	case 415, 488, 606:
		return Verdict{Failed, "codec_mismatch", "The called phone accepts none of the media that were offered: " + string(sentence)}
	case 430:
		return Verdict{Failed, "flow_lost", "The called phone's connection is gone"}
	case 487:
		return Verdict{Failed, "cancelled", "The caller gave up: " + string(sentence)}
	}
	return Verdict{Failed, "status." + strconv.Itoa(code), "The answer was " + string(sentence)}
}

// judgeCall looks at a call that was answered: when the caller's ACK does not
// come, or does not reach the callee, it breaks down after half a minute.
func judgeCall(entries []entry, answer *entry, now time.Time) Verdict {
	var acked, repeated *entry
	answered := false
	for i := range entries {
		e := &entries[i]
		switch answered = answered || e == answer; {
		case !answered:
		case bytes.HasPrefix(e.text, []byte("ACK ")):
			acked = e // at last as it was sent on
		case e.in && acked != nil && sameAnswer(e.text, answer.text):
			repeated = e
		}
	}
	switch {
	case acked == nil && now.Sub(answer.at) < ackTime:
		return Verdict{Pending, "", ""}
	case acked == nil:
		contact, _ := field(answer.text, "contact", "m")
		return Verdict{Failed, "ack_timeout", "The caller never acknowledged the answer; its ACK goes to the Route or the Contact of the answer, which it may not reach: " + string(contact)}
	case repeated != nil && repeated.at.Sub(answer.at) >= ackTime:
		_, rest, _ := bytes.Cut(line(acked.text), []byte(" "))
		uri, _, _ := bytes.Cut(rest, []byte(" "))
		return Verdict{Failed, "ack_timeout", "The called phone goes on repeating its answer; the ACK that was sent to " + string(uri) + " does not reach it"}
	}
	return Verdict{Succeeded, "", ""}
}

// sameAnswer reports whether a message is a response like this one: as a phone
// repeats it that gets no ACK (RFC 3261 13.3.1.4).
func sameAnswer(msg, answer []byte) bool {
	a, _ := field(msg, "cseq", "")
	b, _ := field(answer, "cseq", "")
	return status(msg) == status(answer) && bytes.Equal(a, b)
}
