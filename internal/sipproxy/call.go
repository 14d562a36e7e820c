package sipproxy

import (
	"strings"
	"sync"
	"time"

	"onhook/internal/account"
	"onhook/internal/callrecord"
	"onhook/internal/routing"
	"onhook/internal/sip"
	"onhook/internal/siptransaction"
	"onhook/internal/trunk"
)

// party is one side of a call as accounts know it; zero for somebody outside.
type party struct {
	Endpoint    account.EndpointID
	Owner, Main string // auth_ids
}

// call is a call or subscription in progress: what its record will say, and
// what it takes to end it. One that is known by its cookie alone, from before
// the last start, has neither.
type call struct {
	id             CallID
	epoch          uint32 // of the process in which it began
	invite         bool
	caller, callee party
	calleeName     string // address-of-record of the callee, or what was dialled
	from           side
	start          int64         // unix ms, as all times here
	counted        bool          // by the limiter
	longest        time.Duration // it may last from its answer on; 0: for ever

	// Of the INVITE, in one piece of memory. The first three are empty where
	// they are too long to keep: such a call cannot be ended by us.
	callID, fromHeader, contact          string
	fromURI, display, dialled, userAgent string
	cseq                                 uint32

	mu      sync.Mutex
	seen    int64 // the last request within the call
	pending bool  // its first request has no final response yet
	over    bool  // nothing of it is open; found by late requests alone
	byUs    bool  // we have ended it, and answer what its phones still say
	fork    *fork // of the first request, while pending
	answer  int64
	end     int64
	outcome callrecord.Outcome
	reason  string
	status  int
	codec   string
	trunk   string
	line    *trunk.Line // that carries it, and counts it
	legs    []leg
	passed  []passage // those who had it before callee
	dialogs []dialog
	timer   *siptransaction.Timer // for its session's expiry
	limit   *siptransaction.Timer // for its longest duration

	firstLeg    [1]leg // where legs and dialogs begin: one of each is the rule
	firstDialog [1]dialog
}

// leg is one device that was called.
type leg struct {
	contact            string
	start, answer, end int64
	status             int
}

// passage is where a device has redirected a call: the legs before this one were
// the devices of somebody else.
type passage struct {
	leg  int
	from party
	name string // from's address-of-record
}

// dialog is one device's answer to the call. The pairs are of the caller and of
// the callee.
type dialog struct {
	tag     tag
	closed  bool
	acked   bool // the caller's ACK has passed
	to      string
	from    string    // as the callee knows it, where that is not as the caller wrote it
	target  [2]string // remote targets, as their Contacts say
	routes  [2]string // Route values between us and them
	cseq    [2]uint32 // highest CSeq they have sent
	callee  side
	leg     int
	client  siptransaction.ClientID // of its INVITE; not in the journal
	expires int64                   // when the session ends unless it is refreshed (RFC 4028); 0: never
}

// The sides of a dialog.
const (
	callerEnd = 0
	calleeEnd = 1
)

// longest bounds what is kept of one field of a record, and of the fields that
// it takes to end a call together.
const (
	longestField  = 256
	longestFields = 2048
)

// newCall takes from a request without a To tag what will be asked of its call.
func newCall(id CallID, epoch uint32, req *sip.Message, from side, caller Caller, callee routing.Endpoint, now time.Time) *call {
	c := &call{id: id, epoch: epoch, invite: req.Method == sip.INVITE, pending: true, from: from,
		caller: party{caller.Endpoint, caller.Owner, caller.Main}, callee: party{callee.ID, callee.Owner, callee.Main},
		start: now.UnixMilli(), seen: now.UnixMilli(), cseq: req.CSeq}
	c.legs, c.dialogs = c.firstLeg[:0], c.firstDialog[:0]
	if !c.invite {
		return c
	}
	fromHeader, _ := req.Value(sip.From)
	agent, _ := req.Value(sip.UserAgent)
	contact := contactOf(req)
	keep := func(whole bool, s string) string {
		if whole || len(s) <= longestField {
			return s
		}
		return s[:longestField]
	}
	var fields [7]string
	if whole := len(req.CallID)+len(fromHeader)+len(contact) <= longestFields; whole && contact != "" {
		fields = [7]string{0: req.CallID, 1: fromHeader, 2: contact}
	}
	fields[3] = keep(false, bareURI(req.From.URI))
	fields[4] = keep(false, sip.Unquote(req.From.Display))
	fields[5] = keep(false, bareURI(req.RequestURI))
	fields[6] = keep(false, agent)
	oneCopy(&fields)
	c.callID, c.fromHeader, c.contact = fields[0], fields[1], fields[2]
	c.fromURI, c.display, c.dialled, c.userAgent = fields[3], fields[4], fields[5], fields[6]
	c.calleeName = c.dialled
	if callee.ID != 0 {
		c.calleeName = callee.AOR()
	}
	return c
}

