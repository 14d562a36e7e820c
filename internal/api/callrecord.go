package api

import (
	"strconv"
	"time"

	"onhook/internal/callrecord"
)

// callJSON shows a call's record, live or finished; the durations of a live call
// go to now. Every call is shown in several events, so it is written without
// reflection.
type callJSON struct {
	apiID  string // of retrieve; a list's envelope has its own
	record *callrecord.Record
	now    time.Time
}

// MarshalJSON writes what openapi.yaml calls a Call.
func (c callJSON) MarshalJSON() ([]byte, error) { return c.append(nil), nil }

// AppendCallEvent appends the data of a call's event: its record so far.
func AppendCallEvent(dst []byte, r *callrecord.Record, at time.Time) []byte {
	return callJSON{record: r, now: at}.append(dst)
}

func (c callJSON) append(dst []byte) []byte {
	r := c.record
	dst = append(dst, '{')
	if c.apiID != "" {
		dst = append(appendField(dst, `"api_id":`, c.apiID), ',')
	}
	dst = r.ID.Append(append(dst, `"uuid":"`...))
	dst = appendField(dst, `","account_id":`, r.Account)
	dst = strconv.AppendUint(append(dst, `,"endpoint_id":"`...), uint64(r.Endpoint), 10)
	dst = appendField(dst, `","direction":`, string(r.Direction))
	dst = appendField(dst, `,"from":`, r.From)
	dst = appendField(dst, `,"to":`, r.To)
	dst = appendField(dst, `,"caller_name":`, r.CallerName)
	dst = appendMoment(dst, `,"start_time":`, r.Start)
	dst = appendMoment(dst, `,"answer_time":`, r.Answer)
	dst = appendMoment(dst, `,"end_time":`, r.End)
	dst = strconv.AppendInt(append(dst, `,"duration":`...), seconds(r.Duration(c.now)), 10)
	dst = strconv.AppendInt(append(dst, `,"billsec":`...), seconds(r.Billed(c.now)), 10)
	dst = appendField(dst, `,"call_status":`, string(r.Status))
	if r.Live() {
		dst = append(dst, `,"hangup_cause":null,"hangup_cause_code":null,"hangup_cause_name":null,"hangup_source":null`...)
	} else {
		dst = appendOrNull(dst, `,"hangup_cause":`, r.Cause.Text)
		dst = strconv.AppendInt(append(dst, `,"hangup_cause_code":`...), int64(r.Cause.Code), 10)
		dst = appendOrNull(dst, `,"hangup_cause_name":`, r.Cause.Name)
		dst = appendOrNull(dst, `,"hangup_source":`, string(r.Source))
	}
	dst = appendCode(dst, r.SIPCode)
	dst = appendOrNull(dst, `,"reason":`, r.Reason)
	dst = appendOrNull(dst, `,"codec":`, r.Codec)
	dst = appendOrNull(dst, `,"trunk":`, r.Trunk)
	dst = appendOrNull(dst, `,"application_id":`, r.Application)
	dst = appendOrNull(dst, `,"user_agent":`, r.UserAgent)
	dst = appendField(dst, `,"transport":`, r.Transport)
	dst = append(dst, `,"legs":[`...)
	for i := range r.Legs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendLeg(dst, &r.Legs[i])
	}
	return append(dst, "]}"...)
}

func appendLeg(dst []byte, l *callrecord.Leg) []byte {
	dst = appendField(dst, `{"to":`, l.To)
	dst = appendField(dst, `,"contact":`, l.Contact)
	dst = appendMoment(dst, `,"start_time":`, l.Start)
	dst = appendMoment(dst, `,"answer_time":`, l.Answer)
	dst = appendMoment(dst, `,"end_time":`, l.End)
	return append(appendCode(dst, l.SIPCode), '}')
}

// appendCode appends a final status, null before there is one.
func appendCode(dst []byte, code int) []byte {
	dst = append(dst, `,"sip_code":`...)
	if code == 0 {
		return append(dst, "null"...)
	}
	return strconv.AppendInt(dst, int64(code), 10)
}

// seconds counts whole ones, as bills do; the times beside them are exact.
func seconds(d time.Duration) int64 { return int64(max(d, 0) / time.Second) }

// moments is how times of calls are shown: to the millisecond, in UTC.
const moments = "2006-01-02T15:04:05.000Z"

// appendMoment appends a time of a call's, null for what has not happened.
func appendMoment(dst []byte, key string, t time.Time) []byte {
	dst = append(dst, key...)
	if t.IsZero() {
		return append(dst, "null"...)
	}
	return append(t.UTC().AppendFormat(append(dst, '"'), moments), '"')
}
