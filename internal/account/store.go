package account

import (
	"context"
	"time"
)

// ChangeKind says what happened to an endpoint.
type ChangeKind uint8

// The kinds of changes.
const (
	Created ChangeKind = iota + 1
	Updated
	Deleted
)

func (k ChangeKind) String() string {
	switch k {
	case Created:
		return "created"
	case Updated:
		return "updated"
	case Deleted:
		return "deleted"
	}
	return "unknown"
}

// Change is one committed change of an endpoint. Before is zero for Created,
// After for Deleted.
type Change struct {
	Kind          ChangeKind
	Before, After Endpoint
	SecretChanged bool // the old credentials are worthless: on Updated with a new secret, and on Deleted
	Rotated       bool // there is a new secret, beside which the one before goes on working
	OverlapEnded  bool // the secret before does not work any more

	At      time.Time // when it was committed; zero: just now
	Seq     int64     // of its commit in the outbox; 0: it is not there
	Last    bool      // of its commit
	Foreign bool      // another server made it, which tells the world
}

// Changed names the fields that an update changed, as the API does.
func (c Change) Changed() (fields []string) {
	b, a := c.Before, c.After
	for _, f := range [...]struct {
		name    string
		changed bool
	}{
		{"alias", b.Alias != a.Alias}, {"application", b.Application != a.Application},
		{"allow_voice", b.Allow.Voice != a.Allow.Voice}, {"allow_message", b.Allow.Message != a.Allow.Message},
		{"allow_video", b.Allow.Video != a.Allow.Video}, {"max_contacts", b.MaxContacts != a.MaxContacts},
		{"limits", b.Limits != a.Limits},
		{"expires_at", !b.ExpiresAt.Equal(a.ExpiresAt)}, {"password", c.SecretChanged || c.Rotated},
	} {
		if f.changed {
			fields = append(fields, f.name)
		}
	}
	return fields
}

// AccountChange is one committed change of an account or sub-account. Before
// is zero for a new one, After for one deleted.
type AccountChange struct {
	Before, After Account
}

// ApplicationChange is the committed creation of an application, or its end.
type ApplicationChange struct {
	ID   string
	Gone bool
}

// Login is what authentication needs of an account.
type Login struct {
	Account   Account
	TokenHash [32]byte // Keys.HashToken of the auth token
}

// Reader looks things up. Unknown ones are ErrNotFound.
type Reader interface {
	Account(ctx context.Context, authID string) (Account, error)
	// AccountByID finds an account by its number.
	AccountByID(ctx context.Context, id int64) (Account, error)
	Application(ctx context.Context, appID string) (Application, error)
	// DefaultApplication returns the owner's application for endpoints that
	// are created without one.
	DefaultApplication(ctx context.Context, owner string) (Application, error)
	// Endpoint inside Store.Update holds the endpoint until the end of the
	// transaction: nobody else changes it meanwhile.
	Endpoint(ctx context.Context, id EndpointID) (Endpoint, error)
	// TakenUsernames returns those of the names, in lower case, that exist
	// in the domain in whatever case.
	TakenUsernames(ctx context.Context, domain string, names []string) (map[string]bool, error)
}

// Tx is a write transaction. It remembers accounts and applications that were
// looked up until one of them changes.
type Tx interface {
	Reader
	// InsertAccount and InsertEndpoint return ErrDuplicate when the
	// identifier exists; InsertEndpoint returns *Conflict when the username
	// does, and ErrNotFound when the owner does not.
	InsertAccount(ctx context.Context, a Account, token string) error
	UpdateAccount(ctx context.Context, before, after Account) error
	// DeleteAccount deletes an account that owns neither endpoints nor
	// applications.
	DeleteAccount(ctx context.Context, before Account) error
	SetToken(ctx context.Context, authID, token string) error
	InsertEndpoint(ctx context.Context, e Endpoint) error
	// InsertEndpoints is InsertEndpoint for many, fast. Its *Conflict names
	// none: TakenUsernames tells before.
	InsertEndpoints(ctx context.Context, all []Endpoint) error
	UpdateEndpoint(ctx context.Context, before, after Endpoint) error
	DeleteEndpoint(ctx context.Context, before Endpoint) error
	// InsertApplication returns ErrDuplicate when the identifier exists and
	// ErrNotFound when the owner does not; it and UpdateApplication return
	// ErrNameTaken when another of the owner's applications has the name.
	// What is put as a default takes that from the owner's others.
	InsertApplication(ctx context.Context, a Application) error
	UpdateApplication(ctx context.Context, a Application) error
	// DeleteApplication deletes one that no endpoint has attached.
	DeleteApplication(ctx context.Context, appID string) error
	ApplicationsOf(ctx context.Context, owner string) ([]Application, error)
	// EndpointsOf returns up to limit endpoints of the owner, held as by
	// Endpoint. EndpointsWith returns those that have the application
	// attached, ExpiredEndpoints those whose time has come.
	EndpointsOf(ctx context.Context, owner string, limit int) ([]Endpoint, error)
	// OverlapsEnded returns endpoints whose PreviousUntil has come.
	OverlapsEnded(ctx context.Context, now time.Time, limit int) ([]Endpoint, error)
	EndpointsWith(ctx context.Context, appID string, limit int) ([]Endpoint, error)
	ExpiredEndpoints(ctx context.Context, now time.Time, limit int) ([]Endpoint, error)
}

