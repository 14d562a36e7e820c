package client

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Endpoint is a SIP account with its live registration.
type Endpoint struct {
	ID                string               `json:"endpoint_id"` // 15 digits
	Username          string               `json:"username"`
	Alias             string               `json:"alias"`
	SIPURI            string               `json:"sip_uri"` // sip:username@domain
	Registered        Flag                 `json:"sip_registered"`
	Contact           *string              `json:"sip_contact"` // host:port of the newest binding's Contact
	Expires           *time.Time           `json:"sip_expires"`
	UserAgent         *string              `json:"sip_user_agent"`
	Registration      *Registration        `json:"sip_registration,omitempty"` // when retrieved while registered
	Application       *EndpointApplication `json:"application"`
	AllowVoice        bool                 `json:"allow_voice"`
	AllowMessage      bool                 `json:"allow_message"`
	AllowVideo        bool                 `json:"allow_video"`
	AllowSameDomain   bool                 `json:"allow_same_domain"`
	AllowOtherDomains bool                 `json:"allow_other_domains"`
	AllowPhones       bool                 `json:"allow_phones"`
	AllowApps         bool                 `json:"allow_apps"`
	SubAccount        *string              `json:"sub_account"`
	ResourceURI       string               `json:"resource_uri"`
	CreatedAt         time.Time            `json:"created_at"`
	UpdatedAt         time.Time            `json:"updated_at"`
}

// Flag is a boolean that the API writes as the string "true" or "false".
type Flag bool

// MarshalJSON writes it as the API does.
func (f Flag) MarshalJSON() ([]byte, error) { return json.Marshal(strconv.FormatBool(bool(f))) }

// UnmarshalJSON reads the string, and a plain boolean too.
func (f *Flag) UnmarshalJSON(text []byte) error {
	switch string(text) {
	case `"true"`, `true`:
		*f = true
	case `"false"`, `false`:
		*f = false
	default:
		return fmt.Errorf("%s is neither true nor false", text)
	}
	return nil
}

// Registration is an endpoint's newest binding.
type Registration struct {
	Contact   string    `json:"contact"` // the whole Contact URI
	Expires   time.Time `json:"expires"`
	UserAgent *string   `json:"user_agent"`
	Received  string    `json:"received"` // host:port the REGISTER came from
	Path      *string   `json:"path"`     // RFC 3327
}

// EndpointApplication is the application attached to an endpoint.
type EndpointApplication struct {
	ID           string `json:"app_id"`
	Name         string `json:"app_name"`
	AnswerURL    string `json:"answer_url"`
	AnswerMethod string `json:"answer_method"`
}

// EndpointSpec is a new endpoint. Username and a secret are needed; what is
// nil or empty gets the server's default.
type EndpointSpec struct {
	Username          string     `json:"username"`
	Password          string     `json:"password,omitempty"`   // 8 to 128 printable ASCII characters
	HA1MD5            string     `json:"ha1_md5,omitempty"`    // instead of Password, in CreateEndpoints alone
	HA1SHA256         string     `json:"ha1_sha256,omitempty"` // beside HA1MD5
	Alias             string     `json:"alias,omitempty"`
	Application       string     `json:"application,omitempty"` // app_id
	Domain            string     `json:"domain,omitempty"`
	SubAccount        string     `json:"sub_account,omitempty"` // auth_id of its owner
	AllowVoice        *bool      `json:"allow_voice,omitempty"`
	AllowMessage      *bool      `json:"allow_message,omitempty"`
	AllowVideo        *bool      `json:"allow_video,omitempty"`
	AllowSameDomain   *bool      `json:"allow_same_domain,omitempty"`
	AllowOtherDomains *bool      `json:"allow_other_domains,omitempty"`
	AllowPhones       *bool      `json:"allow_phones,omitempty"`
	AllowApps         *bool      `json:"allow_apps,omitempty"`
	MaxContacts       int        `json:"max_contacts,omitempty"` // 1 to 20
	ExpiresAt         *time.Time `json:"expires_at,omitempty"`   // when it deletes itself
}

// EndpointPatch changes an endpoint; nil leaves a field as it is.
type EndpointPatch struct {
	Password        *string    `json:"password,omitempty"`
	PasswordOverlap *int       `json:"password_overlap,omitempty"` // seconds that the old one still works, up to 7 days
	Alias           *string    `json:"alias,omitempty"`
	Application     *string    `json:"application,omitempty"` // app_id; "" detaches
	AllowVoice      *bool      `json:"allow_voice,omitempty"`
	AllowMessage    *bool      `json:"allow_message,omitempty"`
	AllowVideo      *bool      `json:"allow_video,omitempty"`
	MaxContacts     *int       `json:"max_contacts,omitempty"`
	ExpiresAt       *time.Time `json:"expires_at,omitempty"`
}

