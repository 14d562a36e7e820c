package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/netip"
	"time"
)

// Ban is one user who is refused at one source.
type Ban struct {
	ID       string
	Source   netip.Prefix
	Domain   string
	Username string // as claimed; there may be no such user
	Reason   string
	Began    time.Time
	Ends     time.Time
	DryRun   bool
}

type banJSON struct {
	BanID    string `json:"ban_id"`
	Source   string `json:"source"`
	Domain   string `json:"domain"`
	Username string `json:"username"`
	Reason   string `json:"reason"`
	BeganAt  string `json:"began_at"`
	EndsAt   string `json:"ends_at"`
	DryRun   bool   `json:"dry_run"`
}

type bansJSON struct {
	APIID   string    `json:"api_id"`
	Mode    string    `json:"mode"`
	Objects []banJSON `json:"objects"`
}

// administrator reports whether a request carries the admin token, once. Hashes
// are compared, so that the time tells neither its letters nor its length.
func (h *handler) administrator(r *request) bool {
	tokens := r.Header.Values("X-Admin-Token")
	if len(tokens) != 1 {
		return false
	}
	sum := sha256.Sum256([]byte(tokens[0]))
	return subtle.ConstantTimeCompare(sum[:], h.admin[:]) == 1
}

// listBans answers GET on /v1/admin/bans/.
func (h *handler) listBans(r *request) (reply, error) {
	out := bansJSON{APIID: r.id, Mode: h.Bans.Mode(), Objects: []banJSON{}}
	for _, b := range h.Bans.Bans() {
		source := b.Source.String()
		if b.Source.IsSingleIP() {
			source = b.Source.Addr().String()
		}
		out.Objects = append(out.Objects, banJSON{BanID: b.ID, Source: source, Domain: b.Domain, Username: b.Username,
			Reason: b.Reason, BeganAt: timestamp(b.Began), EndsAt: timestamp(b.Ends), DryRun: b.DryRun})
	}
	return reply{status: http.StatusOK, body: out}, nil
}

// liftBans answers DELETE on /v1/admin/bans/.
func (h *handler) liftBans(*request) (reply, error) {
	h.Bans.LiftAll()
	return reply{status: http.StatusNoContent}, nil
}

// liftBan answers DELETE on /v1/admin/bans/{ban_id}.
func (h *handler) liftBan(r *request) (reply, error) {
	id := r.params["ban_id"]
	if !h.Bans.Lift(id) {
		return reply{}, &refusal{status: http.StatusNotFound, body: errorJSON{Error: "Ban not found", BanID: id}}
	}
	return reply{status: http.StatusNoContent}, nil
}
