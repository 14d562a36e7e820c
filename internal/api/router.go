package api

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// serveFunc answers one method of a route.
type serveFunc func(*handler, *request) (reply, error)

// route is a path template and what it answers to. Templates under /v1 are
// served under /api/v1 too, and every path with and without a trailing slash.
// A ServeMux would redirect one to the other, which turns a POST into a GET.
type route struct {
	template string // as in openapi.yaml; {name} matches one segment
	public   bool   // no credentials needed
	admin    bool   // X-Admin-Token instead of an account's credentials
	apart    bool   // what a POST does is not, or not only, a change of the store: none of its transactions holds it
	methods  map[string]serveFunc
	segments []string
}

// routes are tried in order: literal segments before parameters.
var routes = compile([]route{
	{template: "/v1/Account/{auth_id}/Endpoint/", methods: map[string]serveFunc{
		"GET": (*handler).listEndpoints, "POST": (*handler).createEndpoint}},
	{template: "/v1/Account/{auth_id}/Endpoint/bulk", methods: map[string]serveFunc{
		"POST": (*handler).createEndpoints}},
	{template: "/v1/Account/{auth_id}/Endpoint/by-username/{username}", methods: map[string]serveFunc{
		"PUT": (*handler).putEndpoint}},
	{template: "/v1/Account/{auth_id}/Endpoint/{endpoint_id}/", methods: map[string]serveFunc{
		"GET": (*handler).retrieveEndpoint, "POST": (*handler).updateEndpoint, "PUT": (*handler).updateEndpoint,
		"PATCH": (*handler).updateEndpoint, "DELETE": (*handler).deleteEndpoint}},
	{template: "/v1/Account/{auth_id}/Endpoint/{endpoint_id}/Registration/", methods: map[string]serveFunc{
		"GET": (*handler).listBindings, "DELETE": (*handler).endBindings}},
	{template: "/v1/Account/{auth_id}/Endpoint/{endpoint_id}/Registration/{binding_id}/", methods: map[string]serveFunc{
		"DELETE": (*handler).endBinding}},
	{template: "/v1/Account/{auth_id}/Endpoint/{endpoint_id}/Trace/", methods: map[string]serveFunc{
		"GET": (*handler).trace}},
	{template: "/v1/Account/{auth_id}/Endpoint/{endpoint_id}/CanCall/", apart: true, methods: map[string]serveFunc{
		"POST": (*handler).canCall}},
	{template: "/v1/Account/{auth_id}/Endpoint/{endpoint_id}/Limits/", methods: map[string]serveFunc{
		"GET": (*handler).endpointLimits, "POST": (*handler).setEndpointLimits}},
	{template: "/v1/Account/{auth_id}/Limits/", methods: map[string]serveFunc{
		"GET": (*handler).accountLimits, "POST": (*handler).setAccountLimits}},
	{template: "/v1/Account/{auth_id}/Application/", methods: map[string]serveFunc{
		"GET": (*handler).listApplications, "POST": (*handler).createApplication}},
	{template: "/v1/Account/{auth_id}/Application/{app_id}/", methods: map[string]serveFunc{
		"GET": (*handler).retrieveApplication, "POST": (*handler).updateApplication, "PUT": (*handler).updateApplication,
		"PATCH": (*handler).updateApplication, "DELETE": (*handler).deleteApplication}},
	{template: "/v1/Account/{auth_id}/cdr", methods: map[string]serveFunc{"GET": (*handler).listRecords}},
	{template: "/v1/Account/{auth_id}/cdr/{call_uuid}", methods: map[string]serveFunc{"GET": (*handler).retrieveRecord}},
	{template: "/v1/Account/{auth_id}/Call/", methods: map[string]serveFunc{"GET": (*handler).listCalls}},
	{template: "/v1/Account/{auth_id}/Call/{call_uuid}/", methods: map[string]serveFunc{
		"GET": (*handler).retrieveCall, "DELETE": (*handler).endCall}},
	{template: "/v1/accounts/{auth_id}/sub-accounts/", methods: map[string]serveFunc{
		"GET": (*handler).listSubAccounts, "POST": (*handler).createSubAccount}},
	{template: "/v1/accounts/{auth_id}/sub-accounts/{sub_auth_id}", methods: map[string]serveFunc{
		"GET": (*handler).retrieveSubAccount, "PUT": (*handler).updateSubAccount, "DELETE": (*handler).deleteSubAccount}},
	{template: "/v1/Account/{auth_id}/Subaccount/", methods: map[string]serveFunc{
		"GET": (*handler).listSubAccountsLegacy, "POST": (*handler).createSubAccountLegacy}},
	{template: "/v1/Account/{auth_id}/Subaccount/{sub_auth_id}/", methods: map[string]serveFunc{
		"GET": (*handler).retrieveSubAccount, "POST": (*handler).updateSubAccountLegacy, "DELETE": (*handler).deleteSubAccountLegacy}},
	{template: "/v1/Account/{auth_id}/events", methods: map[string]serveFunc{"GET": (*handler).streamEvents}},
	{template: "/v1/Account/{auth_id}/Webhook/", methods: map[string]serveFunc{
		"GET": (*handler).listWebhooks, "POST": (*handler).createWebhook}},
	{template: "/v1/Account/{auth_id}/Webhook/{webhook_id}/", methods: map[string]serveFunc{
		"GET": (*handler).retrieveWebhook, "POST": (*handler).updateWebhook, "PUT": (*handler).updateWebhook,
		"PATCH": (*handler).updateWebhook, "DELETE": (*handler).deleteWebhook}},
	{template: "/v1/Account/{auth_id}/Webhook/{webhook_id}/redeliver", apart: true, methods: map[string]serveFunc{
		"POST": (*handler).redeliver}},
	{template: accountTemplate, methods: map[string]serveFunc{"GET": (*handler).retrieveAccount}},
	{template: "/v1/Account/{auth_id}/Token/", methods: map[string]serveFunc{"POST": (*handler).rotateToken}},
	{template: "/v1/auth/me", methods: map[string]serveFunc{"GET": (*handler).me}},
	{template: "/v1/admin/bans/", admin: true, methods: map[string]serveFunc{
		"GET": (*handler).listBans, "DELETE": (*handler).liftBans}},
	{template: "/v1/admin/bans/{ban_id}", admin: true, methods: map[string]serveFunc{
		"DELETE": (*handler).liftBan}},
	{template: trunksTemplate, admin: true, methods: map[string]serveFunc{
		"GET": (*handler).listTrunks, "POST": (*handler).createTrunk}},
	{template: trunksTemplate + "{name}/", admin: true, methods: map[string]serveFunc{
		"GET": (*handler).retrieveTrunk, "POST": (*handler).updateTrunk, "PUT": (*handler).updateTrunk,
		"PATCH": (*handler).updateTrunk, "DELETE": (*handler).deleteTrunk}},
	{template: numbersTemplate, admin: true, methods: map[string]serveFunc{
		"GET": (*handler).listNumbers, "POST": (*handler).createNumber}},
	{template: numbersTemplate + "{number}/", admin: true, methods: map[string]serveFunc{
		"GET": (*handler).retrieveNumber, "POST": (*handler).updateNumber, "PUT": (*handler).updateNumber,
		"PATCH": (*handler).updateNumber, "DELETE": (*handler).deleteNumber}},
	{template: "/healthz", public: true, methods: map[string]serveFunc{"GET": (*handler).healthz}},
	{template: "/readyz", public: true, methods: map[string]serveFunc{"GET": (*handler).readyz}},
	{template: "/metrics", public: true, methods: map[string]serveFunc{"GET": (*handler).metrics}},
	{template: "/openapi.yaml", public: true, methods: map[string]serveFunc{"GET": (*handler).openapi}},
	{template: "/docs", public: true, methods: map[string]serveFunc{"GET": (*handler).docs}},
})

