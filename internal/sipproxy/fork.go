package sipproxy

import (
	"strings"
	"sync"
	"time"

	"onhook/internal/account"
	"onhook/internal/callrecord"
	"onhook/internal/location"
	"onhook/internal/sip"
	"onhook/internal/sipgruu"
	"onhook/internal/sipresolve"
	"onhook/internal/siptransaction"
	"onhook/internal/trunk"
)

// fork is one request on its way: the response context of RFC 3261 16.7. Its
// lock is its own; what is sent under it never blocks, and the order of the
// responses is what the lock is for.
type fork struct {
	proxy    *Proxy
	tx       *siptransaction.Server
	method   sip.Method
	req      *sip.Message // a copy; nil once everything is over
	source   sip.Flow
	caller   Caller
	callee   account.EndpointID
	call     CallID
	body     []byte // of req, before anything was refused in it
	live     *call  // the call it begins or belongs to; nil for a lone request
	arrived  time.Time
	record   *cookie         // what the Record-Routes seal, without the callee; nil: not record-routed
	copyKey  uint64          // under which it is known to be under way
	routes   int             // Route values of ours, to be removed
	loopMark string          // end of our branches, by which a loop shows (RFC 5393 4.2)
	inDialog *Admission      // nil outside dialogs
	device   *sipgruu.Device // the only one wanted; nil: any of the callee's
	outside  *outside        // nil for what stays here
	line     *trunk.Line     // of the side it goes to within a dialog, nil for none
	restore  *restore        // what its responses get back, nil for nothing

	mu         sync.Mutex
	targets    []location.Binding // not tried yet
	spare      []location.Binding // further flows of devices that are being tried (RFC 5626 5.3)
	branches   []*branch          // the first is the fork's own first
	pending    int                // branches without a final answer
	share      uint32             // Max-Breadth of each branch to a device, 0 for none
	best       answer
	challenges []byte // WWW- and Proxy-Authenticate of every 401 and 407 (16.7 step 7)
	final      int    // status of the final response sent upstream, 0 before
	cancelled  bool
	gone       bool       // the caller is: its connection has ended
	ending     *Ending    // we end it
	reason     string     // Reason of the caller's CANCEL, or of ours
	declined   bool       // a 6xx came: no further targets
	redirects  *redirects // nil until a device redirects the request

	first   branch // where branches begin: one is the rule
	firstOf [1]*branch
}

var unreachable = answer{score: scoreLocal, status: 480, reason: "endpoint.unreachable", sentence: "The endpoint's device cannot be reached"}

// flowLost is RFC 5626 5.3.1: what goes down the flow of a call, and that is
// gone, is answered with 430.
var flowLost = answer{score: scoreLocal, status: 430, reason: "flow.lost", sentence: "The device's connection is gone"}

// start sends the request to the next group of targets that can be reached, or
// ends the fork when there is none. It runs on one goroutine at a time: first
// the request's, then that of whatever ended the last branch.
func (f *fork) start() {
	if f.inDialog != nil {
		f.startInDialog()
		return
	}
	if f.outside != nil {
		f.startOutside()
		return
	}
	for {
		f.followRedirect()
		group := f.nextGroup()
		for group == nil && f.goBack() {
			group = f.nextGroup()
		}
		if group == nil {
			f.finish()
			return
		}
		var buf [4]*branch
		branches := buf[:0]
		for i := range group {
			flow, err := f.proxy.deviceFlow(&group[i])
			if err != nil {
				f.note(unreachable)
			} else if b := f.addBranch(flow, &group[i]); b != nil {
				branches = append(branches, b)
			}
		}
		for _, b := range branches { // only now: an answer to the first must not find the group at its end
			b.sendToDevice()
		}
		if len(branches) > 0 || f.waitForDevice() {
			return
		}
	}
}

// over reports whether no further branch may be tried. The caller holds mu.
func (f *fork) over() bool { return f.final != 0 || f.cancelled || f.declined }

// startInDialog sends the request to the other side of its call.
func (f *fork) startInDialog() {
	flow, err := f.proxy.flowWithin(f.inDialog)
	if err != nil && f.outside != nil {
		f.note(hopUnreachable)
		f.startOutside()
		return
	}
	if err != nil {
		f.note(flowLost)
		if !f.waitForDevice() {
			f.finish()
		}
		return
	}
	b := f.addBranch(flow, nil)
	if b == nil { // cancelled while it waited
		f.finish()
		return
	}
	if f.outside != nil {
		b.hop = sipresolve.Hop{Transport: flow.Transport, Addr: flow.Remote, Domain: f.inDialog.to.Host}
	}
	b.line = f.line
	b.sendWithin(nil)
}

func (f *fork) provisional(b *branch, resp *sip.Message) {
	if resp.Status == 100 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.final == 0 && !b.done {
		b.noteEarly(resp)
		f.forwardResponse(resp, resp.Status, nil)
	}
}

