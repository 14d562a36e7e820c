package api

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"

	"onhook/internal/account"
)

// redacted stands where a secret is not shown.
const redacted = "<redacted>"

// subAccountJSON is a sub-account in every profile.
type subAccountJSON struct {
	Name            string          `json:"name"`
	Email           string          `json:"email"`
	Phone           string          `json:"phone"`
	Description     string          `json:"description"`
	Permissions     json.RawMessage `json:"permissions"`
	RateLimit       int             `json:"rate_limit"`
	ID              int64           `json:"id"`
	ParentAccountID int64           `json:"parent_account_id"`
	ParentAuthID    string          `json:"parent_auth_id"`
	AuthID          string          `json:"auth_id"`
	AuthToken       string          `json:"auth_token"`
	APIID           string          `json:"api_id"`
	EmailVerified   bool            `json:"email_verified"`
	Enabled         bool            `json:"enabled"`
	Created         string          `json:"created"`
	Modified        string          `json:"modified"`
	IsActive        bool            `json:"is_active"`
	CreatedAt       string          `json:"created_at"`
	UpdatedAt       string          `json:"updated_at"`
	LastUsed        *string         `json:"last_used"`
	Account         string          `json:"account"`
	ResourceURI     string          `json:"resource_uri"`
}

type subAccountsJSON struct {
	SubAccounts []subAccountJSON `json:"sub_accounts"`
	Total       int              `json:"total"`
	Page        int              `json:"page"`
	Size        int              `json:"size"`
}

type credentialsJSON struct {
	AuthID    string `json:"auth_id"`
	AuthToken string `json:"auth_token"`
}

// bearerJSON says in the place where clients look for bearer tokens that there
// are none.
type bearerJSON struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int    `json:"expires_in"`
}

type createdSubAccountJSON struct {
	Message     string          `json:"message"`
	SubAccount  subAccountJSON  `json:"sub_account"`
	Credentials credentialsJSON `json:"auth_credentials"`
	Tokens      bearerJSON      `json:"tokens"`
}

type legacyCreatedJSON struct {
	APIID     string `json:"api_id"`
	Message   string `json:"message"`
	AuthID    string `json:"auth_id"`
	AuthToken string `json:"auth_token"`
}

func rateLimit(a account.Account) int {
	if a.RateLimit == 0 {
		return account.DefaultRateLimit
	}
	return a.RateLimit
}

func accountPath(authID string) string { return "/v1/Account/" + authID + "/" }

func newSubAccountJSON(r *request, a account.Account) subAccountJSON {
	const date = "2006-01-02"
	out := subAccountJSON{
		Name: a.Name, Email: a.Email, Phone: a.Phone, Description: a.Description, Permissions: json.RawMessage("{}"), RateLimit: rateLimit(a),
		ID: a.ID, ParentAccountID: r.scope.ID, ParentAuthID: a.Parent, AuthID: a.AuthID, AuthToken: redacted, APIID: r.id,
		Enabled: a.Enabled, Created: a.CreatedAt.UTC().Format(date), Modified: a.UpdatedAt.UTC().Format(date), IsActive: a.Enabled,
		CreatedAt: timestamp(a.CreatedAt), UpdatedAt: timestamp(a.UpdatedAt),
		Account: accountPath(a.Parent), ResourceURI: accountPath(a.Parent) + "Subaccount/" + a.AuthID + "/",
	}
	if !a.LastUsed.IsZero() {
		out.LastUsed = orNull(timestamp(a.LastUsed))
	}
	if a.Permissions != "" {
		out.Permissions = json.RawMessage(a.Permissions)
	}
	return out
}

// subAccountSpec reads the fields of a creation or an update.
func subAccountSpec(f *fields) account.SubAccountSpec {
	s := account.SubAccountSpec{
		Name:        f.text("name"),
		Email:       f.textOrNull("email"),
		Phone:       f.textOrNull("phone"),
		Description: f.textOrNull("description"),
		Permissions: f.structure("permissions"),
		Enabled:     f.boolean("enabled"),
	}
	if v, there := f.values["rate_limit"]; there && v.isNull() {
		f.pass("rate_limit")
		s.RateLimit = account.Null[int]()
	} else {
		s.RateLimit = f.integer("rate_limit")
	}
	if active := f.boolean("is_active"); !s.Enabled.Set {
		s.Enabled = active
	}
	// Clients send back what they read.
	f.pass("id", "parent_account_id", "parent_auth_id", "auth_id", "auth_token", "api_id", "email_verified", "created", "modified",
		"created_at", "updated_at", "last_used", "account", "resource_uri")
	s.Malformed = f.rest()
	return s
}

// noSubAccount gives "not found" its sentence.
func noSubAccount(err error) error {
	if !errors.Is(err, account.ErrNotFound) {
		return err
	}
	return &refusal{status: http.StatusNotFound, body: errorJSON{Error: "Sub-account not found"}}
}

func (h *handler) newSubAccount(r *request) (account.Account, string, error) {
	f, err := h.readFieldsOnly(r)
	if err != nil {
		return account.Account{}, "", err
	}
	return h.Service.CreateSubAccount(r.Context(), r.scope, subAccountSpec(f))
}