// accountTemplate is also served with two slashes at its end: an SDK asks so.
const accountTemplate = "/v1/Account/{auth_id}/"

// The collections of server administration that are listed by pages.
const (
	trunksTemplate  = "/v1/admin/trunks/"
	numbersTemplate = "/v1/admin/numbers/"
)

// maxSegments bounds what a path is split into.
const maxSegments = 10

func compile(routes []route) []route {
	for i := range routes {
		routes[i].segments = strings.Split(strings.Trim(routes[i].template, "/"), "/")
	}
	return routes
}

// match finds the route of an escaped path; nil when there is none. Case
// counts everywhere.
func match(path string) (found *route, params map[string]string, prefix string) {
	if rest, ok := strings.CutPrefix(path, "/api/v1/"); ok {
		prefix, path = "/api", "/v1/"+rest
	}
	single, twice := strings.CutSuffix(path, "//")
	if twice && strings.HasSuffix(single, "/") {
		return nil, nil, ""
	}
	if twice {
		path = single
	}
	path, ok := strings.CutPrefix(path, "/")
	if !ok {
		return nil, nil, ""
	}
	segments := strings.SplitN(strings.TrimSuffix(path, "/"), "/", maxSegments)
	for i, s := range segments {
		var err error
		if segments[i], err = url.PathUnescape(s); err != nil || s == "" {
			return nil, nil, ""
		}
	}
	for i := range routes {
		if params, ok := routes[i].match(segments); ok && (!twice || routes[i].template == accountTemplate) {
			return &routes[i], params, prefix
		}
	}
	return nil, nil, ""
}

func (t *route) match(segments []string) (params map[string]string, ok bool) {
	if len(segments) != len(t.segments) {
		return nil, false
	}
	for i, want := range t.segments {
		if want[0] != '{' && want != segments[i] {
			return nil, false
		}
	}
	params = make(map[string]string, 3)
	for i, want := range t.segments {
		if want[0] == '{' {
			params[want[1:len(want)-1]] = segments[i]
		}
	}
	return params, true
}

// allow lists the methods for an Allow header.
func (t *route) allow() []string {
	methods := slices.Collect(maps.Keys(t.methods))
	if t.methods[http.MethodGet] != nil {
		methods = append(methods, http.MethodHead)
	}
	slices.Sort(methods)
	return methods
}
