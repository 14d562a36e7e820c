package sipproxy

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"onhook/internal/account"
	"onhook/internal/location"
	"onhook/internal/routing"
	"onhook/internal/sip"
	"onhook/internal/siptransaction"
)

var newBranch = siptransaction.NewBranch

// fork is one request on its way: the response context of RFC 3261 16.7. Its
// lock is its own; what is sent under it never blocks, and the order of the
// responses is what the lock is for.
type fork struct {
	proxy       *Proxy
	tx          *siptransaction.Server
	req         *sip.Message // a copy
	source      sip.Flow
	caller      Caller
	callee      account.EndpointID
	call        CallID
	created     time.Time
	recordRoute bool
	inDialog    *Admission // nil outside dialogs

	mu         sync.Mutex
	targets    []location.Binding // not tried yet
	branches   []*branch
	best       answer
	challenges []byte // WWW- and Proxy-Authenticate of every 401 and 407 (16.7 step 7)
	final      int    // status of the final response sent upstream, 0 before
	cancelled  bool
	reason     string // Reason of the caller's CANCEL
	declined   bool   // a 6xx came: no further targets
}

// branch is one copy of the request, sent to one device.
type branch struct {
	fork   *fork
	flow   sip.Flow
	client *siptransaction.Client
	timerC *siptransaction.Timer
	done   bool
	cancel bool // to be cancelled
}

// answer is the best final response so far.
type answer struct {
	score int
	resp  *sip.Message // nil for one of our own
	status,
	code int // what the device said, before translation
	reason, sentence string
}

// suspectPoll is how often a fork looks whether a device has come back.
const suspectPoll = 100 * time.Millisecond

// start sends the request to the next group of targets that can be reached, or
// ends the fork when there is none.
func (f *fork) start() {
	if f.inDialog != nil {
		f.startInDialog()
		return
	}
	p := f.proxy
	for {
		f.mu.Lock()
		if f.cancelled || f.declined || len(f.targets) == 0 {
			f.mu.Unlock()
			f.finish()
			return
		}
		var group []location.Binding
		group, f.targets = routing.NextGroup(f.targets)
		f.mu.Unlock()

		var sends []func()
		for i := range group {
			b := &group[i]
			flow, err := p.deviceFlow(b)
			if err != nil {
				f.note(answer{score: scoreLocal, status: 480, reason: "endpoint.unreachable", sentence: "The endpoint's device cannot be reached"})
				continue
			}
			w := rewrite{req: f.req, source: f.source, flow: flow, uri: b.Contact, path: b.Path, ownRealm: f.caller.Domains, identity: f.caller.Identity}
			w.skipRoutes, _ = p.OwnRoutes(f.req)
			if f.recordRoute {
				w.record = &cookie{Call: f.call, Created: f.created, Invite: f.req.Method == sip.INVITE,
					CallID: hash8(f.req.CallID), Tag: hash8(f.req.From.Tag()),
					Caller: side{Endpoint: f.caller.Endpoint, Flow: f.callerFlow(), Instance: f.callerInstance()},
					Callee: side{Endpoint: f.callee, Flow: flow, Instance: hash8(b.InstanceID)}}
				w.call = f.call.String()
			}
			br := f.addBranch(flow)
			sends = append(sends, func() { br.send(&w) })
		}
		for _, send := range sends { // only now: an answer to the first must not find the group at its end
			send()
		}
		if len(sends) > 0 || f.waitForDevice() {
			return
		}
	}
}

// startInDialog sends the request to the other side of its call.
func (f *fork) startInDialog() {
	p, a := f.proxy, f.inDialog
	flow, err := p.flowOf(a.to)
	if err != nil {
		f.note(answer{score: scoreLocal, status: 480, reason: "flow.lost", sentence: "The device's connection is gone"})
		if !f.waitForDevice() {
			f.finish()
		}
		return
	}
	w := rewrite{req: f.req, source: f.source, flow: flow, uri: f.req.RequestURI, skipRoutes: a.routes}
	f.addBranch(flow).send(&w)
}

