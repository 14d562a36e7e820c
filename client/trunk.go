package client

import (
	"context"
	"iter"
	"net/url"
	"time"
)

// adminPath is where server administration begins. It needs the AdminToken.
const adminPath = "/v1/admin/"

// Trunk is one way to the telephone network, and how it is doing.
type Trunk struct {
	Name            string            `json:"name"`
	URI             string            `json:"uri"`
	Transport       *string           `json:"transport"`
	Username        *string           `json:"username"`
	Register        bool              `json:"register"`
	RegisterExpires int               `json:"register_expires"` // seconds
	Prefixes        []string          `json:"prefixes"`
	Strip           int               `json:"strip"`
	Prepend         string            `json:"prepend"`
	CallerID        *string           `json:"caller_id"`
	CallerIDIn      string            `json:"caller_id_in"` // asserted or from
	Priority        int               `json:"priority"`
	Weight          int               `json:"weight"`
	MaxCalls        int               `json:"max_calls"` // 0: any number
	Networks        []string          `json:"networks"`
	TLSName         *string           `json:"tls_name"`
	ReadOnly        bool              `json:"read_only"` // of the configuration file
	Calls           int               `json:"calls"`     // under way
	Registration    TrunkRegistration `json:"registration"`
}

// TrunkRegistration is how the server's registration with a trunk stands.
type TrunkRegistration struct {
	State   string     `json:"state"` // off, trying, registered or failed
	Until   *time.Time `json:"until"` // when it ends; of a failed one, the next attempt
	Address *string    `json:"address"`
	Error   *string    `json:"error"`
}

// TrunkPatch makes or changes a trunk: a new one needs Name and URI, and nil leaves
// a field as it is. Texts that are empty are none.
type TrunkPatch struct {
	Name            *string   `json:"name,omitempty"` // of a new one alone
	URI             *string   `json:"uri,omitempty"`
	Transport       *string   `json:"transport,omitempty"` // udp, tcp or tls
	Username        *string   `json:"username,omitempty"`  // an empty one takes the password along
	Password        *string   `json:"password,omitempty"`
	Register        *bool     `json:"register,omitempty"`
	RegisterExpires *int      `json:"register_expires,omitempty"` // seconds
	Prefixes        *[]string `json:"prefixes,omitempty"`
	Strip           *int      `json:"strip,omitempty"`
	Prepend         *string   `json:"prepend,omitempty"`
	CallerID        *string   `json:"caller_id,omitempty"`
	CallerIDIn      *string   `json:"caller_id_in,omitempty"`
	Priority        *int      `json:"priority,omitempty"`
	Weight          *int      `json:"weight,omitempty"`
	MaxCalls        *int      `json:"max_calls,omitempty"`
	Networks        *[]string `json:"networks,omitempty"`
	TLSName         *string   `json:"tls_name,omitempty"` // * for any
}

// Number is a number and whom it rings: an endpoint or an application.
type Number struct {
	Number      string  `json:"number"`   // in E.164
	Endpoint    *string `json:"endpoint"` // username@domain
	Application *string `json:"application"`
	ReadOnly    bool    `json:"read_only"` // of the configuration file
}

// NumberSpec makes or changes a number; one of Endpoint and Application is set.
type NumberSpec struct {
	Number      string `json:"number,omitempty"`   // of a new one alone
	Endpoint    string `json:"endpoint,omitempty"` // username or username@domain
	Application string `json:"application,omitempty"`
}

func trunkPath(name string) string { return joined(adminPath+"trunks/", []string{name}) + "/" }

func numberPath(number string) string { return joined(adminPath+"numbers/", []string{number}) + "/" }

// Trunks walks through the server's trunks, those of its configuration first. It
// ends after an error.
func (c *Client) Trunks(ctx context.Context) iter.Seq2[Trunk, error] {
	return pages[Trunk](ctx, c, adminPath+"trunks/", url.Values{})
}

// Trunk returns one trunk.
func (c *Client) Trunk(ctx context.Context, name string) (t Trunk, err error) {
	return t, c.do(ctx, "GET", trunkPath(name), nil, nil, &t)
}

// CreateTrunk makes a trunk, which the next call may take.
func (c *Client) CreateTrunk(ctx context.Context, spec TrunkPatch) (t Trunk, err error) {
	return t, c.do(ctx, "POST", adminPath+"trunks/", nil, spec, &t)
}

// UpdateTrunk changes the fields that are set.
func (c *Client) UpdateTrunk(ctx context.Context, name string, patch TrunkPatch) error {
	return c.do(ctx, "POST", trunkPath(name), nil, patch, nil)
}

// DeleteTrunk deletes a trunk and ends the server's registration with it; calls
// go on.
func (c *Client) DeleteTrunk(ctx context.Context, name string) error {
	return c.do(ctx, "DELETE", trunkPath(name), nil, nil, nil)
}

// Numbers walks through the server's numbers, those of its configuration first. It
// ends after an error.
func (c *Client) Numbers(ctx context.Context) iter.Seq2[Number, error] {
	return pages[Number](ctx, c, adminPath+"numbers/", url.Values{})
}

// Number returns one number.
func (c *Client) Number(ctx context.Context, number string) (n Number, err error) {
	return n, c.do(ctx, "GET", numberPath(number), nil, nil, &n)
}

// CreateNumber makes a number.
func (c *Client) CreateNumber(ctx context.Context, spec NumberSpec) (n Number, err error) {
	return n, c.do(ctx, "POST", adminPath+"numbers/", nil, spec, &n)
}

// UpdateNumber changes whom a number rings.
func (c *Client) UpdateNumber(ctx context.Context, number string, spec NumberSpec) error {
	return c.do(ctx, "POST", numberPath(number), nil, spec, nil)
}

// DeleteNumber deletes a number.
func (c *Client) DeleteNumber(ctx context.Context, number string) error {
	return c.do(ctx, "DELETE", numberPath(number), nil, nil, nil)
}
