package sipproxy

import (
	"errors"
	"strings"
	"time"

	"onhook/internal/account"
	"onhook/internal/sip"
	"onhook/internal/sipauth"
	"onhook/internal/sipresolve"
	"onhook/internal/trunk"
)

// A trunk challenges, and the caller's phone has no credentials for it: we answer
// in its name. RFC 3261 22.2 wants a higher CSeq for the request that comes
// again, so from there on every request of the caller's in this dialog goes to
// the trunk with its CSeq raised by the number of challenges that the first one
// met, and RAck with it; responses get the caller's own CSeq back. The
// difference is sealed in the cookie of the trunk's side, which an INVITE fixes
// for its dialog. A challenge within the dialog is answered with the same CSeq
// and a new branch: RFC 3261 12.2.2 refuses a lower CSeq, not an equal one.

// Trunks are the ways to the telephone network.
type Trunks interface {
	// Line finds a trunk by its ID; nil when there is none any more.
	Line(id trunk.ID) *trunk.Line
	// NumberOf returns the number of an endpoint, "" when it has none.
	NumberOf(id account.EndpointID) string
}

// maxTries bounds the challenges answered for one request: the first, and one
// that says the nonce was too old.
const maxTries = 2

// exitsByTrunk lists the ways to a number.
func exitsByTrunk(candidates []trunk.Candidate) []exit {
	var exits []exit
	for _, c := range candidates {
		if d, err := sipresolve.DestinationOf(c.Line.Where); err == nil {
			exits = append(exits, exit{destination: d, line: c.Line, number: c.Number})
		}
	}
	return exits
}

// trunkBusy is a trunk that has as many calls as it may carry.
const trunkBusy = "phones.trunk_busy"

// take counts the call with the trunk it is to try next, and notes an answer
// where that one has no room. What is no call is not counted.
func (f *fork) take(line *trunk.Line) bool {
	if line == nil || f.method != sip.INVITE || f.live == nil || f.inDialog != nil {
		return true
	}
	if f.live.takeLine(line, false) {
		return true
	}
	f.note(answer{score: scoreLocal, status: 503, reason: trunkBusy, sentence: "All lines to the telephone network are in use"})
	return false
}

// takeFrom counts a call that comes from a trunk; a refusal where it has no room.
// 486 is about this call alone: 503 would have the carrier take the whole server
// for down and send it nothing for a while (RFC 3261 21.5.4).
func (c *call) takeFrom(line *trunk.Line) *Refusal {
	if line == nil || !c.invite || c.takeLine(line, false) {
		return nil
	}
	return &Refusal{486, trunkBusy, "All lines of this trunk are in use"}
}

// takeLine has the call counted with a trunk instead of the one before; always
// counts it beyond the trunk's limit too.
func (c *call) takeLine(line *trunk.Line, always bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.line != nil {
		c.line.Leave()
		c.line = nil
	}
	if c.over || !line.Take(always) {
		return false
	}
	c.line, c.trunk = line, line.Name
	return true
}

// lineOf is the trunk that a side of a call is, nil for none.
func (p *Proxy) lineOf(s side) *trunk.Line {
	if s.Trunk == 0 || p.Trunks == nil {
		return nil
	}
	return p.Trunks.Line(s.Trunk)
}

// comesFromTrunk reports whether an address speaks for the trunk that a side is.
func (p *Proxy) comesFromTrunk(s side, source sip.Flow) bool {
	line := p.lineOf(s)
	return line != nil && line.SpeaksFor(source.Remote.Addr())
}

// shown is whom a trunk is told the caller is: the identity to assert, and the
// From where the trunk wants it there. A caller who wants privacy is not named
// (RFC 3325 9.3).
func (p *Proxy) shown(req *sip.Message, line *trunk.Line, caller account.EndpointID, aor string) (identity, from string) {
	number := ""
	if caller != 0 && p.Trunks != nil {
		number = p.Trunks.NumberOf(caller)
	}
	identity = line.Caller(number)
	if identity == "" {
		return aor, ""
	}
	if line.CallerIDIn == trunk.FromHeader && !private(req) {
		from = "<" + identity + ">;tag=" + req.From.Tag()
	}
	return identity, from
}

// toTrunk changes what goes to a trunk within a dialog that its callee is: as its
// first request was.
func (p *Proxy) toTrunk(w *rewrite, a *Admission) {
	if w.asserted = a.cookie.sideOf(a.sender).Trunk != 0; a.sender != callerEnd {
		return
	}
	w.cseq = uint32(a.to.CSeq)
	if line := p.lineOf(a.to); line != nil { // else it was deleted while the call went on
		_, w.from = p.shown(w.req, line, a.cookie.Caller.Endpoint, "")
	}
}

// sideOf returns one end of the call.
func (c *cookie) sideOf(end int) side {
	if end == callerEnd {
		return c.Caller
	}
	return c.Callee
}

// restore is what responses get back of a request that a trunk got changed.
type restore struct {
	from string
	cseq uint32
}

func restoreOf(req *sip.Message) *restore {
	from, _ := req.Value(sip.From)
	return &restore{strings.Clone(from), req.CSeq}
}

func (r *restore) append(dst []byte, h *sip.Header, resp *sip.Message) []byte {
	switch {
	case r == nil:
	case h.ID == sip.From:
		return sip.AppendField(dst, h.Name, r.from)
	case h.ID == sip.CSeq:
		return appendCSeq(dst, r.cseq, resp.CSeqMethod)
	}
	return sip.AppendField(dst, h.Name, h.Value)
}

// answerTrunk returns the credentials for a trunk's challenge to a request of that
// Request-URI. It reports false where the trunk has none, or has refused them.
func answerTrunk(resp *sip.Message, line *trunk.Line, method sip.Method, uri string, tries uint8) (credentials []byte, ok bool) {
	credentials, stale, err := sipauth.Answer(nil, resp, method, uri, line.Username, line.Password)
	return credentials, err == nil && line.Username != "" && tries < maxTries && (tries == 0 || stale)
}

// challenged answers a trunk's 401 or 407 with a request on a branch of its own.
// One that cannot be answered is not for the caller, whose credentials it does
// not want.
func (b *branch) challenged(resp *sip.Message) {
	f := b.fork
	auth, ok := answerTrunk(resp, b.line, f.method, b.uri, b.tries)
	if !ok {
		f.failure(b, answer{score: scoreLocal, status: 502, code: resp.Status, cause: sipauth.ErrChallenge,
			reason: "phones.trunk_refused", sentence: "The telephone network does not accept this server's credentials"})
		return
	}
	next := &branch{fork: f, flow: b.flow, hop: b.hop, line: b.line, number: b.number, leg: b.leg, tries: b.tries + 1}
	f.mu.Lock()
	if b.done {
		f.mu.Unlock()
		return
	}
	over := f.over()
	if !over {
		f.branches = append(f.branches, next)
		f.pending++
		b.finish(time.Now())
	}
	f.mu.Unlock()
	if over {
		f.failure(b, answer{score: scoreLocal, status: 487, cause: errCancelled})
		return
	}
	next.sendOutside(auth)
}

var errCancelled = errors.New("the call was cancelled")

// unresolvedFor is unresolved, in the words of a call to a number where a trunk
// was looked for.
func unresolvedFor(err error, line *trunk.Line) answer {
	a := unresolved(err)
	if line != nil && !errors.Is(err, sipresolve.ErrBusy) {
		a = hopFailure(err, line)
	}
	return a
}