// waitForDevice comes back to start in a moment while a device that registered
// before a restart may still return. It reports false when there is none, or
// the time is over.
func (f *fork) waitForDevice() bool {
	p := f.proxy
	if f.callee == 0 {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.branches) > 0 || len(f.targets) > 0 || f.cancelled {
		return false // some device was reached, what it said holds; or another group is to be tried
	}
	suspects := false
	bindings := p.Bindings.Lookup(location.Key(f.callee), nil)
	for i := range bindings {
		suspects = suspects || bindings[i].FlowBound
	}
	start := f.created
	if f.inDialog != nil {
		start = f.inDialog.arrived
	}
	if !suspects || time.Since(start) > p.SuspectWait {
		return false
	}
	p.Transactions.AfterFunc(suspectPoll, func() {
		f.mu.Lock()
		if f.inDialog == nil {
			f.targets = p.Bindings.Lookup(location.Key(f.callee), nil)
			routing.Order(f.targets)
		}
		f.mu.Unlock()
		f.start()
	})
	return true
}

// callerFlow is the way back to the caller for requests within the dialog: the
// flow it came on, or over UDP the Contact where that is the very host.
func (f *fork) callerFlow() sip.Flow {
	flow := f.source
	if flow.Transport != sip.UDP {
		return flow
	}
	if c := f.req.Values(sip.Contact); c.Next() {
		if na, err := sip.ParseNameAddr(c.Value); err == nil {
			if addr, ok := f.proxy.listensAt(&location.Binding{Contact: na.URI, Flow: flow}); ok {
				flow.Remote = addr
			}
		}
	}
	return flow
}

// callerInstance is the instance of the caller's device, by which it is found
// again when its connection has changed.
func (f *fork) callerInstance() [8]byte {
	if f.caller.Endpoint == 0 {
		return [8]byte{}
	}
	for _, b := range f.proxy.Bindings.Lookup(location.Key(f.caller.Endpoint), nil) {
		if b.Flow == f.source {
			return hash8(b.InstanceID)
		}
	}
	return [8]byte{}
}

func (f *fork) addBranch(flow sip.Flow) *branch {
	b := &branch{fork: f, flow: flow}
	f.mu.Lock()
	f.branches = append(f.branches, b)
	f.mu.Unlock()
	return b
}

// send starts the branch's client transaction.
func (b *branch) send(w *rewrite) {
	f := b.fork
	p := f.proxy
	w.branch = newBranch()
	w.hops = maxForwards(f.req) - 1
	if f.req.Method == sip.INVITE {
		b.armTimerC()
	}
	p.stats.forwarded.Add(1)
	client, err := p.Transactions.Request(b.flow, w.append(p, nil), b)
	if err != nil {
		b.Failed(nil, err)
		return
	}
	f.mu.Lock()
	b.client = client
	cancel := b.cancel && !b.done
	f.mu.Unlock()
	if cancel {
		b.sendCancel()
	}
}

// armTimerC limits how long a branch may ring (RFC 3261 16.6 step 11, 16.8).
func (b *branch) armTimerC() {
	f := b.fork
	f.mu.Lock()
	defer f.mu.Unlock()
	if b.timerC != nil {
		b.timerC.Stop()
	}
	if b.done {
		return
	}
	b.timerC = f.proxy.Transactions.AfterFunc(f.proxy.TimerC, func() {
		f.note(answer{score: scoreNoAnswer, status: 408, reason: "call.no_answer", sentence: "Nobody answered"})
		f.cancelBranches(func(other *branch) bool { return other == b })
	})
}

// Response takes what the device answered (RFC 3261 16.7).
func (b *branch) Response(_ *siptransaction.Client, resp *sip.Message) {
	switch f := b.fork; {
	case resp.Status < 200:
		if resp.Status > 100 && f.req.Method == sip.INVITE {
			b.armTimerC()
		}
		f.provisional(b, resp)
	case resp.Status < 300:
		f.success(b, resp)
	default:
		f.failure(b, rate(resp))
	}
}

// Failed takes the end of a branch that no device ended.
func (b *branch) Failed(_ *siptransaction.Client, err error) {
	a := answer{score: scoreLocal, status: 480, reason: "endpoint.unreachable", sentence: "The endpoint's device cannot be reached"}
	if errors.Is(err, siptransaction.ErrTimeout) {
		a = answer{score: scoreLocal, status: 408, reason: "endpoint.no_response", sentence: "The endpoint's device did not answer"}
	}
	b.fork.failure(b, a)
}