// forwardResponse sends a device's response upstream. The caller holds mu.
func (f *fork) forwardResponse(resp *sip.Message, status int, extra []byte) {
	body := resp.Body
	if status < 300 { // the description in a refusal says what would be possible, and offers nothing
		caller, callee := f.sides()
		body = f.proxy.body(resp, f.method, caller, callee)
	}
	buf := f.proxy.buffers.Get().(*[]byte)
	*buf = appendResponse((*buf)[:0], resp, status, extra, body, f.restore)
	f.tx.Respond(status, *buf)
	f.proxy.buffers.Put(buf)
}

// sides are the endpoints between which the request goes, in the order of the
// call.
func (f *fork) sides() (caller, callee account.EndpointID) {
	if f.inDialog != nil {
		return f.inDialog.cookie.Caller.Endpoint, f.inDialog.cookie.Callee.Endpoint
	}
	return f.caller.Endpoint, f.callee
}

// success passes on a 2xx. Every 2xx to an INVITE goes upstream, also a second
// one of another device (RFC 3261 16.7 step 5). One that a CANCEL came too late
// for goes there too (RFC 3261 9.1), but we end it at once; one that comes after
// the caller was refused is ended only.
func (f *fork) success(b *branch, c *siptransaction.Client, resp *sip.Message) {
	now := time.Now()
	f.mu.Lock()
	b.code = resp.Status
	b.finish(now)
	first := f.final == 0
	begins := f.method == sip.INVITE && f.record != nil
	unwanted := begins && (f.cancelled || f.final >= 300)
	switch {
	case unwanted:
		f.proxy.unwanted(f.live, b, resp, "The caller has given up")
	case f.record != nil && (first || begins):
		f.proxy.answered(f.live, b, c, resp, now)
	case f.inDialog != nil && first:
		f.proxy.refreshed(f.live, f.inDialog, resp, now)
	}
	if first || f.method == sip.INVITE && !unwanted {
		f.final = resp.Status
		if first {
			f.settle(resp.Status)
		}
		f.forwardResponse(resp, resp.Status, nil)
	}
	f.mu.Unlock()
	if first {
		f.cancelBranches(nil)
		f.log(resp.Status)
	}
	f.release()
}

// failure notes the final answer of one branch, and ends the fork with the last.
func (f *fork) failure(b *branch, a answer) {
	f.mu.Lock()
	if b.done {
		f.mu.Unlock()
		return
	}
	b.code = a.code
	b.finish(time.Now())
	if a.code == 430 && f.inDialog == nil {
		a.status = 480 // RFC 5626 7: it speaks of one flow, and the endpoint may have others
	}
	if !a.followed {
		f.noteLocked(a)
	}
	if b.outside() {
		f.hopFailed(b, a)
	} else if b.failed = a.resp == nil || a.code == 430; b.failed {
		f.useSpare(b.target)
	}
	declined := a.code >= 600
	f.declined = f.declined || declined
	last := f.pending == 0
	if !f.over() && (!last || f.more()) {
		b.endEarly(a)
	}
	f.mu.Unlock()
	switch {
	case declined && !last:
		f.cancelBranches(nil)
	case !last:
	case f.outside != nil:
		f.startOutside()
	case f.inDialog != nil:
		f.finish()
	default:
		f.start()
	}
}

// note keeps an answer if it is the best so far.
func (f *fork) note(a answer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.noteLocked(a)
}

func (f *fork) noteLocked(a answer) {
	if f.final != 0 {
		return
	}
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
		f.release()
		return
	}
	best := f.best
	if f.cancelled && best.resp == nil { // RFC 3261 9.2: 487 where no device had the time to say it
		best = answer{score: scoreCancelled, status: 487}
	}
	if best.score == 0 {
		best = answer{score: scoreLocal, status: 480, reason: "endpoint.unregistered", sentence: "The endpoint is not registered"}
	}
	f.final = best.status
	f.settle(best.status)
	switch {
	case best.resp != nil && (best.code == 401 || best.code == 407):
		f.forwardResponse(withoutChallenges(best.resp), best.status, f.challenges)
	case best.resp != nil:
		f.forwardResponse(best.resp, best.status, nil)
	case best.status == 480 && f.inDialog == nil && f.caller.Endpoint == 0: // outsiders are not told who exists
		f.reply(480, "", "")
		if f.proxy.Untold != nil {
			f.proxy.Untold(f.req, best.reason)
		}
	default:
		f.reply(best.status, best.reason, best.sentence)
	}
	f.mu.Unlock()
	f.log(best.status)
	f.release()
}

