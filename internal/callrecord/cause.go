package callrecord

import "strings"

// Source says who ended a call.
type Source string

// The sources.
const (
	Caller     Source = "Caller"
	Callee     Source = "Callee"
	Platform   Source = "Platform"
	Carrier    Source = "Carrier"
	APIRequest Source = "API Request"
	AnswerXML  Source = "Answer XML"
	Fault      Source = "Error"
	Nobody     Source = "Unknown"
)

// Cause says why a call ended. Codes go by thousands: 1 what the caller's or the
// other side made of it, 2 the endpoint, 3 the carrier, 4 a normal end, 5
// cancelled or timed out, 7 and 8 the application.
type Cause struct {
	Code int    // what the record shows as hangup_cause_code
	Text string // hangup_cause, by the names of Q.850
	Name string // hangup_cause_name
}

// The causes.
var (
	UnknownCause     = Cause{1000, "UNSPECIFIED", "Unknown"}
	BusyLine         = Cause{1010, "USER_BUSY", "Busy Line"}
	Rejected         = Cause{1020, "CALL_REJECTED", "Rejected"}
	NoSuchUser       = Cause{1030, "UNALLOCATED_NUMBER", "Unknown Destination"}
	Incompatible     = Cause{1040, "INCOMPATIBLE_DESTINATION", "Incompatible Media"}
	Redirected       = Cause{1050, "NUMBER_CHANGED", "Redirected"}
	NotAuthorized    = Cause{1060, "OUTGOING_CALL_BARRED", "Not Authorized"}
	TemporarilyGone  = Cause{1070, "SUBSCRIBER_ABSENT", "Temporarily Unavailable"}
	RemoteFailure    = Cause{1080, "NORMAL_TEMPORARY_FAILURE", "Failure At The Other Side"}
	InvalidRequest   = Cause{1090, "INVALID_MSG_UNSPECIFIED", "Invalid Request"}
	EndpointGone     = Cause{2010, "DESTINATION_OUT_OF_ORDER", "Endpoint Unreachable"}
	NotRegistered    = Cause{2020, "USER_NOT_REGISTERED", "Endpoint Not Registered"}
	NotPermitted     = Cause{2030, "OUTGOING_CALL_BARRED", "Not Permitted"}
	LimitReached     = Cause{2040, "CALL_BARRED_BY_LIMIT", "Limit Reached"}
	CredentialsEnded = Cause{2050, "ACCESS_INFO_DISCARDED", "Endpoint Deleted Or Password Changed"}
	CarrierFailure   = Cause{3010, "NETWORK_OUT_OF_ORDER", "Carrier Unavailable"}
	NoRoute          = Cause{3020, "NO_ROUTE_DESTINATION", "No Route"}
	NormalHangup     = Cause{4000, "NORMAL_CLEARING", "Normal Hangup"}
	EndOfXML         = Cause{4010, "NORMAL_CLEARING", "End Of XML Instructions"}
	EndedByAPI       = Cause{4020, "NORMAL_CLEARING", "Ended By API"}
	DurationReached  = Cause{4030, "ALLOTTED_TIMEOUT", "Maximum Duration Reached"}
	ByCaller         = Cause{5010, "ORIGINATOR_CANCEL", "Cancelled"}
	RingTimeout      = Cause{5020, "NO_ANSWER", "Ring Timeout Reached"}
	NoResponse       = Cause{5030, "NO_USER_RESPONSE", "No Response"}
	SessionExpired   = Cause{5040, "RECOVERY_ON_TIMER_EXPIRE", "Session Timer Expired"}
	ConnectionLost   = Cause{5050, "MEDIA_TIMEOUT", "Connection Lost"}
	ServerBusy       = Cause{5060, "SWITCH_CONGESTION", "Server Busy"}
	AnswerURLFailed  = Cause{7011, "NORMAL_TEMPORARY_FAILURE", "Answer URL Failed"}
	InvalidXML       = Cause{8011, "NORMAL_TEMPORARY_FAILURE", "Invalid Answer XML"}
)

// Outcome is what a final response or an end of ours means for the record.
type Outcome struct {
	Status Status
	Cause  Cause
	Source Source
}

