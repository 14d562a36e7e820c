package api

import (
	"errors"
	"net/http"
	"strings"

	"onhook/internal/account"
)

// authenticate finds the caller and the account of the path. Every wrong or
// missing credential is the same error; an account out of the caller's reach
// is not found, so that its existence is not revealed.
func (h *handler) authenticate(r *request) error {
	authID, token, ok := credentials(r.Request)
	if !ok {
		return account.ErrUnauthorized
	}
	caller, err := h.Service.Authenticate(r.Context(), authID, token)
	if err != nil {
		return err
	}
	r.caller = caller
	authID, ofAccount := r.params["auth_id"]
	if !ofAccount {
		r.scope = caller
		return nil
	}
	r.scope, err = h.Service.Scope(r.Context(), caller, authID)
	if errors.Is(err, account.ErrNotFound) {
		return &refusal{status: http.StatusNotFound, body: errorJSON{Error: "not found"}}
	}
	return err
}

// credentials reads X-Auth-ID and X-Auth-Token and, only when neither is
// there, HTTP Basic: some SDKs add an Authorization: Bearer of their own to
// the X-Auth headers.
func credentials(r *http.Request) (authID, token string, ok bool) {
	ids, tokens := r.Header.Values("X-Auth-ID"), r.Header.Values("X-Auth-Token")
	if len(ids) == 0 && len(tokens) == 0 {
		if len(r.Header.Values("Authorization")) != 1 {
			return "", "", false
		}
		return r.BasicAuth()
	}
	if len(ids) != 1 || len(tokens) != 1 {
		return "", "", false // missing, or given twice: which one would count?
	}
	return ids[0], tokens[0], true
}

// profile is the shape of what a client gets.
type profile int

const (
	profileFull profile = iota // the seed's
	profileSlim                // for clients that reject unknown keys
)

func (p profile) String() string { return [...]string{"full", "slim"}[p] }

// chooseProfile reads representation=slim|full from the query or a header, and
// knows the Python SDK by its X-Fern-Language.
func (r *request) chooseProfile() error {
	asked := r.Header.Get("Representation")
	if q, ok := r.URL.Query()["representation"]; ok {
		asked = q[0]
		if asked != "slim" && asked != "full" {
			return &account.Invalid{Fields: map[string]string{"representation": "Must be slim or full"}}
		}
	}
	switch {
	case asked == "slim":
		r.profile = profileSlim
	case asked != "full" && strings.EqualFold(r.Header.Get("X-Fern-Language"), "Python"):
		r.profile = profileSlim
	}
	return nil
}
