package client

import "context"

// Limits bound what an endpoint, or an account as a whole, may do with calls;
// nil is no limit of its own.
type Limits struct {
	ConcurrentCalls *int     `json:"concurrent_calls"`
	CallsPerSecond  *int     `json:"calls_per_second"`
	MaxDuration     *int     `json:"max_duration"`    // seconds from the answer on
	NumberPrefixes  []string `json:"number_prefixes"` // one of them must begin a phone number
	// ExternalCalls is whether callers who are no endpoints of the server may call;
	// nil leaves it as it is.
	ExternalCalls *bool `json:"external_calls,omitempty"`
}

// EndpointLimits returns an endpoint's limits.
func (c *Client) EndpointLimits(ctx context.Context, endpoint string) (l Limits, err error) {
	err = c.do(ctx, "GET", c.path("Endpoint", endpoint, "Limits"), nil, nil, &l)
	return l, err
}

// SetEndpointLimits sets all of an endpoint's limits; they hold for the next
// call.
func (c *Client) SetEndpointLimits(ctx context.Context, endpoint string, l Limits) error {
	return c.do(ctx, "POST", c.path("Endpoint", endpoint, "Limits"), nil, l, nil)
}

// AccountLimits returns the account's limits.
func (c *Client) AccountLimits(ctx context.Context) (l Limits, err error) {
	err = c.do(ctx, "GET", c.path("Limits"), nil, nil, &l)
	return l, err
}

// SetAccountLimits sets all of a sub-account's limits. A main account's key alone
// may do so.
func (c *Client) SetAccountLimits(ctx context.Context, l Limits) error {
	return c.do(ctx, "POST", c.path("Limits"), nil, l, nil)
}