// reasons are the outcomes of our own refusals and ends, by the start of their
// code; the first that fits holds.
var reasons = []struct {
	prefix  string
	outcome Outcome
}{
	{"endpoint.unregistered", Outcome{Failed, NotRegistered, Platform}},
	{"endpoint.no_response", Outcome{NoAnswer, NoResponse, Platform}},
	{"endpoint.", Outcome{Failed, EndpointGone, Platform}},
	{"flow.", Outcome{Failed, EndpointGone, Platform}},
	{"call.no_answer", Outcome{NoAnswer, RingTimeout, Platform}},
	{"call.cancelled", Outcome{Cancelled, ByCaller, Caller}},
	{"permission.", Outcome{Failed, NotPermitted, Platform}},
	{"relay.", Outcome{Failed, NotPermitted, Platform}},
	{"limit.", Outcome{Failed, LimitReached, Platform}},
	{"auth.", Outcome{Failed, NotAuthorized, Platform}},
	{"account.", Outcome{Failed, NotAuthorized, Platform}},
	{"phones.trunk_busy", Outcome{Failed, LimitReached, Platform}},
	{"app.unknown", Outcome{Failed, NoSuchUser, Platform}},
	{"app.", Outcome{Failed, TemporarilyGone, Platform}},
	{"gruu.", Outcome{Failed, NotRegistered, Platform}},
	{"media.", Outcome{Failed, Incompatible, Platform}},
	{"other_domains.unknown", Outcome{Failed, NoSuchUser, Platform}},
	{"other_domains.no_route", Outcome{Failed, NoRoute, Platform}},
	{"other_domains.", Outcome{Failed, RemoteFailure, Platform}},
	{"redirect.", Outcome{Failed, Redirected, Platform}},
	{"phones.no_route", Outcome{Failed, NoRoute, Platform}},
	{"phones.", Outcome{Failed, CarrierFailure, Carrier}},
	{"trunk.", Outcome{Failed, CarrierFailure, Carrier}},
	{"server.", Outcome{Failed, ServerBusy, Platform}},
	{"request.", Outcome{Failed, InvalidRequest, Fault}},
}

// OfReason tells what one of our own reasons means, such as
// "permission.allow_phones"; ok is false for one that it does not know.
func OfReason(reason string) (o Outcome, ok bool) {
	for _, r := range reasons {
		if strings.HasPrefix(reason, r.prefix) {
			return r.outcome, true
		}
	}
	return Outcome{}, false
}

// OfStatus tells what a final status of 300 and above means that the other side
// gave to an INVITE.
func OfStatus(status int) Outcome {
	switch status {
	case 486, 600:
		return Outcome{Busy, BusyLine, Callee}
	case 403, 603:
		return Outcome{Failed, Rejected, Callee}
	case 404, 410, 484, 485, 604:
		return Outcome{Failed, NoSuchUser, Callee}
	case 406, 415, 488, 606:
		return Outcome{Failed, Incompatible, Callee}
	case 401, 407:
		return Outcome{Failed, NotAuthorized, Callee}
	case 408:
		return Outcome{NoAnswer, NoResponse, Callee}
	case 480:
		return Outcome{NoAnswer, TemporarilyGone, Callee}
	case 487:
		return Outcome{Cancelled, ByCaller, Caller}
	}
	switch {
	case status < 400:
		return Outcome{Failed, Redirected, Callee}
	case status < 500:
		return Outcome{Failed, InvalidRequest, Callee}
	}
	return Outcome{Failed, RemoteFailure, Callee}
}

// causes finds a cause by what is stored of it.
var causes = func() map[int]Cause {
	all := map[int]Cause{}
	for _, c := range []Cause{
		UnknownCause, BusyLine, Rejected, NoSuchUser, Incompatible, Redirected, NotAuthorized, TemporarilyGone, RemoteFailure,
		InvalidRequest, EndpointGone, NotRegistered, NotPermitted, LimitReached, CredentialsEnded, CarrierFailure, NoRoute,
		NormalHangup, EndOfXML, EndedByAPI, DurationReached, ByCaller, RingTimeout, NoResponse, SessionExpired, ConnectionLost,
		ServerBusy, AnswerURLFailed, InvalidXML,
	} {
		all[c.Code] = c
	}
	return all
}()

// CauseOf returns the cause with a code; UnknownCause for one that has none.
func CauseOf(code int) Cause {
	if c, ok := causes[code]; ok {
		return c
	}
	return UnknownCause
}
