package api

import (
	"time"

	"onhook/internal/callrecord"
)

// callJSON is a call's record, live or finished.
type callJSON struct {
	APIID         string    `json:"api_id,omitempty"` // of retrieve; a list's envelope has its own
	UUID          string    `json:"uuid"`
	AccountID     string    `json:"account_id"`
	EndpointID    string    `json:"endpoint_id"`
	Direction     string    `json:"direction"`
	From          string    `json:"from"`
	To            string    `json:"to"`
	CallerName    string    `json:"caller_name"`
	StartTime     string    `json:"start_time"`
	AnswerTime    *string   `json:"answer_time"`
	EndTime       *string   `json:"end_time"`
	Duration      int64     `json:"duration"`
	Billsec       int64     `json:"billsec"`
	CallStatus    string    `json:"call_status"`
	HangupCause   *string   `json:"hangup_cause"`
	HangupCode    *int      `json:"hangup_cause_code"`
	HangupName    *string   `json:"hangup_cause_name"`
	HangupSource  *string   `json:"hangup_source"`
	SIPCode       *int      `json:"sip_code"`
	Reason        *string   `json:"reason"`
	Codec         *string   `json:"codec"`
	Trunk         *string   `json:"trunk"`
	ApplicationID *string   `json:"application_id"`
	UserAgent     *string   `json:"user_agent"`
	Transport     string    `json:"transport"`
	Legs          []legJSON `json:"legs"`
}

type legJSON struct {
	To         string  `json:"to"`
	Contact    string  `json:"contact"`
	StartTime  string  `json:"start_time"`
	AnswerTime *string `json:"answer_time"`
	EndTime    *string `json:"end_time"`
	SIPCode    *int    `json:"sip_code"`
}

// newCallJSON shows a record; the durations of a live call go to now.
func newCallJSON(r *callrecord.Record, now time.Time) callJSON {
	out := callJSON{
		UUID: r.ID.String(), AccountID: r.Account, EndpointID: r.Endpoint.String(), Direction: string(r.Direction),
		From: r.From, To: r.To, CallerName: r.CallerName,
		StartTime: momentText(r.Start), AnswerTime: moment(r.Answer), EndTime: moment(r.End),
		Duration: seconds(r.Duration(now)), Billsec: seconds(r.Billed(now)), CallStatus: string(r.Status),
		SIPCode: nonZero(r.SIPCode), Reason: orNull(r.Reason), Codec: orNull(r.Codec), Trunk: orNull(r.Trunk),
		ApplicationID: orNull(r.Application), UserAgent: orNull(r.UserAgent), Transport: r.Transport,
		Legs: make([]legJSON, len(r.Legs)),
	}
	if !r.Live() {
		out.HangupCause, out.HangupName, out.HangupSource = orNull(r.Cause.Text), orNull(r.Cause.Name), orNull(string(r.Source))
		out.HangupCode = &r.Cause.Code
	}
	for i, l := range r.Legs {
		out.Legs[i] = legJSON{To: l.To, Contact: l.Contact, StartTime: momentText(l.Start), AnswerTime: moment(l.Answer), EndTime: moment(l.End), SIPCode: nonZero(l.SIPCode)}
	}
	return out
}

// seconds counts whole ones, as bills do; the times beside them are exact.
func seconds(d time.Duration) int64 { return int64(max(d, 0) / time.Second) }

func nonZero(n int) *int {
	if n == 0 {
		return nil
	}
	return &n
}

// momentText writes a time of a call's, to the millisecond.
func momentText(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func moment(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	text := momentText(t)
	return &text
}
