package api

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"onhook/internal/account"
)

// fullApplicationJSON is an application in every profile.
type fullApplicationJSON struct {
	AnswerMethod       string  `json:"answer_method"`
	AnswerURL          string  `json:"answer_url"`
	APIID              string  `json:"api_id"`
	AppID              string  `json:"app_id"`
	AppName            string  `json:"app_name"`
	ApplicationType    string  `json:"application_type"`
	CreatedAt          string  `json:"created_at"`
	DefaultApp         bool    `json:"default_app"`
	DefaultEndpointApp bool    `json:"default_endpoint_app"`
	Enabled            bool    `json:"enabled"`
	FallbackAnswerURL  string  `json:"fallback_answer_url"`
	FallbackMethod     string  `json:"fallback_method"`
	HangupMethod       string  `json:"hangup_method"`
	HangupURL          string  `json:"hangup_url"`
	LogIncomingMessage bool    `json:"log_incoming_message"`
	MessageMethod      string  `json:"message_method"`
	MessageURL         string  `json:"message_url"`
	PublicURI          bool    `json:"public_uri"`
	ResourceURI        string  `json:"resource_uri"`
	SIPTransferMethod  string  `json:"sip_transfer_method"`
	SIPTransferURL     string  `json:"sip_transfer_url"`
	SIPURI             string  `json:"sip_uri"`
	SubAccount         *string `json:"sub_account"`
	UpdatedAt          string  `json:"updated_at"`
}

type createdApplicationJSON struct {
	APIID   string `json:"api_id"`
	AppID   string `json:"app_id"`
	Message string `json:"message"`
}

// applicationPath is an application's resource_uri.
func applicationPath(a account.Application) string {
	return "/v1/Account/" + a.Owner + "/Application/" + a.ID + "/"
}

func (h *handler) fullApplication(r *request, a account.Application) fullApplicationJSON {
	out := fullApplicationJSON{
		AnswerMethod: a.AnswerMethod, AnswerURL: a.AnswerURL, APIID: r.id, AppID: a.ID, AppName: a.Name, ApplicationType: "XML",
		CreatedAt: timestamp(a.CreatedAt), DefaultApp: a.DefaultNumber, DefaultEndpointApp: a.DefaultEndpoint, Enabled: a.Enabled,
		FallbackAnswerURL: a.FallbackURL, FallbackMethod: a.FallbackMethod, HangupMethod: a.HangupMethod, HangupURL: a.HangupURL,
		LogIncomingMessage: a.LogMessages, MessageMethod: a.MessageMethod, MessageURL: a.MessageURL, PublicURI: a.PublicURI,
		ResourceURI: applicationPath(a), SIPTransferMethod: a.TransferMethod, SIPTransferURL: a.TransferURL,
		SIPURI: "sip:" + a.ID + "@" + h.Service.ApplicationDomain(), UpdatedAt: timestamp(a.UpdatedAt),
	}
	if out.HangupURL == "" {
		out.HangupURL = a.AnswerURL
	}
	if strings.HasPrefix(a.Owner, "SA_") {
		out.SubAccount = &a.Owner
	}
	return out
}

// applicationSpec reads the fields of a creation or an update.
func applicationSpec(f *fields) account.ApplicationSpec {
	s := account.ApplicationSpec{
		Name:           f.text("app_name"),
		AnswerURL:      f.text("answer_url"),
		AnswerMethod:   f.text("answer_method"),
		FallbackURL:    f.textOrNull("fallback_answer_url"),
		FallbackMethod: f.text("fallback_method"),
		HangupURL:      f.textOrNull("hangup_url"),
		HangupMethod:   f.text("hangup_method"),
		MessageURL:     f.textOrNull("message_url"),
		MessageMethod:  f.text("message_method"),
		TransferURL:    f.textOrNull("sip_transfer_url"),
		TransferMethod: f.text("sip_transfer_method"),

		LogMessages:     f.boolean(f.either("log_incoming_message", "log_incoming_messages")),
		PublicURI:       f.boolean("public_uri"),
		Enabled:         f.boolean("enabled"),
		DefaultEndpoint: f.boolean("default_endpoint_app"),
		DefaultNumber:   f.boolean("default_number_app"),

		SubAccount: f.textOrNull(f.either("sub_account", "subaccount")),
	}
	// Older clients write the first, and others send back what they read.
	f.pass("production_app", "api_id", "resource_uri", "application_type", "created_at", "updated_at", "sip_uri", "default_app")
	return s
}

