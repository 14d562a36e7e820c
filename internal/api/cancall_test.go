package api

import (
	"slices"

	"onhook/internal/account"
)

// dryRun decides as the transcripts of CanCall expect: by the address alone.
type dryRun struct{}

func (dryRun) CanCall(_ account.EndpointID, to string, media []string) (CallDecision, bool) {
	transport, received, state := "udp", "203.0.113.9:40212", "reachable"
	switch to {
	case "jane":
		d := CallDecision{Allowed: true, Via: "endpoint", Targets: []CallTarget{{"sip:jane@192.168.1.100:5060", &transport, &received, &state}}}
		if slices.Contains(media, "video") {
			d.Refused = []string{"video"}
		}
		return d, true
	case "+15551234":
		return CallDecision{Status: 403, Reason: "permission.allow_phones", Sentence: "This endpoint may not call phone numbers", Via: "phones"}, true
	case "sip:x@elsewhere.example":
		return CallDecision{Allowed: true, Via: "other_domains", Targets: []CallTarget{{URI: to}}}, true
	}
	return CallDecision{}, false
}
