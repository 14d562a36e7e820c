package client

import (
	"context"
	"time"
)

// adminPath is where server administration begins.
const adminPath = "/v1/admin/"

// Trunk is one way to the telephone network, and how it is doing.
type Trunk struct {
	Name         string            `json:"name"`
	URI          string            `json:"uri"`
	Transport    *string           `json:"transport"`
	Username     *string           `json:"username"`
	Prefixes     []string          `json:"prefixes"`
	Strip        int               `json:"strip"`
	Prepend      string            `json:"prepend"`
	CallerID     *string           `json:"caller_id"`
	CallerIDIn   string            `json:"caller_id_in"`
	Priority     int               `json:"priority"`
	Weight       int               `json:"weight"`
	Calls        int               `json:"calls"`
	MaxCalls     int               `json:"max_calls"`
	Networks     []string          `json:"networks"`
	Registration TrunkRegistration `json:"registration"`
}

// TrunkRegistration is how the server's registration with a trunk stands.
type TrunkRegistration struct {
	State   string     `json:"state"` // off, trying, registered or failed
	Until   *time.Time `json:"until"` // when it ends; of a failed one, the next attempt
	Address *string    `json:"address"`
	Error   *string    `json:"error"`
}

// Number is a number and the endpoint it rings.
type Number struct {
	Number   string `json:"number"`
	Endpoint string `json:"endpoint"`
}

// Trunks returns the server's trunks and numbers. It needs the AdminToken.
func (c *Client) Trunks(ctx context.Context) (trunks []Trunk, numbers []Number, err error) {
	var out struct {
		Objects []Trunk  `json:"objects"`
		Numbers []Number `json:"numbers"`
	}
	err = c.do(ctx, "GET", adminPath+"trunks/", nil, nil, &out)
	return out.Objects, out.Numbers, err
}