// createApplication answers POST on the collection.
func (h *handler) createApplication(r *request) (reply, error) {
	f, err := h.readFieldsOnly(r)
	if err != nil {
		return reply{}, err
	}
	spec := applicationSpec(f)
	spec.Malformed = f.rest()
	a, err := h.Service.CreateApplication(r.Context(), r.scope, spec)
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusCreated, body: createdApplicationJSON{r.id, a.ID, "created"}}, nil
}

// readFieldsOnly reads the body of a request that takes no query.
func (h *handler) readFieldsOnly(r *request) (*fields, error) {
	if err := r.onlyQuery("representation"); err != nil {
		return nil, err
	}
	return h.readFields(r)
}

// retrieveApplication answers GET on an item.
func (h *handler) retrieveApplication(r *request) (reply, error) {
	a, err := h.Service.Application(r.Context(), r.scope, r.params["app_id"])
	if err != nil {
		return reply{}, noApplication(r, err)
	}
	return reply{status: http.StatusOK, body: h.fullApplication(r, a)}, nil
}

// noApplication gives "not found" the answer that names the application.
func noApplication(r *request, err error) error {
	if !errors.Is(err, account.ErrNotFound) {
		return err
	}
	return &refusal{status: http.StatusNotFound, body: errorJSON{Error: "Application not found", AppID: r.params["app_id"]}}
}

// updateApplication answers POST, PUT and PATCH on an item.
func (h *handler) updateApplication(r *request) (reply, error) {
	f, err := h.readFieldsOnly(r)
	if err != nil {
		return reply{}, err
	}
	spec := applicationSpec(f)
	spec.ID = f.identifier("app_id")
	spec.Malformed = f.rest()
	if _, err := h.Service.UpdateApplication(r.Context(), r.scope, r.params["app_id"], spec); err != nil {
		return reply{}, noApplication(r, err)
	}
	return reply{status: http.StatusOK, body: messageJSON{r.id, "changed"}}, nil
}

// deleteApplication answers DELETE on an item. What becomes of its endpoints
// may stand in the query or in a body.
func (h *handler) deleteApplication(r *request) (reply, error) {
	if err := r.onlyQuery("representation", "cascade", "new_endpoint_application"); err != nil {
		return reply{}, err
	}
	f, err := h.readFields(r)
	if err != nil {
		return reply{}, err
	}
	q := queryReader{values: r.URL.Query(), malformed: f.malformed}
	byBody, byQuery := f.boolean("cascade"), q.boolean("cascade")
	how := account.Detach{Cascade: byBody.Value || byQuery.Value}
	if v, there := f.values["new_endpoint_application"]; there && v.isNull() {
		f.pass("new_endpoint_application")
	}
	how.Replacement = f.identifier("new_endpoint_application").Value
	if asked := q.text("new_endpoint_application"); asked.Set {
		how.Replacement = asked.Value
	}
	if wrong := f.rest(); wrong != nil {
		return reply{}, &account.Invalid{Fields: wrong}
	}
	if err := h.Service.DeleteApplication(r.Context(), r.scope, r.params["app_id"], how); err != nil {
		return reply{}, noApplication(r, err)
	}
	return reply{status: http.StatusNoContent}, nil
}

// listApplications answers GET on the collection.
func (h *handler) listApplications(r *request) (reply, error) {
	q := applicationQuery(r.URL.Query())
	page, total, err := h.Service.ApplicationPage(r.Context(), r.scope, q)
	if err != nil {
		return reply{}, err
	}
	out := listJSON{APIID: r.id, Meta: r.meta("Application", q.Limit, q.Offset, total), Objects: make([]any, 0, len(page))}
	for _, a := range page {
		out.Objects = append(out.Objects, h.fullApplication(r, a))
	}
	return reply{status: http.StatusOK, body: out}, nil
}

func applicationQuery(values url.Values) account.ApplicationQuery {
	q := queryReader{values: maps.Clone(values), malformed: make(map[string]string)}
	q.text("representation") // read by chooseProfile
	out := account.ApplicationQuery{
		Limit: q.integer("limit", account.DefaultLimit), Offset: q.integer("offset", 0),
		Name:       account.Match{Exact: q.text("app_name__exact"), Contains: q.text("app_name__contains")},
		SubAccount: q.text("sub_account"),
	}
	if older := q.text("subaccount"); older.Set {
		if out.SubAccount.Set && out.SubAccount != older {
			q.malformed["subaccount"] = "Is another name of sub_account: send one of them"
		}
		out.SubAccount = older
	}
	out.Malformed = q.rest()
	return out
}
