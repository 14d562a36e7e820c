package api

import (
	"net/http/httptest"
	"net/netip"
	"slices"
	"testing"
	"time"
)

const adminToken = "S3cret-admin-token"

// banList stands in for the bans.
type banList struct{ list []Ban }

func (b *banList) Mode() string { return "on" }
func (b *banList) Bans() []Ban  { return b.list }
func (b *banList) LiftAll()     { b.list = nil }

func (b *banList) Lift(id string) bool {
	before := len(b.list)
	b.list = slices.DeleteFunc(b.list, func(x Ban) bool { return x.ID == id })
	return len(b.list) < before
}

func banFrom(pairs map[string]string, now time.Time) (Ban, error) {
	source, err := netip.ParsePrefix(pairs["source"])
	return Ban{ID: pairs["id"], Source: source, Domain: "sip.example.com", Username: pairs["user"],
		Reason: "auth.wrong_digests", Began: now, Ends: now.Add(time.Minute)}, err
}

// Without a token there is no administration, whatever a request carries.
func TestNoAdministrationWithoutToken(t *testing.T) {
	w := newWorld(t)
	w.config.AdminToken, w.config.Bans = "", nil
	w.handler = New(w.config)
	for _, token := range []string{"none", "", adminToken} {
		for _, target := range []string{"GET /v1/admin/bans/", "DELETE /v1/admin/bans/", "DELETE /v1/admin/bans/x", "PUT /v1/admin/bans/x"} {
			var method, path string
			for i := range target {
				if target[i] == ' ' {
					method, path = target[:i], target[i+1:]
				}
			}
			r := httptest.NewRequest(method, path, nil)
			if token != "none" {
				r.Header.Set("X-Admin-Token", token)
			}
			rec := httptest.NewRecorder()
			if w.handler.ServeHTTP(rec, r); rec.Code != 404 {
				t.Errorf("%s with token %q: %d", target, token, rec.Code)
			}
		}
	}
}

// Two tokens are none: which one would count?
func TestAdminTokenTwice(t *testing.T) {
	w := newWorld(t)
	r := httptest.NewRequest("GET", "/v1/admin/bans/", nil)
	r.Header["X-Admin-Token"] = []string{adminToken, adminToken}
	if rec := w.do(r); rec.Code != 401 {
		t.Errorf("%d", rec.Code)
	}
}
