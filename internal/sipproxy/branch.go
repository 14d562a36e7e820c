package sipproxy

import (
	"errors"
	"time"

	"onhook/internal/account"
	"onhook/internal/location"
	"onhook/internal/sip"
	"onhook/internal/sipresolve"
	"onhook/internal/siptransaction"
	"onhook/internal/trunk"
)

// branch is one copy of the request, sent to one device. The fork's lock guards
// what changes.
type branch struct {
	fork   *fork
	flow   sip.Flow
	target *location.Binding  // nil within a dialog
	callee account.EndpointID // whose device it is; 0 for somebody else's
	client *siptransaction.Client
	timerC *siptransaction.Timer
	side   side           // of the device, as its cookie seals it
	leg    int            // of the call's
	code   int            // its final status, 0 for none of the device's own
	hop    sipresolve.Hop // where it goes outside
	line   *trunk.Line    // that it goes to, nil for none
	number string         // in the line's form
	uri    string         // Request-URI that was sent
	tries  uint8          // challenges answered so far
	done   bool
	failed bool     // the device was not reached
	cancel bool     // to be cancelled
	heard  bool     // the hop has answered something
	early  []string // tags of its early dialogs, where the caller wants to hear of their end

	hopTimer *siptransaction.Timer
}

// sendToDevice sends a request without a To tag to a registered device.
func (b *branch) sendToDevice() {
	f, t := b.fork, b.target
	w := rewrite{req: f.req, source: f.source, flow: b.flow, uri: t.Contact, path: t.Path, skipRoutes: f.routes, identity: f.caller.Identity, asserted: f.caller.Trunk != nil, loopMark: f.loopMark, breadth: f.share}
	if f.record != nil {
		record := *f.record
		record.Callee = side{Endpoint: f.callee, Flow: b.flow, Device: deviceOf(t)}
		if addr, ok := f.proxy.listensAt(t); ok && b.flow.Transport.Reliable() && !t.FlowBound {
			record.Callee.Port = addr.Port()
		}
		w.record, w.call = &record, f.call.String()
		b.side = record.Callee
	}
	b.send(&w)
}

// send starts the branch's client transaction.
func (b *branch) send(w *rewrite) {
	f := b.fork
	p := f.proxy
	w.branch = siptransaction.NewMarkedBranch(w.loopMark)
	w.hops = maxForwards(f.req) - 1
	b.uri = w.uri
	if f.method == sip.INVITE {
		b.armTimerC()
	}
	p.stats.forwarded.Add(1)
	buf := p.buffers.Get().(*[]byte)
	*buf = w.append(p, (*buf)[:0])
	client, err := p.Transactions.RequestAs(b.flow, f.method, w.branch, *buf, b)
	p.buffers.Put(buf)
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
	if b.done {
		return
	}
	if b.timerC != nil && f.proxy.Transactions.Reset(b.timerC, f.proxy.TimerC) {
		return
	}
	b.timerC = f.proxy.Transactions.AfterFunc(f.proxy.TimerC, b.rangOut)
}

// rangOut is Timer C.
func (b *branch) rangOut() {
	b.fork.note(answer{score: scoreNoAnswer, status: 408, reason: "call.no_answer", sentence: "Nobody answered"})
	b.fork.cancelBranches(b)
}

// finish marks the branch as answered. The caller holds the fork's lock.
func (b *branch) finish(now time.Time) {
	if b.done {
		return
	}
	b.done = true
	if f := b.fork; f.record != nil && b.code >= 300 {
		f.live.legEnded(b.leg, b.code, now)
	}
	b.fork.pending--
	if b.timerC != nil {
		b.timerC.Stop()
	}
}

// Response takes what the device answered (RFC 3261 16.7).
func (b *branch) Response(c *siptransaction.Client, resp *sip.Message) {
	f := b.fork
	if b.outside() {
		b.hearHop(resp.Status)
	}
	switch {
	case resp.Status < 200:
		if resp.Status > 100 && f.method == sip.INVITE {
			b.armTimerC()
		}
		f.provisional(b, resp)
	case resp.Status < 300:
		if no := b.unacceptable(resp); no != nil {
			b.turnDown(resp, no)
			return
		}
		f.success(b, c, resp)
	case b.line != nil && (resp.Status == 401 || resp.Status == 407):
		b.challenged(resp)
	case resp.Status < 400:
		f.failure(b, f.redirected(b, rate(resp)))
	default:
		f.failure(b, rate(resp))
	}
}

// unacceptable judges the 2xx that would begin a call, whose streams may only
// now be known.
func (b *branch) unacceptable(resp *sip.Message) *Refusal {
	f := b.fork
	if f.method != sip.INVITE || f.record == nil || f.proxy.Policy == nil {
		return nil
	}
	return f.proxy.Policy.Answer(resp, f.caller.Endpoint, b.callee)
}

// turnDown ends at its device a call that it has answered, and refuses it to the
// caller.
func (b *branch) turnDown(resp *sip.Message, no *Refusal) {
	f := b.fork
	f.mu.Lock()
	f.proxy.unwanted(f.live, b, resp, no.Sentence)
	f.mu.Unlock()
	status := no.Status
	if f.caller.Endpoint == 0 && f.caller.Trunk == nil {
		status = 480 // to outsiders a flag's refusal is nothing else
	}
	f.failure(b, answer{score: scoreWanted, status: status, reason: no.Reason, sentence: no.Sentence})
}

// Failed takes the end of a branch that no device ended.
func (b *branch) Failed(_ *siptransaction.Client, err error) {
	a := unreachable
	switch {
	case b.outside() && !errors.Is(err, siptransaction.ErrFull):
		a = hopFailure(err, b.line)
	case b.fork.inDialog != nil && b.flow.Conn != 0 && !errors.Is(err, siptransaction.ErrTimeout) && !errors.Is(err, siptransaction.ErrFull):
		a = flowLost
	case errors.Is(err, siptransaction.ErrTimeout):
		a = answer{score: scoreLocal, status: 408, reason: "endpoint.no_response", sentence: "The endpoint's device did not answer"}
	case errors.Is(err, siptransaction.ErrFull):
		a = answer{score: scoreLocal, status: 503, reason: "server.overloaded", sentence: "This server is busy"}
	}
	a.cause = err
	b.fork.failure(b, a)
}

// outside reports whether the branch leads to a server that is not ours.
func (b *branch) outside() bool { return b.hop.Transport != 0 }

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
