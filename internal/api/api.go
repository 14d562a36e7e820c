// Package api serves the REST API: it turns HTTP requests into calls of
// account.Service and its answers into the JSON the contract fixes. It decides
// no rule of accounts, keeps nothing and knows no SIP beyond what a binding
// shows.
package api

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"onhook/internal/account"
	"onhook/internal/callrecord"
	"onhook/internal/location"
)

// Service is what the API asks of accounts; *account.Service is one.
type Service interface {
	Authenticate(ctx context.Context, authID, token string) (account.Account, error)
	Scope(ctx context.Context, caller account.Account, authID string) (account.Account, error)
	RotateToken(ctx context.Context, authID string) (string, error)

	CreateSubAccount(ctx context.Context, parent account.Account, spec account.SubAccountSpec) (account.Account, string, error)
	SubAccount(ctx context.Context, parent account.Account, id string) (account.Account, error)
	SubAccounts(ctx context.Context, parent account.Account, q account.SubAccountQuery) ([]account.Account, int, error)
	UpdateSubAccount(ctx context.Context, parent account.Account, id string, spec account.SubAccountSpec) (account.Account, error)
	DeleteSubAccount(ctx context.Context, parent account.Account, id string, cascade bool) error

	ApplicationDomain() string
	CreateApplication(ctx context.Context, owner account.Account, spec account.ApplicationSpec) (account.Application, error)
	Application(ctx context.Context, scope account.Account, appID string) (account.Application, error)
	Applications(ctx context.Context, ids []string) (map[string]account.Application, error)
	ApplicationPage(ctx context.Context, scope account.Account, q account.ApplicationQuery) ([]account.Application, int, error)
	UpdateApplication(ctx context.Context, scope account.Account, appID string, spec account.ApplicationSpec) (account.Application, error)
	DeleteApplication(ctx context.Context, scope account.Account, appID string, how account.Detach) error

	CreateEndpoint(ctx context.Context, owner account.Account, spec account.EndpointSpec) (account.Endpoint, error)
	PutEndpoint(ctx context.Context, owner account.Account, spec account.EndpointSpec, patch account.EndpointPatch) (account.Endpoint, bool, error)
	CreateEndpoints(ctx context.Context, owner account.Account, specs []account.EndpointSpec, dryRun bool) ([]account.Endpoint, error)
	Endpoint(ctx context.Context, scope account.Account, id account.EndpointID) (account.Endpoint, error)
	Endpoints(ctx context.Context, scope account.Account, q account.EndpointQuery) ([]account.Endpoint, int, error)
	UpdateEndpoint(ctx context.Context, scope account.Account, id account.EndpointID, patch account.EndpointPatch) (account.Endpoint, error)
	DeleteEndpoint(ctx context.Context, scope account.Account, id account.EndpointID) error

	SetEndpointLimits(ctx context.Context, scope account.Account, id account.EndpointID, patch account.LimitsPatch) error
	SetAccountLimits(ctx context.Context, caller account.Account, authID string, patch account.LimitsPatch) error
}

// Registrations is what the API asks of the registrar's bindings. An error
// that wraps account.ErrUnavailable is answered with 503, any other with 500.
type Registrations interface {
	// Bindings returns the endpoint's live bindings, newest first.
	Bindings(id account.EndpointID) []location.Binding
	// End ends one binding; false when there is no such binding.
	End(ctx context.Context, id account.EndpointID, bindingID string) (bool, error)
	// EndAll ends every binding of the endpoint.
	EndAll(ctx context.Context, id account.EndpointID) error
}

// DefaultStreams is how many event streams an account may have open.
const DefaultStreams = 20

// Bans is what server administration asks of the bans for wrong passwords.
type Bans interface {
	Mode() string // off, dry_run or on
	// Bans returns the bans under way, newest first.
	Bans() []Ban
	// Lift ends a ban; false when there is no such ban.
	Lift(id string) bool
	LiftAll()
}

// DefaultTimeout is how long a request may take, its body included.
const DefaultTimeout = 30 * time.Second

// Config is what the API is built from. Service, Registrations, DryRun, Calls,
// Records, Events, Webhooks and Answers must be set.
type Config struct {
	Service       Service
	Registrations Registrations
	DryRun        DryRun
	Traces        Traces
	Calls         Calls
	Records       callrecord.Store
	AccountLimits account.Limits // what no account exceeds
	Events        Events
	Bans          Bans          // nil only without AdminToken
	Trunks        Trunks        // nil only without AdminToken
	AdminToken    string        // for /v1/admin/; "": all of it is 404
	Ready         func() error  // nil when ready, else why not (errors.Join for several reasons)
	Metrics       http.Handler  // serves /metrics; nil: 404
	Logger        *slog.Logger  // nil: nothing is logged
	Timeout       time.Duration // of one request; 0: DefaultTimeout

	Webhooks Webhooks
	Answers  Answers
	Stats    *Stats          // what is counted; nil: nothing
	Stopping <-chan struct{} // closed when event streams shall end; nil: never

	StreamsPerAccount int              // event streams open at a time; 0: DefaultStreams
	Now               func() time.Time // nil: time.Now
}

