package api

import (
	"encoding/json"
	"net/http"
	"strings"

	"onhook/internal/account"
)

// limitsJSON is a Limits resource; null is no limit.
type limitsJSON struct {
	APIID           string   `json:"api_id"`
	ConcurrentCalls *int     `json:"concurrent_calls"`
	CallsPerSecond  *int     `json:"calls_per_second"`
	MaxDuration     *int     `json:"max_duration"` // seconds
	NumberPrefixes  []string `json:"number_prefixes"`
	ExternalCalls   bool     `json:"external_calls"`
}

func newLimitsJSON(id string, l account.Limits) limitsJSON {
	number := func(n int) *int {
		if n == 0 {
			return nil
		}
		return &n
	}
	return limitsJSON{APIID: id, ConcurrentCalls: number(l.ConcurrentCalls), CallsPerSecond: number(l.CallsPerSecond),
		MaxDuration: number(l.MaxDuration), NumberPrefixes: l.Prefixes(), ExternalCalls: !l.NoExternalCalls}
}

// endpointLimits answers GET on an endpoint's Limits.
func (h *handler) endpointLimits(r *request) (reply, error) {
	e, err := h.endpoint(r)
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusOK, body: newLimitsJSON(r.id, e.Limits)}, nil
}

// setEndpointLimits answers POST on an endpoint's Limits.
func (h *handler) setEndpointLimits(r *request) (reply, error) {
	id, ok := account.ParseEndpointID(r.params["endpoint_id"])
	if !ok {
		return reply{}, noEndpoint(r, account.ErrNotFound)
	}
	patch, err := h.readLimits(r)
	if err == nil {
		err = h.Service.SetEndpointLimits(r.Context(), r.scope, id, patch)
	}
	if err != nil {
		return reply{}, noEndpoint(r, err)
	}
	return reply{status: http.StatusAccepted, body: messageJSON{APIID: r.id, Message: "changed"}}, nil
}

// accountLimits answers GET on an account's Limits.
func (h *handler) accountLimits(r *request) (reply, error) {
	return reply{status: http.StatusOK, body: newLimitsJSON(r.id, h.AccountLimits.Bound(r.scope.Limits))}, nil
}

// setAccountLimits answers POST on an account's Limits, with a main account's
// key only.
func (h *handler) setAccountLimits(r *request) (reply, error) {
	patch, err := h.readLimits(r)
	if err == nil {
		err = h.Service.SetAccountLimits(r.Context(), r.caller, r.scope.AuthID, patch)
	}
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusAccepted, body: messageJSON{APIID: r.id, Message: "changed"}}, nil
}

func (h *handler) readLimits(r *request) (p account.LimitsPatch, err error) {
	f, err := h.readFields(r)
	if err != nil {
		return p, err
	}
	p.ConcurrentCalls, p.CallsPerSecond = f.integerOrNull("concurrent_calls"), f.integerOrNull("calls_per_second")
	p.MaxDuration, p.NumberPrefixes = f.integerOrNull("max_duration"), f.texts("number_prefixes")
	p.ExternalCalls = f.boolean("external_calls")
	p.Malformed = f.rest()
	return p, nil
}

// integerOrNull takes a field that is a whole number or null, which a form says
// with an empty field.
func (f *fields) integerOrNull(name string) account.Optional[int] {
	if v, there := f.values[name]; there && (v.isNull() || v.isForm() && v.text == "") {
		f.take(name)
		return account.Null[int]()
	}
	o := f.integer(name)
	if _, wrong := f.malformed[name]; wrong {
		f.wrong(name, "Must be a whole number or null")
	}
	return o
}

// texts takes a field that is a list of strings or null, in a form parted by
// commas and empty.
func (f *fields) texts(name string) (o account.Optional[[]string]) {
	v, ok := f.take(name)
	switch {
	case !ok:
		return o
	case v.isNull() || v.isForm() && v.text == "":
		return account.Null[[]string]()
	case v.isForm():
		return account.Some(strings.Split(v.text, ","))
	}
	var list []string
	if json.Unmarshal(v.raw, &list) != nil {
		f.wrong(name, "Must be a list of strings or null")
		return o
	}
	return account.Some(list)
}
