// Package client talks to onhook's REST API: all of it but what is there for
// other clients' sake. Its types and requests are checked against the API's
// OpenAPI document. It retries nothing but a cut event stream, and keeps nothing.
//
//	c := client.New("http://127.0.0.1:5080", "MA_7K2XQ9PD", token)
//	e, err := c.CreateEndpoint(ctx, client.EndpointSpec{Username: "carol", Password: "choose 8 or more"})
//	for e, err := range c.Endpoints(ctx, client.EndpointQuery{Registered: new(true)}) { … }
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Client speaks for one account. Its fields may be changed until the first
// request; it is safe for concurrent use after that.
type Client struct {
	URL       string // of the server, without a path: http://127.0.0.1:5080
	AuthID    string // MA_… or SA_…
	AuthToken string
	// AdminToken is that of server administration; "": none.
	AdminToken string
	// Account is whose resources are meant: AuthID, or the auth_id of one of
	// its sub-accounts. "" means AuthID.
	Account string
	HTTP    *http.Client // nil: http.DefaultClient
	Agent   string       // User-Agent; "": that of net/http
}

// New makes a client for an account's own resources.
func New(url, authID, authToken string) *Client {
	return &Client{URL: strings.TrimRight(url, "/"), AuthID: authID, AuthToken: authToken}
}

// Error is what the server refused a request with.
type Error struct {
	Status     int            `json:"-"` // of HTTP
	Message    string         `json:"error"`
	APIID      string         `json:"api_id"` // names the request in the server's log
	Details    map[string]any `json:"details"`
	RetryAfter time.Duration  `json:"-"` // of 429 and 503; 0 when not told
}

// Error gives the server's sentence and what it says of single fields.
func (e *Error) Error() string {
	text := e.Message
	if text == "" {
		text = fmt.Sprintf("HTTP %d %s, which is not the API's own answer", e.Status, http.StatusText(e.Status))
	}
	if fields := e.Fields(); len(fields) > 0 {
		text += ": " + strings.Join(fields, "; ")
	}
	return text
}

// Fields lists the complaints about single fields as "field: complaint", and
// for bulk requests as "index.field: complaint", in order.
func (e *Error) Fields() []string { return flatten("", e.Details) }

func flatten(prefix string, details map[string]any) (all []string) {
	for _, key := range slices.SortedFunc(maps.Keys(details), byIndex) {
		switch v := details[key].(type) {
		case map[string]any:
			all = append(all, flatten(prefix+key+".", v)...)
		default:
			all = append(all, fmt.Sprintf("%s%s: %v", prefix, key, v))
		}
	}
	return all
}

// byIndex orders numbers as numbers and everything else as text.
func byIndex(a, b string) int {
	x, errX := strconv.Atoi(a)
	y, errY := strconv.Atoi(b)
	if errX == nil && errY == nil {
		return x - y
	}
	return strings.Compare(a, b)
}

// IsNotFound reports whether err is the server's 404.
func IsNotFound(err error) bool { return hasStatus(err, http.StatusNotFound) }

// IsConflict reports whether err is the server's 409: a name is taken, or the
// thing is still in use.
func IsConflict(err error) bool { return hasStatus(err, http.StatusConflict) }

func hasStatus(err error, status int) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == status
}

// path joins escaped segments below the account.
func (c *Client) path(segments ...string) string { return c.bare(segments...) + "/" }

// bare is path for what has no slash at its end.
func (c *Client) bare(segments ...string) string {
	account := c.Account
	if account == "" {
		account = c.AuthID
	}
	return joined("/v1/Account/", append([]string{account}, segments...))
}

func joined(base string, segments []string) string {
	for i := range segments {
		segments[i] = url.PathEscape(segments[i])
	}
	return base + strings.Join(segments, "/")
}

// onceKey is the key of a context with an Idempotency-Key.
type onceKey struct{}

// Once gives the POST requests that are made with the context an
// Idempotency-Key: 1 to 255 printable characters, such as a UUID, for one
// request. When its answer did not arrive, the same request with the same key is
// answered as it was, and not done twice, for a day.
func Once(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, onceKey{}, key)
}

// do makes a request with body as JSON, nil for none, and reads the answer
// into out, nil for none. A *[]byte gets it as it is.
func (c *Client) do(ctx context.Context, method, path string, query url.Values, body, out any) error {
	_, err := c.send(ctx, method, path, query, body, out)
	return err
}

// send is do that returns the HTTP status, too.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, body, out any) (status int, err error) {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return 0, fmt.Errorf("onhook: %s %s: %w", method, path, err)
		}
		content = bytes.NewReader(text)
	}
	req, err := c.request(ctx, method, path, query, content)
	if err != nil {
		return 0, err
	}
	resp, err := c.http().Do(req)
	if err != nil {
		return 0, fmt.Errorf("onhook: %w", err) // names method and address
	}
	defer resp.Body.Close()
	if err := read(resp, out); err != nil {
		var refusal *Error
		if !errors.As(err, &refusal) {
			err = fmt.Errorf("onhook: %s %s: %w", method, path, err)
		}
		return resp.StatusCode, err
	}
	return resp.StatusCode, nil
}

// read reads an answer into out, or returns the *Error that it is.
func read(resp *http.Response, out any) error {
	text, err := io.ReadAll(resp.Body)
	raw, asItIs := out.(*[]byte)
	switch {
	case err != nil:
		return err
	case resp.StatusCode >= 300:
		return refused(resp, text)
	case asItIs:
		*raw = text
		return nil
	case out == nil:
		return nil
	}
	return json.Unmarshal(text, out)
}

func (c *Client) request(ctx context.Context, method, path string, query url.Values, content io.Reader) (*http.Request, error) {
	target := strings.TrimRight(c.URL, "/") + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, content)
	if err != nil {
		return nil, fmt.Errorf("onhook: %w", err)
	}
	if strings.HasPrefix(path, adminPath) {
		req.Header.Set("X-Admin-Token", c.AdminToken)
	} else {
		req.Header.Set("X-Auth-ID", c.AuthID)
		req.Header.Set("X-Auth-Token", c.AuthToken)
	}
	if content != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if key, ok := ctx.Value(onceKey{}).(string); ok && method == http.MethodPost {
		req.Header.Set("Idempotency-Key", key)
	}
	if c.Agent != "" {
		req.Header.Set("User-Agent", c.Agent)
	}
	return req, nil
}

func (c *Client) http() *http.Client {
	if c.HTTP == nil {
		return http.DefaultClient
	}
	return c.HTTP
}

// refused reads an error answer. One that is not the API's own, as of a proxy
// in between, keeps its status alone.
func refused(resp *http.Response, text []byte) error {
	e := &Error{}
	if json.Unmarshal(text, e) != nil {
		*e = Error{}
	}
	e.Status = resp.StatusCode
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	return e
}
