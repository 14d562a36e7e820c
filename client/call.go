package client

import (
	"context"
	"iter"
	"net/url"
	"strconv"
	"time"
)

// Call is a call in progress as far as it has come, or the record of a finished
// one. A call between two accounts is a record of each.
type Call struct {
	ID              string     `json:"uuid"`
	Account         string     `json:"account_id"` // auth_id
	Endpoint        string     `json:"endpoint_id"`
	Direction       string     `json:"direction"` // outbound, inbound or internal
	From            string     `json:"from"`
	To              string     `json:"to"` // what was dialled
	CallerName      string     `json:"caller_name"`
	StartTime       time.Time  `json:"start_time"`
	AnswerTime      *time.Time `json:"answer_time"`
	EndTime         *time.Time `json:"end_time"`
	Duration        int        `json:"duration"` // seconds from start to end, or to now
	BillSec         int        `json:"billsec"`  // seconds from answer to end, or to now
	Status          string     `json:"call_status"`
	HangupCause     *string    `json:"hangup_cause"`
	HangupCauseCode *int       `json:"hangup_cause_code"`
	HangupCauseName *string    `json:"hangup_cause_name"`
	HangupSource    *string    `json:"hangup_source"`
	SIPCode         *int       `json:"sip_code"` // what the caller's INVITE was answered with
	Reason          *string    `json:"reason"`   // code of a refusal, such as permission.allow_phones
	Codec           *string    `json:"codec"`
	Trunk           *string    `json:"trunk"`
	Application     *string    `json:"application_id"`
	UserAgent       *string    `json:"user_agent"` // the caller's
	Transport       string     `json:"transport"`
	Legs            []Leg      `json:"legs"`
}

// Leg is one device that was called.
type Leg struct {
	To         string     `json:"to"`
	Contact    string     `json:"contact"`
	StartTime  time.Time  `json:"start_time"`
	AnswerTime *time.Time `json:"answer_time"`
	EndTime    *time.Time `json:"end_time"`
	SIPCode    *int       `json:"sip_code"` // its final answer
}

// Calls walks through the account's calls in progress, newest first. It ends
// after an error.
func (c *Client) Calls(ctx context.Context) iter.Seq2[Call, error] {
	return pages[Call](ctx, c, c.path("Call"), url.Values{})
}

// Call returns one call in progress.
func (c *Client) Call(ctx context.Context, id string) (call Call, err error) {
	err = c.do(ctx, "GET", c.path("Call", id), nil, nil, &call)
	return call, err
}

// EndCall ends a call: both sides get a BYE.
func (c *Client) EndCall(ctx context.Context, id string) error {
	return c.do(ctx, "DELETE", c.path("Call", id), nil, nil, nil)
}

// RecordQuery selects records; conditions that are zero are none.
type RecordQuery struct {
	From, To   string    // a URI, or its user or number alone
	Start, End time.Time // of the calls' beginnings, both included
	Endpoint   string    // endpoint_id of a party
	Cause      string    // hangup cause as text, such as NORMAL_CLEARING, or as code
}

func (q RecordQuery) values() url.Values {
	v := url.Values{}
	for name, value := range map[string]string{"from": q.From, "to": q.To, "endpoint_id": q.Endpoint, "hangup_cause": q.Cause} {
		if value != "" {
			v.Set(name, value)
		}
	}
	for name, at := range map[string]time.Time{"start": q.Start, "end": q.End} {
		if !at.IsZero() {
			v.Set(name, at.UTC().Format(time.RFC3339Nano))
		}
	}
	return v
}

// Records walks through the account's finished calls that match, newest first;
// refused attempts are among them. It ends after an error.
func (c *Client) Records(ctx context.Context, q RecordQuery) iter.Seq2[Call, error] {
	return func(yield func(Call, error) bool) {
		v := q.values()
		v.Set("per_page", strconv.Itoa(pageSize))
		for n := 1; ; n++ {
			v.Set("page", strconv.Itoa(n))
			var out struct {
				Data       []Call `json:"data"`
				Pagination struct {
					HasNext bool `json:"has_next"`
				} `json:"pagination"`
			}
			if err := c.do(ctx, "GET", c.bare("cdr"), v, nil, &out); err != nil {
				yield(Call{}, err)
				return
			}
			for _, call := range out.Data {
				if !yield(call, nil) {
					return
				}
			}
			if !out.Pagination.HasNext {
				return
			}
		}
	}
}

// Record returns one finished call.
func (c *Client) Record(ctx context.Context, id string) (call Call, err error) {
	err = c.do(ctx, "GET", c.bare("cdr", id), nil, nil, &call)
	return call, err
}

// Decision is what would become of a call.
type Decision struct {
	Allowed      bool     `json:"allowed"`
	Reason       *string  `json:"reason"` // code of a refusal, as in X-Onhook-Reason
	Via          string   `json:"via"`    // endpoint, server, phones, application or other_domains
	Targets      []Target `json:"targets"`
	Status       *int     `json:"status"` // SIP status of a refusal
	Sentence     *string  `json:"sentence"`
	RefusedMedia []string `json:"refused_media"` // while the call goes on
}

// Target is a device, or an address where others decide, in the order to try.
type Target struct {
	URI       string  `json:"uri"`
	Transport *string `json:"transport"`
	Received  *string `json:"received"`
	State     *string `json:"state"` // reachable or suspect
}

// CanCall tells what would become of a call from an endpoint to an address, a
// number or a username at this moment. Media are audio, video, or message alone;
// none means audio.
func (c *Client) CanCall(ctx context.Context, endpoint, to string, media ...string) (d Decision, err error) {
	body := struct {
		To    string   `json:"to"`
		Media []string `json:"media,omitempty"`
	}{to, media}
	err = c.do(ctx, "POST", c.path("Endpoint", endpoint, "CanCall"), nil, body, &d)
	return d, err
}

// Attempt is one recorded attempt to register, to call or to be called.
type Attempt struct {
	ID        string           `json:"id"`
	Kind      string           `json:"kind"` // register, call or message
	StartedAt time.Time        `json:"started_at"`
	Outcome   string           `json:"outcome"` // pending, succeeded or failed
	Reason    *string          `json:"reason"`
	Sentence  *string          `json:"sentence"` // the reason in words
	Omitted   int              `json:"omitted"`  // messages that were too many to keep
	Messages  []AttemptMessage `json:"messages"`
}

// AttemptMessage is one SIP message of an attempt, with credentials masked.
type AttemptMessage struct {
	At        time.Time `json:"at"`
	From      string    `json:"from"` // host:port
	To        string    `json:"to"`
	Transport string    `json:"transport"`
	Text      string    `json:"text"`
}

// Attempts returns an endpoint's last attempts, newest first, as Trace does.
func (c *Client) Attempts(ctx context.Context, endpoint string) ([]Attempt, error) {
	var out struct {
		Attempts []Attempt `json:"attempts"`
	}
	err := c.do(ctx, "GET", c.path("Endpoint", endpoint, "Trace"), nil, nil, &out)
	return out.Attempts, err
}
