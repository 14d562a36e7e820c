package api

import (
	"net/http"

	"onhook/internal/account"
)

// meJSON is the account a key belongs to. A limit of 0 is none.
type meJSON struct {
	Type                 string  `json:"type"`
	ID                   int64   `json:"id"`
	APIID                string  `json:"api_id"`
	Name                 string  `json:"name"`
	Email                string  `json:"email"`
	Phone                string  `json:"phone"`
	Description          string  `json:"description"`
	AuthID               string  `json:"auth_id"`
	AuthSecret           string  `json:"auth_secret"`
	ParentAuthID         *string `json:"parent_auth_id"`
	Enabled              bool    `json:"enabled"`
	IsActive             bool    `json:"is_active"`
	Timezone             string  `json:"timezone"`
	CreatedAt            string  `json:"created_at"`
	UpdatedAt            string  `json:"updated_at"`
	RateLimit            int     `json:"rate_limit"`
	CPSLimit             int     `json:"cps_limit"`
	ConcurrentCallsLimit int     `json:"concurrent_calls_limit"`
}

type accountJSON struct {
	APIID       string `json:"api_id"`
	AuthID      string `json:"auth_id"`
	Name        string `json:"name"`
	Enabled     bool   `json:"enabled"`
	CreatedAt   string `json:"created_at"`
	ResourceURI string `json:"resource_uri"`
}

// me answers GET on /v1/auth/me: whose key this is.
func (h *handler) me(r *request) (reply, error) {
	a := r.caller
	limits := h.AccountLimits.Bound(a.Limits)
	return reply{status: http.StatusOK, body: meJSON{
		Type: "account", ID: a.ID, APIID: r.id, Name: a.Name, Email: a.Email, Phone: a.Phone, Description: a.Description,
		AuthID: a.AuthID, AuthSecret: redacted, ParentAuthID: orNull(a.Parent), Enabled: a.Enabled, IsActive: a.Enabled, Timezone: "UTC",
		CreatedAt: timestamp(a.CreatedAt), UpdatedAt: timestamp(a.UpdatedAt), RateLimit: rateLimit(a),
		CPSLimit: limits.CallsPerSecond, ConcurrentCallsLimit: limits.ConcurrentCalls}}, nil
}

// retrieveAccount answers GET on an account.
func (h *handler) retrieveAccount(r *request) (reply, error) {
	a := r.scope
	return reply{status: http.StatusOK, body: accountJSON{
		APIID: r.id, AuthID: a.AuthID, Name: a.Name, Enabled: a.Enabled, CreatedAt: timestamp(a.CreatedAt), ResourceURI: accountPath(a.AuthID)}}, nil
}

// rotateToken answers POST on …/Token/, with a main account's key only: a
// leaked key of a sub-account must not lock its owner out.
func (h *handler) rotateToken(r *request) (reply, error) {
	if r.caller.Parent != "" {
		return reply{}, account.ErrMainOnly
	}
	if err := r.onlyQuery("representation"); err != nil {
		return reply{}, err
	}
	token, err := h.Service.RotateToken(r.Context(), r.scope.AuthID)
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusOK, body: legacyCreatedJSON{r.id, "rotated", r.scope.AuthID, token}}, nil
}
