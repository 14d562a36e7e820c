package sipproxy

import (
	"cmp"
	"slices"
	"strings"

	"onhook/internal/location"
	"onhook/internal/routing"
	"onhook/internal/sip"
	"onhook/internal/sipgruu"
)

// Redirects decides where a request goes on to that a device has redirected.
type Redirects interface {
	// Redirect gives the decision that the caller would get for a target. It
	// reports false for what is no endpoint of ours: that is the caller's to
	// follow, so that nobody's call leaves the server, or costs anything, by
	// somebody else's word.
	Redirect(req *sip.Message, caller Caller, target sip.URI) (d routing.Decision, ours bool)
}

// redirects are the Contacts of 3xx responses that a fork follows itself (RFC
// 3261 16.7 step 4). The fork's lock guards them.
type redirects struct {
	known []sip.URI // every one, and what the caller asked for: each is tried once
	queue []redirect
	left  []aim // callees that have redirected, with what is not tried of theirs yet
}

// redirect is one Contact to be tried.
type redirect struct {
	uri    string
	target sip.URI
	q      uint16 // thousandths
}

// aim is whom a fork tries, see the fields of these names there.
type aim struct {
	callee  party
	name    string // address-of-record
	uri     string // Request-URI
	target  sip.URI
	device  *sipgruu.Device
	targets []location.Binding
}

// maxRedirects bounds how many Contacts one request is sent on to.
const maxRedirects = 5

var redirectLoop = answer{score: scoreLoop, status: 482, reason: "redirect.loop", sentence: "The called devices redirect to one another"}

// redirected takes from a 3xx the Contacts that the server follows itself, and
// returns the answer that is left of it.
//
// RFC 3261 16.7 step 4: what is tried is removed from the response, and a response
// without anything left is nobody's answer.
func (f *fork) redirected(b *branch, a answer) answer {
	if f.proxy.Redirects == nil || f.inDialog != nil || b.line != nil {
		return a
	}
	req, ok := f.original()
	if !ok {
		return a
	}
	if _, next := f.proxy.OwnRoutes(&req); next != "" {
		return a // a Route leads it on, and not its Request-URI
	}
	var kept []sip.Header
	followed := false
	for c := a.resp.Values(sip.Contact); c.Next(); {
		if r, ok := f.readRedirect(&req, c.Value); ok && f.enqueue(b, r) {
			followed = true
		} else {
			kept = append(kept, sip.Header{ID: sip.Contact, Name: "Contact", Value: c.Value})
		}
	}
	if followed {
		other := slices.DeleteFunc(a.resp.Headers, func(h sip.Header) bool { return h.ID == sip.Contact })
		a.resp.Headers = append(other, kept...)
		a.followed = len(kept) == 0
	}
	return a
}

// original is the request with the body it came with; false when it is answered.
func (f *fork) original() (sip.Message, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over() {
		return sip.Message{}, false
	}
	req := *f.req
	req.Body = f.body
	return req, true
}

// readRedirect reads a Contact; false where it is not ours to follow.
func (f *fork) readRedirect(req *sip.Message, contact string) (r redirect, ok bool) {
	na, err := sip.ParseNameAddr(contact)
	if err != nil {
		return r, false
	}
	u, err := sip.ParseURI(na.URI)
	if err != nil || !u.IsSIP() || u.Headers != "" || req.Target.Is("sips") && !u.Is("sips") {
		return r, false // RFC 3261 16.7 step 4: a sips: request goes to no sip: address
	}
	q, _ := na.Params.Get("q")
	if _, ok = f.proxy.Redirects.Redirect(req, f.caller, u); !ok {
		return r, false
	}
	return redirect{uri: na.URI, target: u, q: sip.QValue(q)}, true
}

// enqueue has a Contact tried. It reports false where that would be one too many.
func (f *fork) enqueue(b *branch, r redirect) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if b.done || f.over() {
		return false
	}
	if f.redirects == nil {
		f.redirects = &redirects{known: []sip.URI{f.req.Target}}
	}
	all := f.redirects
	switch {
	case slices.ContainsFunc(all.known, r.target.Equal), loops(f.req, f.proxy.loopMark(r.uri)):
		f.noteLocked(redirectLoop)
		return true
	case len(all.known) > maxRedirects:
		return false
	}
	all.known = append(all.known, r.target)
	all.queue = append(all.queue, r)
	slices.SortStableFunc(all.queue, func(a, b redirect) int { return cmp.Compare(b.q, a.q) })
	return true
}

// followRedirect turns the fork to the next callee that it was redirected to;
// false when there is none, or none who may be called. No branch is pending.
func (f *fork) followRedirect() bool {
	for {
		f.mu.Lock()
		if f.redirects == nil || f.over() || len(f.redirects.queue) == 0 {
			f.mu.Unlock()
			return false
		}
		r := f.redirects.queue[0]
		f.redirects.queue = f.redirects.queue[1:]
		f.mu.Unlock()
		req, ok := f.original()
		if !ok {
			return false
		}
		d, ours := f.proxy.Redirects.Redirect(&req, f.caller, r.target)
		if !ours { // any more
			f.note(unreachable)
			continue
		}
		if !d.Allowed {
			f.note(answer{score: scoreLocal, status: d.Status, reason: d.Reason, sentence: d.Sentence})
			continue
		}
		e := d.Callee
		return f.turnTo(aim{party{e.ID, e.Owner, e.Main}, e.AOR(), r.uri, r.target, d.Device, d.Targets}, true)
	}
}

// goBack turns the fork to the further targets of a callee who has redirected.
func (f *fork) goBack() bool {
	f.mu.Lock()
	if f.redirects == nil || f.over() || len(f.redirects.left) == 0 {
		f.mu.Unlock()
		return false
	}
	last := len(f.redirects.left) - 1
	a := f.redirects.left[last]
	f.redirects.left = f.redirects.left[:last]
	f.mu.Unlock()
	return f.turnTo(a, false)
}

// turnTo goes on with another callee, as if the caller had asked for it; with
// back, what is left of the present one is tried afterwards.
func (f *fork) turnTo(to aim, back bool) bool {
	p := f.proxy
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over() {
		return false
	}
	from := aim{callee: party{Endpoint: f.callee}, uri: f.req.RequestURI, target: f.req.Target, device: f.device, targets: f.targets}
	if f.live != nil {
		from.callee, from.name = p.pass(f.live, to.callee, to.name)
	}
	if back && len(from.targets) > 0 {
		f.redirects.left = append(f.redirects.left, from)
	}
	f.callee, f.device, f.targets, f.spare, f.outside = to.callee.Endpoint, to.device, to.targets, nil, nil
	f.req.RequestURI, f.req.Target, f.loopMark = to.uri, to.target, p.loopMark(to.uri)
	f.req.Body = f.body
	f.req.Body = p.body(f.req, f.method, f.caller.Endpoint, f.callee)
	return true
}

// pass gives a call that rings to another callee, and returns who had it.
func (p *Proxy) pass(c *call, to party, name string) (from party, fromName string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	from, fromName = c.callee, c.calleeName
	if c.over {
		return from, fromName
	}
	c.passed = append(c.passed, passage{len(c.legs), from, fromName})
	p.calls.unlist(c)
	c.callee, c.calleeName = to, strings.Clone(name)
	p.calls.list(c)
	return from, fromName
}