// EndpointCreated names a new endpoint.
type EndpointCreated struct {
	ID          string `json:"endpoint_id"`
	Username    string `json:"username"`
	Alias       string `json:"alias"`
	SIPURI      string `json:"sip_uri"`
	ResourceURI string `json:"resource_uri"`
}

// EndpointQuery selects endpoints; conditions that are nil or empty are none.
type EndpointQuery struct {
	Username           string // exact, in any case
	UsernameContains   string
	UsernameStartsWith string
	Alias              string // exact
	AliasContains      string
	AliasStartsWith    string
	Application        string // app_id
	HasApplication     *bool
	Registered         *bool
	SubAccount         string // its endpoints instead of the account's own
}

func (q EndpointQuery) values() url.Values {
	v := url.Values{}
	for name, value := range map[string]string{
		"username__exact": q.Username, "username__contains": q.UsernameContains, "username__startswith": q.UsernameStartsWith,
		"alias__exact": q.Alias, "alias__contains": q.AliasContains, "alias__startswith": q.AliasStartsWith,
		"application_id__exact": q.Application, "sub_account": q.SubAccount,
	} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if q.HasApplication != nil {
		v.Set("application_id__isnull", strconv.FormatBool(!*q.HasApplication))
	}
	if q.Registered != nil {
		v.Set("sip_registered", strconv.FormatBool(*q.Registered))
	}
	return v
}

// Page is one page of a list.
type Page[T any] struct {
	Meta struct {
		Limit    int     `json:"limit"`
		Offset   int     `json:"offset"`
		Total    int     `json:"total_count"`
		Next     *string `json:"next"`
		Previous *string `json:"previous"`
	} `json:"meta"`
	Objects []T `json:"objects"`
}

// pageSize is the largest page that the server gives.
const pageSize = 100

// EndpointPage returns one page, newest first. A limit of 0 is the server's default.
func (c *Client) EndpointPage(ctx context.Context, q EndpointQuery, limit, offset int) (Page[Endpoint], error) {
	return page[Endpoint](ctx, c, c.path("Endpoint"), q.values(), limit, offset)
}

// Endpoints walks through all that match, newest first. It ends after an error.
func (c *Client) Endpoints(ctx context.Context, q EndpointQuery) iter.Seq2[Endpoint, error] {
	return pages[Endpoint](ctx, c, c.path("Endpoint"), q.values())
}

func page[T any](ctx context.Context, c *Client, path string, query url.Values, limit, offset int) (p Page[T], err error) {
	if limit > 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	query.Set("offset", strconv.Itoa(offset))
	err = c.do(ctx, "GET", path, query, nil, &p)
	return p, err
}

func pages[T any](ctx context.Context, c *Client, path string, query url.Values) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for offset := 0; ; offset += pageSize {
			p, err := page[T](ctx, c, path, query, pageSize, offset)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, object := range p.Objects {
				if !yield(object, nil) {
					return
				}
			}
			if p.Meta.Next == nil {
				return
			}
		}
	}
}

// Endpoint returns one endpoint.
func (c *Client) Endpoint(ctx context.Context, id string) (e Endpoint, err error) {
	err = c.do(ctx, "GET", c.path("Endpoint", id), nil, nil, &e)
	return e, err
}

// CreateEndpoint makes an endpoint, which may register at once.
func (c *Client) CreateEndpoint(ctx context.Context, spec EndpointSpec) (e EndpointCreated, err error) {
	err = c.do(ctx, "POST", c.path("Endpoint"), nil, spec, &e)
	return e, err
}

// MaxBulk is how many endpoints CreateEndpoints takes at once.
const MaxBulk = 1000

// CreateEndpoints makes up to MaxBulk endpoints, all or none, and returns their
// names and ids in the order given. A dry run checks everything, changes
// nothing and returns nothing.
func (c *Client) CreateEndpoints(ctx context.Context, specs []EndpointSpec, dryRun bool) ([]EndpointCreated, error) {
	query := url.Values{}
	if dryRun {
		query.Set("dry_run", "true")
	}
	var out struct {
		Objects []EndpointCreated `json:"objects"`
	}
	body := map[string]any{"objects": specs}
	return out.Objects, c.do(ctx, "POST", c.bare("Endpoint", "bulk"), query, body, &out)
}

