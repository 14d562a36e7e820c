package account

import "time"

// Optional tells an absent field, an explicit null and a value apart.
type Optional[T any] struct {
	Set   bool // the field was present, as a value or as null
	Null  bool
	Value T // zero when absent or null
}

// Some is a present value.
func Some[T any](v T) Optional[T] { return Optional[T]{Set: true, Value: v} }

// Null is a field that was present as null.
func Null[T any]() Optional[T] { return Optional[T]{Set: true, Null: true} }

// EndpointSpec asks for an endpoint. Absent fields get their defaults.
type EndpointSpec struct {
	Username    Optional[string]
	Password    Optional[string]
	HA1MD5      Optional[string] // hex, instead of Password; bulk creation only
	HA1SHA256   Optional[string] // hex, beside HA1MD5; bulk creation only
	Alias       Optional[string]
	Application Optional[string] // app_id or Application resource path; null or "" is none
	Domain      Optional[string]
	SubAccount  Optional[string] // null is none

	AllowVoice        Optional[bool]
	AllowMessage      Optional[bool]
	AllowVideo        Optional[bool]
	AllowSameDomain   Optional[bool]
	AllowOtherDomains Optional[bool]
	AllowPhones       Optional[bool]
	AllowApps         Optional[bool]

	MaxContacts Optional[int]
	ExpiresAt   Optional[time.Time] // null is never

	// Malformed holds the fields the caller could not read (wrong type,
	// unknown), by API name, each with a plain sentence. They are reported
	// together with those that break a rule.
	Malformed map[string]string
}

// EndpointPatch asks for a change of an endpoint. Absent fields stay. Locked
// fields may be carried; they are refused unless they equal the present value.
type EndpointPatch struct {
	Password     Optional[string]
	Overlap      Optional[int] // seconds that the old password goes on working beside a new one
	Alias        Optional[string]
	Application  Optional[string] // as in EndpointSpec; null or "" detaches
	AllowVoice   Optional[bool]
	AllowMessage Optional[bool]
	AllowVideo   Optional[bool]
	MaxContacts  Optional[int]
	ExpiresAt    Optional[time.Time] // null is never

	// locked
	Username          Optional[string]
	EndpointID        Optional[string]
	Domain            Optional[string]
	SubAccount        Optional[string]
	AllowSameDomain   Optional[bool]
	AllowOtherDomains Optional[bool]
	AllowPhones       Optional[bool]
	AllowApps         Optional[bool]

	Malformed map[string]string // as in EndpointSpec
}

// Page sizes of lists.
const (
	DefaultLimit = 20
	MaxLimit     = 100
)

// MaxBulk is how many endpoints one bulk request may create.
const MaxBulk = 1000

// Match selects by text; what is set must hold together. Usernames match
// without regard to case, as they do in SIP here; aliases as written.
type Match struct {
	Exact      Optional[string]
	Contains   Optional[string]
	StartsWith Optional[string]
}

// EndpointQuery selects one page of endpoints, newest first. All filters hold
// together.
type EndpointQuery struct {
	Limit  int // 1 to MaxLimit; callers put DefaultLimit when none is asked for
	Offset int

	Username          Match
	Alias             Match
	Application       Optional[string] // app_id or resource path
	ApplicationIsNull Optional[bool]
	SubAccount        Optional[string] // selects that sub-account's endpoints instead of the scope's own
	Registered        Optional[bool]   // has a live binding, or none

	Malformed map[string]string // query parameters the caller could not read
}
