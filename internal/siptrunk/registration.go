package siptrunk

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	mathrand "math/rand/v2"
	"strconv"
	"strings"
	"time"

	"onhook/internal/sip"
	"onhook/internal/sipauth"
	"onhook/internal/sipresolve"
	"onhook/internal/siptransaction"
	"onhook/internal/trunk"
)

// registration is ours with one trunk.
type registration struct {
	config *Config
	line   *trunk.Line
	cancel context.CancelFunc
	done   chan struct{} // closed when nothing more is sent
	callID string
	tag    string

	// Of run:
	cseq       uint32
	expires    time.Duration // that is asked for
	flow       sip.Flow
	unanswered bool // the last REGISTER is
}

const (
	// goodbye is how long the end of a registration waits for its answer.
	goodbye = 2 * time.Second
	// maxTries bounds the requests of one attempt: a challenge, a stale nonce, and
	// an interval that was too brief.
	maxTries = 4
)

// start begins a registration that lasts until ctx ends or it is cancelled.
func start(ctx context.Context, c *Config, line *trunk.Line) *registration {
	r := &registration{config: c, line: line, done: make(chan struct{}), callID: rand.Text(), tag: rand.Text()[:10],
		expires: cmp.Or(line.RegisterExpires, trunk.DefaultExpires)}
	ctx, r.cancel = context.WithCancel(ctx)
	go func() {
		defer close(r.done)
		defer r.cancel()
		r.run(ctx)
		r.leave(ctx)
	}()
	return r
}

// run registers and refreshes until ctx ends.
func (r *registration) run(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		granted, err := r.register(ctx, r.expires)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			wait := r.retryAfter(failures)
			failures++
			r.tell(&trunk.Registration{State: trunk.Failed, Until: time.Now().Add(wait), Error: err.Error()})
			r.config.Logger.Warn("registration with a trunk failed", "trunk", r.line.Name, "error", err, "again_in", wait.String())
			sleep(ctx, wait)
			continue
		}
		if failures = 0; r.line.Registration().State != trunk.Registered {
			r.config.Logger.Info("registered with a trunk", "trunk", r.line.Name, "address", r.flow.Remote.String(), "expires", granted.String())
		}
		r.tell(&trunk.Registration{State: trunk.Registered, Until: time.Now().Add(granted), Address: r.flow.Remote})
		r.keep(ctx, refreshAfter(granted))
	}
}

// tell tells the trunk how it stands.
func (r *registration) tell(now *trunk.Registration) {
	before := r.line.Registration().Address
	r.line.SetRegistration(now)
	if r.line.Registration().Address != before {
		r.config.Moved()
	}
}

// leave takes the registration back, also one that is only being made: the trunk
// reads what we send in its order.
func (r *registration) leave(ctx context.Context) {
	made := r.unanswered || r.line.Registration().State == trunk.Registered
	r.tell(nil)
	if made {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
		defer cancel()
		_, _ = r.register(last, 0) // it runs out by itself where this does not get through
	}
	r.config.Transport.SetBound(r.flow, false)
}

// retryAfter is the pause after so many failures: twice as long each time, and
// never quite the same, so that many servers do not return together.
func (r *registration) retryAfter(failures int) time.Duration {
	wait := min(float64(r.config.MinRetry)*math.Pow(2, float64(failures)), float64(r.config.MaxRetry))
	return time.Duration(wait * (0.75 + mathrand.Float64()/4))
}