// UpdateEndpoint changes the fields that are set. A new password ends every
// registration.
func (c *Client) UpdateEndpoint(ctx context.Context, id string, patch EndpointPatch) error {
	return c.do(ctx, "POST", c.path("Endpoint", id), nil, patch, nil)
}

// EndpointState is what an endpoint shall be; what is nil or empty gets its
// default when it is made, and stays when it is there.
type EndpointState struct {
	Password          string     `json:"password,omitempty"` // needed to make it
	PasswordOverlap   int        `json:"password_overlap,omitempty"`
	Alias             string     `json:"alias,omitempty"`
	Application       *string    `json:"application,omitempty"` // app_id; "" detaches
	Domain            string     `json:"domain,omitempty"`
	SubAccount        string     `json:"sub_account,omitempty"`
	AllowVoice        *bool      `json:"allow_voice,omitempty"`
	AllowMessage      *bool      `json:"allow_message,omitempty"`
	AllowVideo        *bool      `json:"allow_video,omitempty"`
	AllowSameDomain   *bool      `json:"allow_same_domain,omitempty"`
	AllowOtherDomains *bool      `json:"allow_other_domains,omitempty"`
	AllowPhones       *bool      `json:"allow_phones,omitempty"`
	AllowApps         *bool      `json:"allow_apps,omitempty"`
	MaxContacts       int        `json:"max_contacts,omitempty"`
	ExpiresAt         *time.Time `json:"expires_at,omitempty"`
}

// PutEndpoint brings the endpoint of a username to a state: it makes it, which
// created tells, or changes the one there is. Doing it again changes nothing.
func (c *Client) PutEndpoint(ctx context.Context, username string, state EndpointState) (e Endpoint, created bool, err error) {
	status, err := c.send(ctx, "PUT", c.bare("Endpoint", "by-username", username), nil, state, &e)
	return e, status == http.StatusCreated, err
}

// DeleteEndpoint deletes an endpoint and ends its registrations.
func (c *Client) DeleteEndpoint(ctx context.Context, id string) error {
	return c.do(ctx, "DELETE", c.path("Endpoint", id), nil, nil, nil)
}

// Bindings are where an endpoint's devices are.
type Bindings struct {
	MaxContacts int        `json:"max_contacts"`
	ExpiresAt   *time.Time `json:"expires_at"` // when the endpoint deletes itself
	Objects     []Binding  `json:"objects"`    // newest first
}

// Binding is one registered contact.
type Binding struct {
	ID           string    `json:"binding_id"`
	Contact      string    `json:"contact"`
	Received     string    `json:"received"` // host:port
	Transport    string    `json:"transport"`
	Path         *string   `json:"path"`
	UserAgent    *string   `json:"user_agent"`
	InstanceID   *string   `json:"instance_id"` // RFC 5626
	RegID        *int      `json:"reg_id"`
	RegisteredAt time.Time `json:"registered_at"`
	Expires      time.Time `json:"expires"`
	LastSeen     time.Time `json:"last_seen"`
	State        string    `json:"state"`  // reachable or suspect
	Secret       string    `json:"secret"` // current or previous
}

// Bindings returns an endpoint's registrations.
func (c *Client) Bindings(ctx context.Context, endpoint string) (b Bindings, err error) {
	err = c.do(ctx, "GET", c.path("Endpoint", endpoint, "Registration"), nil, nil, &b)
	return b, err
}

// EndBinding ends one registration, EndBindings all of an endpoint's.
func (c *Client) EndBinding(ctx context.Context, endpoint, binding string) error {
	return c.do(ctx, "DELETE", c.path("Endpoint", endpoint, "Registration", binding), nil, nil, nil)
}

// EndBindings ends every registration of an endpoint.
func (c *Client) EndBindings(ctx context.Context, endpoint string) error {
	return c.do(ctx, "DELETE", c.path("Endpoint", endpoint, "Registration"), nil, nil, nil)
}

// Trace returns the last attempts of an endpoint to register, call and send
// messages, with the SIP messages, as json, text (for people) or pcap (for
// Wireshark).
func (c *Client) Trace(ctx context.Context, endpoint, format string) (trace []byte, err error) {
	err = c.do(ctx, "GET", c.path("Endpoint", endpoint, "Trace"), url.Values{"format": {format}}, nil, &trace)
	return trace, err
}