// Store keeps accounts, endpoints and applications. It seals secrets and
// tokens with the Keys it was opened with, keeps times to the second, and
// answers ErrUnavailable (wrapped) when it cannot serve at present.
type Store interface {
	Reader
	// Lookups returns a Reader for one task at a time, which answers what it
	// was asked before as it did then.
	Lookups() Reader
	Login(ctx context.Context, authID string) (Login, error)
	// Token returns an account's auth token in clear, to sign callbacks with.
	Token(ctx context.Context, authID string) (string, error)
	// Accounts lists main accounts and sub-accounts, oldest first.
	Accounts(ctx context.Context) ([]Account, error)
	// Applications returns those of the ids that exist.
	Applications(ctx context.Context, ids []string) (map[string]Application, error)
	// ApplicationPage returns one page of the owner's applications, newest
	// first, and the number of all that match.
	ApplicationPage(ctx context.Context, owner string, q ApplicationQuery) ([]Application, int, error)
	// SubAccounts returns one page of a main account's sub-accounts, newest
	// first, and the number of all that match.
	SubAccounts(ctx context.Context, parent string, q SubAccountQuery) ([]Account, int, error)
	// NextExpiry returns when the next endpoint expires; zero when none does.
	NextExpiry(ctx context.Context) (time.Time, error)
	// NextOverlapEnd does the same for the end of old secrets.
	NextOverlapEnd(ctx context.Context) (time.Time, error)
	// Endpoints returns one page of the owner's endpoints and the number of
	// all that match. The query's SubAccount and Malformed are the Service's.
	Endpoints(ctx context.Context, owner string, q EndpointQuery) ([]Endpoint, int, error)
	// EndpointNamed finds an endpoint by its username as it is spelt.
	EndpointNamed(ctx context.Context, domain, username string) (Endpoint, error)
	// SaveUses stores when accounts' keys were used, by auth_id, where that is
	// later than what is stored.
	SaveUses(ctx context.Context, at map[string]time.Time) error
	// SetRegistered says whether an endpoint has a live binding, for the
	// filter of Endpoints; of those that the store has not passed on yet it
	// may know nothing. It waits for nothing.
	SetRegistered(id EndpointID, is bool)
	// ApplicationIDs lists all applications.
	ApplicationIDs(ctx context.Context) ([]string, error)
	// EachEndpoint calls f with every endpoint, oldest first, until f fails.
	EachEndpoint(ctx context.Context, f func(Endpoint) error) error

	// Update runs f in one write transaction: all of it is durable when
	// Update returns nil, none of it happened otherwise. Transactions act as
	// if one ran after the other. f may run more than once and must have no
	// effect but through tx; it must not call the Store itself.
	Update(ctx context.Context, f func(ctx context.Context, tx Tx) error) error
	// Subscribe registers f for every committed change, each once, in commit
	// order; for those made through this Store before Update returns. f must
	// be quick and must not call Update. It cannot be taken back.
	Subscribe(f func(Change))
	// SubscribeAccounts does the same for changes of accounts, and
	// SubscribeApplications for new applications and deleted ones.
	SubscribeAccounts(f func(AccountChange))
	SubscribeApplications(f func(ApplicationChange))
	Close() error
}
