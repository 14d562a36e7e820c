// Package account holds what users own: accounts, sub-accounts, endpoints and
// applications, the rules they obey, and the Store that keeps them. It knows
// no SQL, no HTTP and no SIP.
package account

import (
	"errors"
	"strconv"
	"time"
)

// Account is a main account or, when Parent is set, a sub-account of one.
type Account struct {
	ID          int64  // a number beside the auth_id, which some clients ask for; tells nothing
	AuthID      string // "MA_" or "SA_" and 8 of A-Z0-9
	Parent      string // auth_id of the main account; "" for a main account
	Name        string
	Email       string
	Phone       string
	Description string
	Permissions string // a JSON value, kept for the client; "" for none
	RateLimit   int    // requests per second; 0: the server's default
	Limits      Limits // of the calls of all its endpoints together
	Enabled     bool
	CreatedAt   time.Time
	UpdatedAt   time.Time
	LastUsed    time.Time // its key, to the minute; zero: never
}

// Main returns the auth_id of the main account it belongs to: its own, or its
// parent's.
func (a Account) Main() string {
	if a.Parent != "" {
		return a.Parent
	}
	return a.AuthID
}

// EndpointID identifies an endpoint: 15 decimal digits without a leading zero.
type EndpointID uint64

func (id EndpointID) String() string { return strconv.FormatUint(uint64(id), 10) }

// ParseEndpointID reads the decimal form; ok is false for anything else.
func ParseEndpointID(s string) (id EndpointID, ok bool) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || len(s) != 15 || s[0] == '0' {
		return 0, false
	}
	return EndpointID(n), true
}

// Permissions are the flags that say whom an endpoint may reach, and how.
type Permissions struct {
	Voice        bool `json:",omitempty"`
	Message      bool `json:",omitempty"`
	Video        bool `json:",omitempty"`
	SameDomain   bool `json:",omitempty"`
	OtherDomains bool `json:",omitempty"`
	Phones       bool `json:",omitempty"`
	Apps         bool `json:",omitempty"`
}

// Secret is what is kept of a password: HA1 = H(username:realm:password) in
// both digest algorithms (RFC 7616 3.4.2).
type Secret struct {
	MD5       [16]byte
	SHA256    [32]byte
	HasSHA256 bool // false for endpoints imported with an MD5 HA1 alone
}

// MarshalJSON refuses: a secret leaves the program sealed (Keys.SealSecret) or
// not at all.
func (Secret) MarshalJSON() ([]byte, error) {
	return nil, errors.New("a secret is not written in clear")
}

// Endpoint is a SIP account: its address-of-record is sip:Username@Domain and
// its digest realm is Domain. As JSON, between servers, it has no secrets.
type Endpoint struct {
	ID          EndpointID
	Owner       string // auth_id of the account or sub-account it belongs to
	Main        string // auth_id of the main account; equals Owner outside sub-accounts
	Username    string // spelled as at creation
	Domain      string
	Alias       string
	Application string `json:",omitempty"` // app_id, "" when none is attached
	Allow       Permissions
	MaxContacts int
	Limits      Limits    `json:",omitzero"`
	ExpiresAt   time.Time `json:",omitzero"` // zero: never
	Secret      Secret    `json:"-"`

	Previous      Secret    `json:"-"`         // the one before, which works until PreviousUntil
	PreviousUntil time.Time `json:",omitzero"` // zero: there is none

	CreatedAt time.Time
	UpdatedAt time.Time
}

// Application says what happens to a call: whom the router asks by HTTP.
type Application struct {
	ID    string // 17 decimal digits ending in 00
	Owner string // auth_id
	Name  string // unique among the owner's

	AnswerURL      string
	AnswerMethod   string // GET or POST, as all methods
	FallbackURL    string // asked when the answer URL fails; "" for none, as all URLs
	FallbackMethod string
	HangupURL      string // "": the answer URL
	HangupMethod   string
	MessageURL     string
	MessageMethod  string
	TransferURL    string
	TransferMethod string

	LogMessages     bool
	PublicURI       bool
	Enabled         bool
	DefaultEndpoint bool // for endpoints created without an application; one per owner
	DefaultNumber   bool // for phone numbers without an application; one per owner

	CreatedAt time.Time
	UpdatedAt time.Time
}