func (f *fork) provisional(b *branch, resp *sip.Message) {
	if resp.Status == 100 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.final == 0 && !b.done {
		f.tx.Respond(resp.Status, appendResponse(nil, resp, resp.Status, nil))
	}
}

// success passes on a 2xx. Every 2xx to an INVITE goes upstream, also a second
// one of another device (RFC 3261 16.7 step 5), and one that a CANCEL came too
// late for: the caller then knows of the call and ends it.
func (f *fork) success(b *branch, resp *sip.Message) {
	f.mu.Lock()
	b.finishLocked()
	first := f.final == 0
	if first || f.req.Method == sip.INVITE {
		f.final = resp.Status
		f.tx.Respond(resp.Status, appendResponse(nil, resp, resp.Status, nil))
	}
	f.mu.Unlock()
	if first {
		f.cancelBranches(func(other *branch) bool { return other != b })
		f.ended(resp.Status)
	}
}

// failure notes the final answer of one branch, and ends the fork with the last.
func (f *fork) failure(b *branch, a answer) {
	f.mu.Lock()
	if b.done {
		f.mu.Unlock()
		return
	}
	b.finishLocked()
	f.mu.Unlock()
	f.note(a)
	f.mu.Lock()
	pending := false
	for _, other := range f.branches {
		pending = pending || !other.done
	}
	declined := a.code >= 600
	f.declined = f.declined || declined
	f.mu.Unlock()
	if declined {
		f.cancelBranches(func(*branch) bool { return true })
	}
	if pending {
		return
	}
	if f.inDialog != nil {
		f.finish()
		return
	}
	f.start()
}

func (b *branch) finishLocked() {
	b.done = true
	if b.timerC != nil {
		b.timerC.Stop()
	}
}

// Scores of final responses: the lowest is passed on (RFC 3261 16.7 step 6).
const (
	scoreDecline   = 1   // 6xx
	scoreRedirect  = 300 // 3xx
	scoreWanted    = 400 // 4xx that help the caller to do better
	scoreNoAnswer  = 405 // Timer C: before the 487 that our CANCEL brings
	scoreClient    = 410
	scoreTimeout   = 420 // 408 says least
	scoreServer    = 500
	scoreLocal     = 900 // no device said it: anything a device says is better
	scoreCancelled = 950
)

// rate judges a device's final response.
func rate(resp *sip.Message) answer {
	a := answer{resp: resp.Clone(), status: resp.Status, code: resp.Status}
	switch s := resp.Status; {
	case s >= 600:
		a.score = scoreDecline
	case s >= 500:
		a.score = scoreServer
		if s == 503 { // 16.7 step 6: it speaks of one device, not of us
			a.status = 500
		}
	case s == 401, s == 407, s == 415, s == 420, s == 484:
		a.score = scoreWanted
	case s == 408:
		a.score = scoreTimeout
	case s >= 400:
		a.score = scoreClient
	default:
		a.score = scoreRedirect
	}
	return a
}

// note keeps an answer if it is the best so far.
func (f *fork) note(a answer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if a.resp != nil && (a.code == 401 || a.code == 407) {
		for _, h := range a.resp.Headers {
			if h.ID == sip.WWWAuthenticate || h.ID == sip.ProxyAuthenticate {
				f.challenges = sip.AppendHeader(f.challenges, h.ID, h.Value)
			}
		}
	}
	if f.best.score == 0 || a.score < f.best.score {
		f.best = a
	}
}

// finish sends the best final response upstream.
func (f *fork) finish() {
	f.mu.Lock()
	if f.final != 0 {
		f.mu.Unlock()
		return
	}
	best := f.best
	if f.cancelled && best.resp == nil { // RFC 3261 9.2: 487 where no device had the time to say it
		best = answer{score: scoreCancelled, status: 487}
	}
	if best.score == 0 {
		best = answer{status: 480, reason: "endpoint.unregistered", sentence: "The endpoint is not registered"}
	}
	f.final = best.status
	if best.resp != nil {
		var extra []byte
		resp := best.resp
		if best.code == 401 || best.code == 407 {
			resp, extra = withoutChallenges(resp), f.challenges
		}
		f.tx.Respond(best.status, appendResponse(nil, resp, best.status, extra))
	} else {
		f.tx.Respond(best.status, f.appendOwn(nil, best.status, best.reason, best.sentence))
	}
	f.mu.Unlock()
	f.ended(best.status)
}