// Stats are figures for the metrics.
type Stats struct {
	Answered     [6]atomic.Uint64 // requests, by the first digit of their status
	RateLimited  atomic.Uint64    // requests of accounts that made too many
	Replayed     atomic.Uint64    // answers given again for an Idempotency-Key
	KeyConflicts atomic.Uint64    // requests with the key of another one
}

type handler struct {
	Config
	log     *slog.Logger
	admin   [sha256.Size]byte // hash of AdminToken
	streams streams
	limits  rateLimits
}

// New returns the handler of everything the API serves. It starts nothing.
func New(c Config) http.Handler {
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.StreamsPerAccount <= 0 {
		c.StreamsPerAccount = DefaultStreams
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Stats == nil {
		c.Stats = &Stats{}
	}
	return &handler{Config: c, limits: rateLimits{now: c.Now}, log: c.Logger.With("package", "api"), admin: sha256.Sum256([]byte(c.AdminToken))}
}

// request is one HTTP request on its way through a handler.
type request struct {
	*http.Request
	w       http.ResponseWriter
	id      string // api_id
	params  map[string]string
	prefix  string // "/api" when the client wrote /api/v1, else ""
	caller  account.Account
	scope   account.Account // the account of the path
	profile profile
}

// ServeHTTP gives every request its api_id and its deadline, and every
// outcome, a panic included, its answer and its line in the access log.
func (h *handler) ServeHTTP(w http.ResponseWriter, hr *http.Request) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(hr.Context(), h.Timeout)
	defer cancel()
	r := &request{Request: hr.WithContext(ctx), w: w, id: uuid.NewString()}
	w.Header().Set("X-Request-Id", r.id)

	rep := h.answer(r)
	if rep.handler != nil {
		rep.handler.ServeHTTP(w, r.Request)
	} else {
		h.write(r, rep)
	}
	if rep.stream != nil {
		rep.stream(hr.Context()) // without the deadline of ordinary requests
	}
	if class := rep.status / 100; class < len(h.Stats.Answered) {
		h.Stats.Answered[class].Add(1)
	}
	h.logAccess(r, rep, time.Since(start))
}

// answer runs the route's function and turns whatever goes wrong into a reply.
func (h *handler) answer(r *request) (rep reply) {
	defer func() {
		if p := recover(); p != nil {
			h.log.LogAttrs(r.Context(), slog.LevelError, "panic", slog.String("api_id", r.id),
				slog.String("panic", fmt.Sprint(p)), slog.String("stack", string(debug.Stack())))
			rep = fail(http.StatusInternalServerError, "internal error")
		}
	}()
	rep, err := h.dispatch(r)
	if err == nil {
		return rep
	}
	rep, cause := errorReply(err)
	if cause != nil && !errors.Is(err, context.Canceled) {
		h.log.LogAttrs(r.Context(), slog.LevelError, "request failed",
			slog.String("api_id", r.id), slog.Any("error", cause))
	}
	return rep
}

// dispatch finds the route, authenticates where the route asks for it, and
// calls it.
func (h *handler) dispatch(r *request) (reply, error) {
	route, params, prefix := match(r.URL.EscapedPath())
	if route == nil || (route.template == "/metrics" && h.Metrics == nil) || (route.admin && h.AdminToken == "") {
		return fail(http.StatusNotFound, "not found"), nil
	}
	r.params, r.prefix = params, prefix
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	serve := route.methods[method]
	if serve == nil {
		rep := fail(http.StatusMethodNotAllowed, "method not allowed")
		rep.header = map[string]string{"Allow": strings.Join(route.allow(), ", ")}
		return rep, nil
	}
	if route.admin {
		if !h.administrator(r) {
			rep := fail(http.StatusUnauthorized, "invalid credentials")
			rep.header = map[string]string{"WWW-Authenticate": `X-Admin-Token realm="onhook"`}
			return rep, nil
		}
	} else if !route.public {
		if err := h.authenticate(r); err != nil {
			return reply{}, err
		}
		if !h.limits.allow(r.caller) {
			h.Stats.RateLimited.Add(1)
			return tooMany("the account makes more requests than it may, try again later", 1), nil
		}
		if err := r.chooseProfile(); err != nil {
			return reply{}, err
		}
		if r.Method == http.MethodPost && len(r.Header.Values(idempotencyKey)) > 0 {
			return h.once(r, route, serve)
		}
	}
	return serve(h, r)
}

// logAccess writes the access log. The query is left out: a client that puts
// a password there must not find it in a log.
func (h *handler) logAccess(r *request, rep reply, took time.Duration) {
	level := slog.LevelInfo
	if rep.quiet {
		level = slog.LevelDebug
	}
	path := r.URL.EscapedPath()
	if len(path) > 256 {
		path = path[:256]
	}
	h.log.LogAttrs(r.Context(), level, "request",
		slog.String("api_id", r.id), slog.String("method", r.Method), slog.String("path", path),
		slog.Int("status", rep.status), slog.String("account", r.caller.AuthID),
		slog.String("remote", r.RemoteAddr), slog.Duration("took", took))
}
