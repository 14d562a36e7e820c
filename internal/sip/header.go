package sip

// HeaderID identifies a header field the server knows by name. Fields it does
// not know have the zero ID and keep the name they came with.
type HeaderID uint8

// The header fields the server reads or writes.
const (
	OtherHeader HeaderID = iota
	Accept
	AcceptContact
	AlertInfo
	Allow
	AllowEvents
	Authorization
	CallID
	Contact
	ContentDisposition
	ContentEncoding
	ContentLength
	ContentType
	CSeq
	Date
	Event
	Expires
	FlowTimer
	From
	HistoryInfo
	Identity
	MaxBreadth
	MaxForwards
	MinExpires
	MinSE
	PAssertedIdentity
	PPreferredIdentity
	Path
	Privacy
	ProxyAuthenticate
	ProxyAuthorization
	ProxyRequire
	RAck
	Reason
	RecordRoute
	ReferTo
	ReferredBy
	RejectContact
	Replaces
	RequestDisposition
	Require
	RetryAfter
	Route
	RSeq
	Server
	ServiceRoute
	SessionExpires
	Subject
	SubscriptionState
	Supported
	Timestamp
	To
	Unsupported
	UserAgent
	Via
	Warning
	WWWAuthenticate
	numHeaders
)

// headerNames holds the canonical name and the compact form (RFC 3261 7.3.3
// and the registry of later RFCs), 0 where there is none.
var headerNames = [numHeaders]struct {
	name    string
	compact byte
}{
	Accept: {"Accept", 0}, AcceptContact: {"Accept-Contact", 'a'}, AlertInfo: {"Alert-Info", 0},
	Allow: {"Allow", 0}, AllowEvents: {"Allow-Events", 'u'}, Authorization: {"Authorization", 0},
	CallID: {"Call-ID", 'i'}, Contact: {"Contact", 'm'}, ContentDisposition: {"Content-Disposition", 0},
	ContentEncoding: {"Content-Encoding", 'e'}, ContentLength: {"Content-Length", 'l'}, ContentType: {"Content-Type", 'c'},
	CSeq: {"CSeq", 0}, Date: {"Date", 0}, Event: {"Event", 'o'}, Expires: {"Expires", 0}, FlowTimer: {"Flow-Timer", 0},
	From: {"From", 'f'}, HistoryInfo: {"History-Info", 0}, Identity: {"Identity", 'y'}, MaxBreadth: {"Max-Breadth", 0}, MaxForwards: {"Max-Forwards", 0},
	MinExpires: {"Min-Expires", 0}, MinSE: {"Min-SE", 0}, PAssertedIdentity: {"P-Asserted-Identity", 0},
	PPreferredIdentity: {"P-Preferred-Identity", 0}, Path: {"Path", 0}, Privacy: {"Privacy", 0},
	ProxyAuthenticate: {"Proxy-Authenticate", 0}, ProxyAuthorization: {"Proxy-Authorization", 0},
	ProxyRequire: {"Proxy-Require", 0}, RAck: {"RAck", 0}, Reason: {"Reason", 0}, RecordRoute: {"Record-Route", 0},
	ReferTo: {"Refer-To", 'r'}, ReferredBy: {"Referred-By", 'b'}, RejectContact: {"Reject-Contact", 'j'},
	Replaces: {"Replaces", 0}, RequestDisposition: {"Request-Disposition", 'd'}, Require: {"Require", 0},
	RetryAfter: {"Retry-After", 0}, Route: {"Route", 0}, RSeq: {"RSeq", 0}, Server: {"Server", 0},
	ServiceRoute: {"Service-Route", 0}, SessionExpires: {"Session-Expires", 'x'}, Subject: {"Subject", 's'},
	SubscriptionState: {"Subscription-State", 0}, Supported: {"Supported", 'k'}, Timestamp: {"Timestamp", 0},
	To: {"To", 't'}, Unsupported: {"Unsupported", 0}, UserAgent: {"User-Agent", 0}, Via: {"Via", 'v'},
	Warning: {"Warning", 0}, WWWAuthenticate: {"WWW-Authenticate", 0},
}

// headerTable finds a HeaderID by the length, the first and the last letter of
// its name; names that meet in one place follow each other.
var headerTable, headersByCompact = headerTables()

func headerTables() (table [256]HeaderID, compact [256]HeaderID) {
	for id := OtherHeader + 1; id < numHeaders; id++ {
		h := headerNames[id]
		i := headerSlot(h.name)
		for table[i] != 0 {
			i++
		}
		table[i] = id
		if h.compact != 0 {
			compact[h.compact] = id
			compact[h.compact-'a'+'A'] = id
		}
	}
	return table, compact
}

func headerSlot(name string) uint8 {
	return uint8(len(name))*7 + (name[0]|0x20)*13 + (name[len(name)-1]|0x20)*31
}

// LookupHeader finds the ID of a header field name in any case, long or
// compact; OtherHeader when the server does not know it.
func LookupHeader(name string) HeaderID {
	if len(name) < 2 {
		if name == "" {
			return OtherHeader
		}
		return headersByCompact[name[0]]
	}
	for i := headerSlot(name); headerTable[i] != 0; i++ {
		id := headerTable[i]
		if equalFold(headerNames[id].name, name) {
			return id
		}
	}
	return OtherHeader
}

// String returns the canonical name; "" for OtherHeader.
func (id HeaderID) String() string { return headerNames[id].name }

// single reports whether RFC 3261 allows the field once only (Table 2 and 7.3.1).
func (id HeaderID) single() bool {
	switch id {
	case CallID, ContentLength, ContentType, CSeq, Expires, From, MaxBreadth, MaxForwards, MinExpires, To, Event, ReferTo, SessionExpires, RAck, RSeq:
		return true
	}
	return false
}

// Header is one header field line: its value is trimmed and unfolded.
type Header struct {
	ID    HeaderID
	Name  string // as written
	Value string
}