// refreshAfter is when a registration that was granted for so long is refreshed.
func refreshAfter(granted time.Duration) time.Duration {
	return max(granted*4/5, granted-time.Minute, time.Second)
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// keep keeps the way to the trunk open for so long, or until it is lost.
//
// RFC 5626 3.5.1: two line breaks over a stream. Over UDP they are enough too to
// keep a NAT's binding, and no answer is waited for.
func (r *registration) keep(ctx context.Context, d time.Duration) {
	end := time.Now().Add(d)
	for ctx.Err() == nil {
		left := time.Until(end)
		if left <= 0 {
			return
		}
		sleep(ctx, min(left, r.config.Keepalive))
		if !r.config.Transport.Alive(r.flow) || r.config.Transport.Send(r.flow, []byte("\r\n\r\n")) != nil {
			return
		}
	}
}

// register makes one attempt: over the addresses of the trunk until one answers.
func (r *registration) register(ctx context.Context, expires time.Duration) (granted time.Duration, err error) {
	destination, err := sipresolve.DestinationOf(r.line.Where)
	if err != nil {
		return 0, err
	}
	hops, err := r.resolve(ctx, destination)
	if err != nil {
		return 0, err
	}
	for _, hop := range hops {
		var flow sip.Flow
		if flow, err = r.config.Transport.Dial(hop.Transport, hop.Addr, hop.Domain); err != nil {
			continue
		}
		var resp *sip.Message
		if resp, err = r.converse(ctx, flow, expires); err == nil {
			if r.flow != flow {
				r.config.Transport.SetBound(r.flow, false)
			}
			r.config.Transport.SetBound(flow, true)
			r.flow = flow
			return grantedBy(resp, r.contact(flow), expires), nil
		}
		if !errors.Is(err, errNext) {
			return 0, err
		}
		r.config.Resolver.Avoid(hop, 0)
	}
	return 0, err
}

// errNext marks failures after which the next address is tried (RFC 3263 4.3).
var errNext = errors.New("no answer")

func (r *registration) resolve(ctx context.Context, d sipresolve.Destination) ([]sipresolve.Hop, error) {
	type result struct {
		hops []sipresolve.Hop
		err  error
	}
	results := make(chan result, 1)
	r.config.Resolver.Resolve(d, func(hops []sipresolve.Hop, err error) { results <- result{hops, err} })
	select {
	case found := <-results:
		return found.hops, found.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// converse sends REGISTER over a flow until it is answered for good.
func (r *registration) converse(ctx context.Context, flow sip.Flow, expires time.Duration) (*sip.Message, error) {
	var auth []byte
	for range maxTries {
		resp, err := r.send(ctx, flow, expires, auth)
		switch {
		case err != nil:
			return nil, err
		case resp.Status < 300:
			return resp, nil
		case resp.Status == 401 || resp.Status == 407:
			before := auth
			var stale bool
			if auth, stale, err = sipauth.Answer(nil, resp, sip.REGISTER, r.line.Address(""), r.line.Username, r.line.Password); err != nil {
				return nil, err
			}
			if before != nil && !stale {
				return nil, errors.New("the trunk does not accept the password")
			}
		case resp.Status == 423: // RFC 3261 10.2.8
			least, _ := resp.Number(sip.MinExpires)
			if wanted := time.Duration(least) * time.Second; expires > 0 && wanted > expires && wanted <= 24*time.Hour {
				r.expires, expires = wanted, wanted
				continue
			}
			return nil, fmt.Errorf("the trunk answers %d %s", resp.Status, resp.Reason)
		case resp.Status == 503:
			return nil, fmt.Errorf("%w: the trunk answers %d %s", errNext, resp.Status, resp.Reason)
		default:
			return nil, fmt.Errorf("the trunk answers %d %s", resp.Status, resp.Reason)
		}
	}
	return nil, errors.New("the trunk asks for credentials again and again")
}

// send sends one REGISTER and waits for its final response.
func (r *registration) send(ctx context.Context, flow sip.Flow, expires time.Duration, auth []byte) (*sip.Message, error) {
	r.cseq++
	user := make(outcome, 1)
	if _, err := r.config.Transactions.Request(flow, r.request(flow, expires, auth), user); err != nil {
		return nil, fmt.Errorf("%w: %w", errNext, err)
	}
	r.unanswered = true
	select {
	case end := <-user:
		r.unanswered = false
		if end.err != nil {
			return nil, fmt.Errorf("%w: %w", errNext, end.err)
		}
		return end.resp, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// outcome is how a REGISTER ended.
type outcome chan struct {
	resp *sip.Message
	err  error
}

// Response is siptransaction.ClientUser.
func (o outcome) Response(_ *siptransaction.Client, resp *sip.Message) {
	if resp.Status >= 200 {
		o <- struct {
			resp *sip.Message
			err  error
		}{resp: resp.Clone()}
	}
}

// Failed is siptransaction.ClientUser.
func (o outcome) Failed(_ *siptransaction.Client, err error) {
	o <- struct {
		resp *sip.Message
		err  error
	}{err: err}
}

// contact is the address at which the trunk reaches us.
func (r *registration) contact(flow sip.Flow) string {
	return "sip:" + r.line.Username + "@" + r.config.Transport.SentBy(flow) + ";transport=" + flow.Transport.Param()
}

// request writes a REGISTER (RFC 3261 10.2).
func (r *registration) request(flow sip.Flow, expires time.Duration, auth []byte) []byte {
	registrar := r.line.Address("")
	aor := r.line.Address(r.line.Username)
	b := sip.AppendRequestLine(nil, sip.REGISTER, registrar)
	b = sip.AppendField(b, "Via", "SIP/2.0/"+flow.Transport.String()+" "+r.config.Transport.SentBy(flow)+";rport;branch="+siptransaction.NewBranch())
	b = sip.AppendField(b, "Max-Forwards", "70")
	b = sip.AppendField(b, "From", "<"+aor+">;tag="+r.tag)
	b = sip.AppendField(b, "To", "<"+aor+">")
	b = sip.AppendField(b, "Call-ID", r.callID)
	b = sip.AppendField(b, "CSeq", strconv.FormatUint(uint64(r.cseq), 10)+" REGISTER")
	b = sip.AppendField(b, "Contact", "<"+r.contact(flow)+">")
	b = sip.AppendField(b, "Expires", strconv.Itoa(int(expires/time.Second)))
	b = append(b, auth...)
	return sip.AppendBody(b, nil)
}

// grantedBy is for how long a 2xx registers us: by our Contact in it, else by
// its Expires, else as asked for (RFC 3261 10.2.4).
func grantedBy(resp *sip.Message, contact string, asked time.Duration) time.Duration {
	ours, err := sip.ParseURI(contact)
	for c := resp.Values(sip.Contact); err == nil && c.Next(); {
		na, err := sip.ParseNameAddr(c.Value)
		if err != nil {
			continue
		}
		u, err := sip.ParseURI(na.URI)
		if err != nil || u.User != ours.User || !strings.EqualFold(u.Host, ours.Host) || u.Port != ours.Port {
			continue
		}
		if n, ok := na.Expires(); ok {
			return clamp(n)
		}
	}
	if n, ok := resp.Number(sip.Expires); ok {
		return clamp(n)
	}
	return asked
}

// clamp keeps what a trunk grants within reason.
func clamp(seconds uint32) time.Duration {
	return max(min(time.Duration(seconds)*time.Second, 24*time.Hour), 10*time.Second)
}