// withoutChallenges drops the challenges of the one response: those of all
// responses are put in instead.
func withoutChallenges(resp *sip.Message) *sip.Message {
	kept := *resp
	kept.Headers = nil
	for _, h := range resp.Headers {
		if h.ID != sip.WWWAuthenticate && h.ID != sip.ProxyAuthenticate {
			kept.Headers = append(kept.Headers, h)
		}
	}
	return &kept
}

// ended closes the call where the final response means its end.
func (f *fork) ended(status int) {
	p := f.proxy
	switch {
	case f.inDialog == nil:
		if f.recordRoute && status >= 300 {
			p.calls.endCall(f.call, f.created, time.Now())
		}
	case f.req.Method == sip.BYE && f.inDialog.cookie.Invite,
		f.req.Method == sip.NOTIFY && !f.inDialog.cookie.Invite && subscriptionOver(f.req):
		p.calls.end(f.inDialog.cookie, time.Now())
	}
	if f.req.Method == sip.INVITE || f.req.Method == sip.BYE {
		p.Logger.Debug("call", "call_id", f.call.String(), "method", f.req.Method, "status", status)
	}
}

func subscriptionOver(notify *sip.Message) bool {
	state, _ := notify.Value(sip.SubscriptionState)
	state, _, _ = strings.Cut(state, ";")
	return strings.EqualFold(strings.TrimSpace(state), "terminated")
}

// cancel passes on the caller's CANCEL.
func (f *fork) cancel(reason string) {
	f.mu.Lock()
	f.cancelled, f.reason = true, reason
	none := true
	for _, b := range f.branches {
		none = none && b.done
	}
	f.mu.Unlock()
	if none {
		f.finish()
		return
	}
	f.cancelBranches(func(*branch) bool { return true })
}

// cancelBranches cancels the pending branches that match.
func (f *fork) cancelBranches(match func(*branch) bool) {
	if f.req.Method != sip.INVITE {
		return // RFC 3261 9.1: only an INVITE is cancelled
	}
	var now []*branch
	f.mu.Lock()
	for _, b := range f.branches {
		if b.done || b.cancel || !match(b) {
			continue
		}
		b.cancel = true
		if b.client != nil {
			now = append(now, b)
		}
	}
	f.mu.Unlock()
	for _, b := range now {
		b.sendCancel()
	}
}

// sendCancel cancels the branch and says why (RFC 3326).
func (b *branch) sendCancel() {
	f := b.fork
	f.mu.Lock()
	reason := f.reason
	switch {
	case f.final >= 200 && f.final < 300:
		reason = `SIP;cause=200;text="Call completed elsewhere"`
	case f.declined:
		reason = `SIP;cause=603;text="Declined"`
	}
	f.mu.Unlock()
	var extra []byte
	if reason != "" {
		extra = sip.AppendHeader(extra, sip.Reason, reason)
	}
	b.client.Cancel(extra)
}

// reply answers the request with a response of our own.
func (f *fork) reply(status int, reason, sentence string) {
	f.tx.Respond(status, f.appendOwn(nil, status, reason, sentence))
}

func (f *fork) appendOwn(dst []byte, status int, reason, sentence string) []byte {
	tag := ""
	if status > 100 {
		tag = newBranch()[len(sip.MagicCookie):]
	}
	return AppendRefusal(dst, f.req, f.source, status, tag, "", reason, sentence)
}

// AppendRefusal writes a whole response of this server's to req, with its
// reason as Warning and X-Onhook-Reason where there is one.
func AppendRefusal(dst []byte, req *sip.Message, source sip.Flow, status int, toTag, domain, reason, sentence string) []byte {
	dst = sip.AppendReply(dst, req, source.Remote, status, "", toTag)
	if reason != "" {
		if domain == "" {
			domain = "onhook"
		}
		dst = sip.AppendHeader(dst, sip.Warning, "399 "+domain+" "+strconv.Quote(sentence))
		dst = sip.AppendField(dst, ReasonHeader, reason)
	}
	return sip.AppendBody(dst, nil)
}

// ReasonHeader carries the code of a refusal.
const ReasonHeader = "X-Onhook-Reason"
