package api

import (
	"onhook/internal/account"
	"onhook/internal/location"
)

// endpointJSON is an endpoint in the seed's shape and key order.
type endpointJSON struct {
	APIID             string            `json:"api_id,omitempty"` // of retrieve; a list's envelope has its own
	EndpointID        string            `json:"endpoint_id"`
	Username          string            `json:"username"`
	Alias             string            `json:"alias"`
	SIPURI            string            `json:"sip_uri"`
	SIPRegistered     string            `json:"sip_registered"`
	SIPContact        *string           `json:"sip_contact"`
	SIPExpires        *string           `json:"sip_expires"`
	SIPUserAgent      *string           `json:"sip_user_agent"`
	SIPRegistration   *registrationJSON `json:"sip_registration,omitempty"` // of retrieve, when registered
	Application       *applicationJSON  `json:"application"`
	AllowVoice        bool              `json:"allow_voice"`
	AllowMessage      bool              `json:"allow_message"`
	AllowVideo        bool              `json:"allow_video"`
	AllowSameDomain   bool              `json:"allow_same_domain"`
	AllowOtherDomains bool              `json:"allow_other_domains"`
	AllowPhones       bool              `json:"allow_phones"`
	AllowApps         bool              `json:"allow_apps"`
	SubAccount        *string           `json:"sub_account"`
	ResourceURI       string            `json:"resource_uri"`
	CreatedAt         string            `json:"created_at"`
	UpdatedAt         string            `json:"updated_at"`
}

type registrationJSON struct {
	Contact   string  `json:"contact"`
	Expires   string  `json:"expires"`
	UserAgent *string `json:"user_agent"`
	Received  string  `json:"received"`
	Path      *string `json:"path"`
}

type applicationJSON struct {
	AppID        string `json:"app_id"`
	AppName      string `json:"app_name"`
	AnswerURL    string `json:"answer_url"`
	AnswerMethod string `json:"answer_method"`
}

// slimEndpointJSON is the shape for clients that reject unknown keys.
type slimEndpointJSON struct {
	Alias         string  `json:"alias"`
	Application   *string `json:"application"` // resource path
	EndpointID    string  `json:"endpoint_id"`
	ResourceURI   string  `json:"resource_uri"`
	SIPRegistered string  `json:"sip_registered"`
	SIPURI        string  `json:"sip_uri"`
	SubAccount    *string `json:"sub_account"`
	Username      string  `json:"username"`
}

type createdJSON struct {
	APIID       string `json:"api_id"`
	Message     string `json:"message"`
	EndpointID  string `json:"endpoint_id"`
	Username    string `json:"username"`
	Alias       string `json:"alias"`
	SIPURI      string `json:"sip_uri"`
	ResourceURI string `json:"resource_uri"`
}

type slimCreatedJSON struct {
	Alias      string `json:"alias"`
	EndpointID string `json:"endpoint_id"`
	Username   string `json:"username"`
}

type messageJSON struct {
	APIID   string `json:"api_id"`
	Message string `json:"message"`
}

func sipURI(e account.Endpoint) string { return "sip:" + e.Username + "@" + e.Domain }

func resourceURI(e account.Endpoint) string {
	return "/v1/Account/" + e.Owner + "/Endpoint/" + e.ID.String() + "/"
}

func registered(is bool) string {
	if is {
		return "true"
	}
	return "false"
}

// orNull turns "" into null.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func subAccount(e account.Endpoint) *string {
	if e.Owner == e.Main {
		return nil
	}
	return &e.Owner
}

// fullEndpoint is an endpoint as lists show it; bindings are newest first.
func fullEndpoint(e account.Endpoint, apps map[string]account.Application, bindings []location.Binding) endpointJSON {
	out := endpointJSON{
		EndpointID: e.ID.String(), Username: e.Username, Alias: e.Alias,
		SIPURI: sipURI(e), SIPRegistered: registered(len(bindings) > 0),
		AllowVoice: e.Allow.Voice, AllowMessage: e.Allow.Message, AllowVideo: e.Allow.Video,
		AllowSameDomain: e.Allow.SameDomain, AllowOtherDomains: e.Allow.OtherDomains,
		AllowPhones: e.Allow.Phones, AllowApps: e.Allow.Apps,
		SubAccount: subAccount(e), ResourceURI: resourceURI(e),
		CreatedAt: timestamp(e.CreatedAt), UpdatedAt: timestamp(e.UpdatedAt),
	}
	if app, ok := apps[e.Application]; ok {
		out.Application = &applicationJSON{app.ID, app.Name, app.AnswerURL, app.AnswerMethod}
	}
	if len(bindings) > 0 {
		newest := bindings[0]
		out.SIPContact = orNull(newest.ContactAddress())
		out.SIPExpires = orNull(timestamp(newest.Expires))
		out.SIPUserAgent = orNull(newest.UserAgent)
	}
	return out
}

func slimEndpoint(e account.Endpoint, apps map[string]account.Application, isRegistered bool) slimEndpointJSON {
	out := slimEndpointJSON{
		Alias: e.Alias, EndpointID: e.ID.String(), ResourceURI: resourceURI(e),
		SIPRegistered: registered(isRegistered), SIPURI: sipURI(e), SubAccount: subAccount(e), Username: e.Username,
	}
	if app, ok := apps[e.Application]; ok {
		out.Application = orNull("/v1/Account/" + app.Owner + "/Application/" + app.ID + "/")
	}
	return out
}

func newRegistrationJSON(b location.Binding) *registrationJSON {
	return &registrationJSON{Contact: b.Contact, Expires: timestamp(b.Expires),
		UserAgent: orNull(b.UserAgent), Received: b.Received(), Path: orNull(b.Path)}
}