// oneCopy copies strings into one piece of memory.
func oneCopy(fields *[7]string) {
	n := 0
	for _, f := range fields {
		n += len(f)
	}
	var b strings.Builder
	b.Grow(n)
	for _, f := range fields {
		b.WriteString(f)
	}
	all := b.String()
	for i, f := range fields {
		fields[i], all = all[:len(f)], all[len(f):]
	}
}

// contactOf returns the URI of a message's Contact, "" when it has none.
func contactOf(m *sip.Message) string {
	if c := m.Values(sip.Contact); c.Next() {
		if na, err := sip.ParseNameAddr(c.Value); err == nil {
			return na.URI
		}
	}
	return ""
}

// bareURI is a URI without parameters and headers.
func bareURI(uri string) string {
	host := strings.IndexByte(uri, '@') + 1
	if i := strings.IndexAny(uri[host:], ";?"); i >= 0 {
		return uri[:host+i]
	}
	return uri
}

// endpoints are the endpoints that take part, each once, 0 for nobody.
func (c *call) endpoints() [2]account.EndpointID {
	if c.callee.Endpoint == c.caller.Endpoint {
		return [2]account.EndpointID{c.caller.Endpoint}
	}
	return [2]account.EndpointID{c.caller.Endpoint, c.callee.Endpoint}
}

// idle is how long it may be silent: longer, and its phones have forgotten it.
func (c *call) idle() time.Duration {
	if c.invite {
		return callIdle
	}
	return subscriptionIdle
}

// dialog finds a dialog by its tag; nil when the call has none such. The call is
// locked.
func (c *call) dialog(t tag) *dialog {
	for i := range c.dialogs {
		if c.dialogs[i].tag == t {
			return &c.dialogs[i]
		}
	}
	return nil
}

// open reports whether anything of the call is. The call is locked.
func (c *call) open() bool {
	if c.pending {
		return true
	}
	for i := range c.dialogs {
		if !c.dialogs[i].closed {
			return true
		}
	}
	return false
}

// addLeg notes a device that the call goes to.
func (c *call) addLeg(contact string, now time.Time) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.legs = append(c.legs, leg{contact: contact, start: now.UnixMilli()})
	return len(c.legs) - 1
}

// legTo is the address-of-record that a leg went to. The call is locked.
func (c *call) legTo(leg int) string {
	for _, p := range c.passed {
		if leg < p.leg {
			return p.name
		}
	}
	return c.calleeName
}

// learn takes from a request or from the 2xx to one what changes the dialog: the
// target of its sender (RFC 3261 12.2) and when the session ends (RFC 4028 8).
// It reports whether anything did.
func (d *dialog) learn(m *sip.Message, method sip.Method, sender int, now time.Time) (changed bool) {
	if method != sip.INVITE && method != sip.UPDATE {
		return false
	}
	if contact := contactOf(m); contact != "" && contact != d.target[sender] && len(contact) <= longestFields {
		d.target[sender], changed = strings.Clone(contact), true
	}
	if m.Status != 0 {
		d.expires = sessionEnd(m, now)
	}
	return changed
}

// sessionEnd is when the session ends that a 2xx begins or refreshes, 0 when it
// sets no limit.
//
// RFC 4028 8.3: the proxy may forget a session then; half a minute is left for a
// refresh under way.
func sessionEnd(resp *sip.Message, now time.Time) int64 {
	value, ok := resp.Value(sip.SessionExpires)
	if !ok {
		return 0
	}
	value, _, _ = strings.Cut(value, ";")
	var seconds int64
	for _, digit := range []byte(strings.TrimSpace(value)) {
		if digit < '0' || digit > '9' || seconds > 1<<31 {
			return 0
		}
		seconds = seconds*10 + int64(digit-'0')
	}
	if seconds == 0 {
		return 0
	}
	return now.Add(time.Duration(seconds)*time.Second + sessionGrace).UnixMilli()
}

const sessionGrace = 32 * time.Second
