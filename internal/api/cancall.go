package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"onhook/internal/account"
)

// DryRun is what the API asks of routing: what would become of a call.
type DryRun interface {
	// CanCall decides as a request of this endpoint would be decided now. to is a
	// SIP or tel URI, user@host, a phone number or a username; ok is false for one
	// that cannot be read. media holds some of Kinds.
	CanCall(from account.EndpointID, to string, media []string) (d CallDecision, ok bool)
}

// Kinds are what a dry run can ask for. A message goes without the others.
var Kinds = []string{"audio", "video", "message"}

// CallDecision is the outcome of a dry run.
type CallDecision struct {
	Allowed  bool
	Status   int    // of the refusal
	Reason   string // its code
	Sentence string
	Via      string
	Refused  []string // media that would be refused while the call goes on
	Targets  []CallTarget
}

// CallTarget is where a call would go.
type CallTarget struct {
	URI       string  `json:"uri"`
	Transport *string `json:"transport"` // of a device of the caller's own account, as the two below
	Received  *string `json:"received"`
	State     *string `json:"state"`
}

type callDecisionJSON struct {
	APIID        string       `json:"api_id"`
	Allowed      bool         `json:"allowed"`
	Reason       *string      `json:"reason"`
	Via          string       `json:"via"`
	Targets      []CallTarget `json:"targets"`
	Status       *int         `json:"status"`
	Sentence     *string      `json:"sentence"`
	RefusedMedia []string     `json:"refused_media"`
}

// canCall answers POST on …/CanCall/.
func (h *handler) canCall(r *request) (reply, error) {
	e, err := h.endpoint(r)
	if err != nil {
		return reply{}, err
	}
	f, err := h.readFields(r)
	if err != nil {
		return reply{}, err
	}
	to, media := f.text("to"), f.kinds("media")
	if to.Value == "" && f.malformed["to"] == "" {
		f.wrong("to", "Is required")
	}
	if problems := f.rest(); problems != nil {
		return reply{}, &account.Invalid{Fields: problems}
	}
	d, ok := h.DryRun.CanCall(e.ID, to.Value, media)
	if !ok {
		return reply{}, &account.Invalid{Fields: map[string]string{"to": "Must be a SIP or tel URI, a phone number or a username"}}
	}
	out := callDecisionJSON{APIID: r.id, Allowed: d.Allowed, Via: d.Via, Reason: orNull(d.Reason), Sentence: orNull(d.Sentence),
		Targets: d.Targets, RefusedMedia: d.Refused}
	if !d.Allowed {
		out.Status = &d.Status
	}
	if out.Targets == nil {
		out.Targets = []CallTarget{}
	}
	if out.RefusedMedia == nil {
		out.RefusedMedia = []string{}
	}
	return reply{status: http.StatusOK, body: out}, nil
}

// kinds takes a field that lists media, in a form parted by commas; audio when
// it is absent.
func (f *fields) kinds(name string) (kinds []string) {
	v, ok := f.take(name)
	if !ok {
		return []string{"audio"}
	}
	if v.isForm() {
		kinds = strings.Split(v.text, ",")
	} else if json.Unmarshal(v.raw, &kinds) != nil {
		kinds = nil
	}
	for _, kind := range kinds {
		if !slices.Contains(Kinds, kind) || kind == "message" && len(kinds) > 1 {
			kinds = nil
			break
		}
	}
	if len(kinds) == 0 {
		f.wrong(name, `Must be a list of "audio" and "video", or of "message" alone`)
	}
	return kinds
}
