package client

import (
	"context"
	"iter"
	"net/url"
	"time"
)

// Application says what happens to calls.
type Application struct {
	ID                 string    `json:"app_id"` // 17 digits
	Name               string    `json:"app_name"`
	Type               string    `json:"application_type"` // XML
	AnswerURL          string    `json:"answer_url"`
	AnswerMethod       string    `json:"answer_method"`
	FallbackURL        string    `json:"fallback_answer_url"`
	FallbackMethod     string    `json:"fallback_method"`
	HangupURL          string    `json:"hangup_url"`
	HangupMethod       string    `json:"hangup_method"`
	MessageURL         string    `json:"message_url"`
	MessageMethod      string    `json:"message_method"`
	TransferURL        string    `json:"sip_transfer_url"`
	TransferMethod     string    `json:"sip_transfer_method"`
	LogIncomingMessage bool      `json:"log_incoming_message"`
	PublicURI          bool      `json:"public_uri"`
	Enabled            bool      `json:"enabled"`
	DefaultNumber      bool      `json:"default_app"`
	DefaultEndpoint    bool      `json:"default_endpoint_app"` // of endpoints created without one
	SIPURI             string    `json:"sip_uri"`
	SubAccount         *string   `json:"sub_account"`
	ResourceURI        string    `json:"resource_uri"`
	CreatedAt          time.Time `json:"created_at"`
	UpdatedAt          time.Time `json:"updated_at"`
}

// ApplicationPatch is a new application, of which Name and AnswerURL are
// needed, or a change of one; nil leaves a field at its default or as it is.
type ApplicationPatch struct {
	Name               *string `json:"app_name,omitempty"` // letters, digits, - _ ( ) and spaces
	AnswerURL          *string `json:"answer_url,omitempty"`
	AnswerMethod       *string `json:"answer_method,omitempty"` // GET or POST
	FallbackURL        *string `json:"fallback_answer_url,omitempty"`
	FallbackMethod     *string `json:"fallback_method,omitempty"`
	HangupURL          *string `json:"hangup_url,omitempty"`
	HangupMethod       *string `json:"hangup_method,omitempty"`
	MessageURL         *string `json:"message_url,omitempty"`
	MessageMethod      *string `json:"message_method,omitempty"`
	TransferURL        *string `json:"sip_transfer_url,omitempty"`
	TransferMethod     *string `json:"sip_transfer_method,omitempty"`
	LogIncomingMessage *bool   `json:"log_incoming_message,omitempty"`
	PublicURI          *bool   `json:"public_uri,omitempty"`
	Enabled            *bool   `json:"enabled,omitempty"`
	DefaultNumber      *bool   `json:"default_number_app,omitempty"`
	DefaultEndpoint    *bool   `json:"default_endpoint_app,omitempty"`
	SubAccount         *string `json:"sub_account,omitempty"` // auth_id of its owner; at creation alone
}

// ApplicationQuery selects applications.
type ApplicationQuery struct {
	Name         string // exact
	NameContains string
	SubAccount   string // its applications instead of the account's own
}

// Detach says what becomes of the endpoints of a deleted application. Its zero
// value leaves them without one.
type Detach struct {
	Cascade bool   `json:"cascade,omitempty"`                  // they are deleted, too
	Repoint string `json:"new_endpoint_application,omitempty"` // app_id that they get instead
}

// Applications walks through all that match, newest first. It ends after an
// error.
func (c *Client) Applications(ctx context.Context, q ApplicationQuery) iter.Seq2[Application, error] {
	v := url.Values{}
	for name, value := range map[string]string{"app_name__exact": q.Name, "app_name__contains": q.NameContains, "sub_account": q.SubAccount} {
		if value != "" {
			v.Set(name, value)
		}
	}
	return pages[Application](ctx, c, c.path("Application"), v)
}

// Application returns one application.
func (c *Client) Application(ctx context.Context, id string) (a Application, err error) {
	err = c.do(ctx, "GET", c.path("Application", id), nil, nil, &a)
	return a, err
}

// CreateApplication makes an application and returns its app_id.
func (c *Client) CreateApplication(ctx context.Context, spec ApplicationPatch) (id string, err error) {
	var out struct {
		ID string `json:"app_id"`
	}
	err = c.do(ctx, "POST", c.path("Application"), nil, spec, &out)
	return out.ID, err
}

// UpdateApplication changes the fields that are set.
func (c *Client) UpdateApplication(ctx context.Context, id string, patch ApplicationPatch) error {
	return c.do(ctx, "POST", c.path("Application", id), nil, patch, nil)
}

// DeleteApplication deletes an application.
func (c *Client) DeleteApplication(ctx context.Context, id string, how Detach) error {
	return c.do(ctx, "DELETE", c.path("Application", id), nil, how, nil)
}