// createSubAccount answers POST on the collection: the only time but rotation
// that the token is shown.
func (h *handler) createSubAccount(r *request) (reply, error) {
	a, token, err := h.newSubAccount(r)
	if err != nil {
		return reply{}, err
	}
	shown := newSubAccountJSON(r, a)
	shown.AuthToken = token
	return reply{status: http.StatusCreated, body: createdSubAccountJSON{
		Message: "Sub-account created successfully", SubAccount: shown,
		Credentials: credentialsJSON{a.AuthID, token}, Tokens: bearerJSON{TokenType: "bearer"}}}, nil
}

// createSubAccountLegacy answers it as older clients expect.
func (h *handler) createSubAccountLegacy(r *request) (reply, error) {
	a, token, err := h.newSubAccount(r)
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusCreated, body: legacyCreatedJSON{r.id, "created", a.AuthID, token}}, nil
}

// listSubAccounts answers GET on the collection.
func (h *handler) listSubAccounts(r *request) (reply, error) {
	q := queryReader{values: maps.Clone(r.URL.Query()), malformed: make(map[string]string)}
	q.text("representation") // read by chooseProfile
	page, size := q.integer("page", 1), q.integer("size", 25)
	active := q.boolean("active_only").Value
	if page < 1 || page > 1<<30 {
		q.malformed["page"] = "Must be a number of at least 1"
	}
	if size < 1 || size > account.MaxLimit {
		q.malformed["size"] = "Must be a number from 1 to 100"
	}
	if wrong := q.rest(); wrong != nil {
		return reply{}, &account.Invalid{Fields: wrong}
	}
	list, total, err := h.Service.SubAccounts(r.Context(), r.scope, account.SubAccountQuery{Limit: size, Offset: (page - 1) * size, ActiveOnly: active})
	if err != nil {
		return reply{}, err
	}
	out := subAccountsJSON{SubAccounts: make([]subAccountJSON, 0, len(list)), Total: total, Page: page, Size: size}
	for _, a := range list {
		out.SubAccounts = append(out.SubAccounts, newSubAccountJSON(r, a))
	}
	return reply{status: http.StatusOK, body: out}, nil
}

// listSubAccountsLegacy answers it in the envelope of the other lists.
func (h *handler) listSubAccountsLegacy(r *request) (reply, error) {
	q := queryReader{values: maps.Clone(r.URL.Query()), malformed: make(map[string]string)}
	q.text("representation") // read by chooseProfile
	limit, offset := q.page()
	if wrong := q.rest(); wrong != nil {
		return reply{}, &account.Invalid{Fields: wrong}
	}
	list, total, err := h.Service.SubAccounts(r.Context(), r.scope, account.SubAccountQuery{Limit: limit, Offset: offset})
	if err != nil {
		return reply{}, err
	}
	out := listJSON{APIID: r.id, Meta: r.meta("Subaccount", limit, offset, total), Objects: make([]any, 0, len(list))}
	for _, a := range list {
		out.Objects = append(out.Objects, newSubAccountJSON(r, a))
	}
	return reply{status: http.StatusOK, body: out}, nil
}

// retrieveSubAccount answers GET on an item.
func (h *handler) retrieveSubAccount(r *request) (reply, error) {
	a, err := h.Service.SubAccount(r.Context(), r.scope, r.params["sub_auth_id"])
	if err != nil {
		return reply{}, noSubAccount(err)
	}
	return reply{status: http.StatusOK, body: newSubAccountJSON(r, a)}, nil
}

// updateSubAccount answers PUT on an item; absent fields stay.
func (h *handler) updateSubAccount(r *request) (reply, error) {
	f, err := h.readFieldsOnly(r)
	if err != nil {
		return reply{}, err
	}
	a, err := h.Service.UpdateSubAccount(r.Context(), r.scope, r.params["sub_auth_id"], subAccountSpec(f))
	if err != nil {
		return reply{}, noSubAccount(err)
	}
	return reply{status: http.StatusOK, body: newSubAccountJSON(r, a)}, nil
}

// updateSubAccountLegacy answers POST on an item of the older path.
func (h *handler) updateSubAccountLegacy(r *request) (reply, error) {
	if _, err := h.updateSubAccount(r); err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusOK, body: messageJSON{r.id, "changed"}}, nil
}

// endSubAccount deletes the sub-account the path names; cascade may stand in
// the query or in a body.
func (h *handler) endSubAccount(r *request) error {
	if err := r.onlyQuery("representation", "cascade"); err != nil {
		return err
	}
	f, err := h.readFields(r)
	if err != nil {
		return err
	}
	q := queryReader{values: r.URL.Query(), malformed: f.malformed}
	byBody, byQuery := f.boolean("cascade"), q.boolean("cascade")
	if wrong := f.rest(); wrong != nil {
		return &account.Invalid{Fields: wrong}
	}
	return noSubAccount(h.Service.DeleteSubAccount(r.Context(), r.scope, r.params["sub_auth_id"], byBody.Value || byQuery.Value))
}

// deleteSubAccount answers DELETE on an item.
func (h *handler) deleteSubAccount(r *request) (reply, error) {
	if err := h.endSubAccount(r); err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusOK, body: deletedJSON{"Sub-account deleted successfully"}}, nil
}

type deletedJSON struct {
	Message string `json:"message"`
}

// deleteSubAccountLegacy answers it without a body, as older clients expect.
func (h *handler) deleteSubAccountLegacy(r *request) (reply, error) {
	if err := h.endSubAccount(r); err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusNoContent}, nil
}
