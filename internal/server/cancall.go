package server

import (
	"slices"
	"strings"
	"time"

	"onhook/internal/account"
	"onhook/internal/api"
	"onhook/internal/routing"
	"onhook/internal/sip"
)

// dryRun tells the API what would become of a call, by the very decision that a
// call gets (api.DryRun).
type dryRun struct{ path *path }

func (r dryRun) CanCall(from account.EndpointID, to string, media []string) (api.CallDecision, bool) {
	e, ok := r.path.directory.ByID(from)
	if !ok {
		return api.CallDecision{Status: 480, Reason: "endpoint.unknown", Sentence: "The endpoint is being deleted", Via: string(routing.ViaEndpoint)}, true
	}
	target, err := sip.ParseURI(dialled(to, e.Domain))
	if err != nil || !target.IsSIP() && !target.Is("tel") {
		return api.CallDecision{}, false
	}
	req := routing.Request{
		Method: sip.INVITE, Caller: r.path.known(e), Target: target,
		Media: routing.Media{Audio: slices.Contains(media, "audio"), Video: slices.Contains(media, "video")},
	}
	if slices.Contains(media, "message") {
		req.Method = sip.MESSAGE
	}
	d := r.path.router.Decide(req)
	if record := r.path.directory.FindID(from); d.Allowed && req.Method == sip.INVITE && record != nil {
		if no := r.path.limiter.would(record, time.Now()); no != nil {
			d.Allowed, d.Status, d.Reason, d.Sentence = false, no.Status, no.Reason, no.Sentence
		}
	}
	out := api.CallDecision{Allowed: d.Allowed, Status: d.Status, Reason: d.Reason, Sentence: d.Sentence, Via: string(d.Via)}
	if d.WithoutVideo {
		out.Refused = []string{"video"}
	}
	if d.Allowed {
		out.Targets = targets(d, e.Main, target.String())
	}
	return out, true
}

// dialled makes a URI of what somebody would dial in a domain.
func dialled(to, domain string) string {
	switch {
	case strings.ContainsAny(to, " \t\r\n<>"):
		return ""
	case len(to) > 4 && strings.EqualFold(to[:4], "sip:"), len(to) > 5 && strings.EqualFold(to[:5], "sips:"),
		len(to) > 4 && strings.EqualFold(to[:4], "tel:"):
		return to
	case strings.Contains(to, "@"):
		return "sip:" + to
	}
	return "sip:" + to + "@" + domain
}

// targets shows where a call would go. The devices of another account are not
// this account's to see: their endpoint's address stands for them.
func targets(d routing.Decision, main, dialled string) (list []api.CallTarget) {
	if d.Via == routing.ViaEndpoint && d.Callee.Main != main {
		return []api.CallTarget{{URI: d.Callee.AOR()}}
	}
	for i := range d.Targets {
		b := &d.Targets[i]
		transport, received, state := b.Flow.Transport.Param(), b.Received(), b.State.String()
		list = append(list, api.CallTarget{URI: b.Contact, Transport: &transport, Received: &received, State: &state})
	}
	if len(list) == 0 {
		list = append(list, api.CallTarget{URI: dialled})
	}
	return list
}