// settle closes the dialog where the final response means its end: before the
// response goes out, so that nothing behind it finds the dialog open.
func (f *fork) settle(status int) {
	p := f.proxy
	switch {
	case f.inDialog == nil:
		p.merged.leave(f.copyKey)
		if f.record != nil {
			p.settled(f.live, status, f.outcome(status), f.refusal(status), time.Now())
		}
		if f.method == sip.INVITE && f.source.Conn != 0 {
			p.ringing.remove(f)
		}
	case status == 401 || status == 407: // it comes again, with credentials
	case f.method == sip.BYE && f.inDialog.cookie.Invite,
		f.method == sip.NOTIFY && !f.inDialog.cookie.Invite && f.inDialog.last:
		p.hungUp(f.inDialog.cookie, f.inDialog.dialog, f.inDialog.sender, f.arrived)
	}
}

// outcome is what the final response makes of the call. The caller holds mu.
func (f *fork) outcome(status int) callrecord.Outcome {
	switch {
	case f.ending != nil:
		o := f.ending.Outcome
		o.Status = callrecord.Failed
		return o
	case f.gone:
		return callrecord.Outcome{Status: callrecord.Cancelled, Cause: callrecord.ConnectionLost, Source: callrecord.Caller}
	case f.cancelled && (status < 300 || status == 487):
		return callrecord.Outcome{Status: callrecord.Cancelled, Cause: callrecord.ByCaller, Source: callrecord.Caller}
	}
	if o, ok := callrecord.OfReason(f.best.reason); ok {
		return o
	}
	if f.best.code != 0 {
		status = f.best.code
	}
	return callrecord.OfStatus(status)
}

// refusal is the code of a refusal of our own, "" where the other side gave the
// answer. The caller holds mu.
func (f *fork) refusal(status int) string {
	switch {
	case f.ending != nil:
		return f.ending.Reason
	case status < 300:
		return ""
	}
	return f.best.reason
}

// log tells the outcome of what begins and ends calls.
func (f *fork) log(status int) {
	if f.method == sip.INVITE || f.method == sip.BYE {
		f.proxy.logCall(f, status)
	}
}

// release lets go of the request once nothing can ask for it any more: the
// transaction keeps the fork for another half minute, for a late 2xx.
func (f *fork) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.final != 0 && f.pending == 0 {
		f.req, f.body, f.targets, f.spare, f.redirects, f.challenges, f.best = nil, nil, nil, nil, nil, nil, answer{}
	}
}

func subscriptionOver(notify *sip.Message) bool {
	state, _ := notify.Value(sip.SubscriptionState)
	state, _, _ = strings.Cut(state, ";")
	return strings.EqualFold(strings.TrimSpace(state), "terminated")
}

// end answers the caller of a call that still rings, and cancels its devices; it
// reports false when the call rings no more.
func (f *fork) end(why Ending) bool {
	f.mu.Lock()
	if f.final != 0 {
		f.mu.Unlock()
		return false
	}
	f.ending, f.final = &why, why.Status
	f.reason = reasonOf(why.Sentence)
	f.settle(why.Status)
	f.reply(why.Status, why.Reason, why.Sentence)
	f.mu.Unlock()
	f.cancelBranches(nil)
	f.log(why.Status)
	f.release()
	return true
}

// lost cancels what a caller has begun whose connection is gone.
func (f *fork) lost() {
	f.mu.Lock()
	f.gone = true
	f.mu.Unlock()
	f.cancel("")
}

// cancel passes on the caller's CANCEL.
func (f *fork) cancel(reason string) {
	f.mu.Lock()
	f.cancelled, f.reason = true, strings.Clone(reason) // a branch may need it later
	none := f.pending == 0
	f.mu.Unlock()
	if none {
		f.finish()
		return
	}
	f.cancelBranches(nil)
}

// cancelBranches cancels the pending branches, or that one only.
func (f *fork) cancelBranches(only *branch) {
	if f.method != sip.INVITE {
		return // RFC 3261 9.1: only an INVITE is cancelled
	}
	var now []*branch
	f.mu.Lock()
	for _, b := range f.branches {
		if b.done || b.cancel || only != nil && b != only {
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

// refuse answers the request with a refusal of our own.
func (f *fork) refuse(status int, reason, sentence string) *Refusal {
	f.reply(status, reason, sentence)
	return &Refusal{status, reason, sentence}
}

// reply answers the request with a response of our own.
func (f *fork) reply(status int, reason, sentence string) {
	tag := ""
	if status > 100 {
		tag = f.tx.ToTag() // RFC 3261 9.2: the one in the answer to a CANCEL
	}
	buf := f.proxy.buffers.Get().(*[]byte)
	*buf = AppendRefusal((*buf)[:0], f.req, f.source, status, tag, f.proxy.Domain, reason, sentence)
	f.tx.Respond(status, *buf)
	f.proxy.buffers.Put(buf)
}
