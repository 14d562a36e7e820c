package sipproxy

import (
	"slices"
	"strings"
	"time"

	"onhook/internal/location"
	"onhook/internal/routing"
	"onhook/internal/sip"
)

// suspectPoll is how often a fork looks whether a device has come back.
const suspectPoll = 100 * time.Millisecond

// breadth is the Max-Breadth of requests that have none (RFC 5393 5.3.3).
const breadth = 60

// nextGroup takes the next targets of the present callee; nil when there are
// none, or no more wanted.
//
// RFC 5393 5.3.3: no more of them at once than the request's Max-Breadth, which
// they share; the others follow. One alone multiplies nothing and needs none.
func (f *fork) nextGroup() (group []location.Binding) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over() || len(f.targets) == 0 {
		return nil
	}
	all, most := f.targets, uint32(breadth)
	limit, limited := f.req.Number(sip.MaxBreadth)
	if limited {
		most = max(limit, 1)
	}
	if group, f.targets = routing.NextGroup(all); uint32(len(group)) > most {
		group, f.targets = all[:most], all[most:]
	}
	if f.share = most / uint32(len(group)); !limited && len(group) == 1 {
		f.share = 0
	}
	return group
}

// waitForDevice comes back to start in a moment while a device that registered
// before a restart may still return. It reports false when there is none, or
// the time is over.
func (f *fork) waitForDevice() bool {
	p := f.proxy
	if f.callee == 0 || time.Since(f.arrived) > p.SuspectWait {
		return false
	}
	suspects := false
	for _, b := range p.Bindings.Lookup(location.Key(f.callee), nil) {
		suspects = suspects || b.FlowBound
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !suspects || len(f.branches) > 0 || len(f.targets) > 0 || f.over() {
		return false // some device was reached, what it said holds; or another group is to be tried
	}
	p.Transactions.AfterFunc(suspectPoll, func() {
		if f.inDialog == nil {
			targets := p.Bindings.Lookup(location.Key(f.callee), nil)
			routing.Order(targets)
			f.mu.Lock()
			f.targets = f.permitted(targets)
			f.mu.Unlock()
		}
		f.start()
	})
	return true
}

// permitted leaves out what is not the device wanted, and what a sips: target
// may not be sent to (RFC 3261 26.2.2).
func (f *fork) permitted(targets []location.Binding) []location.Binding {
	if f.final != 0 {
		return targets
	}
	secure := strings.HasPrefix(strings.ToLower(f.req.RequestURI), "sips:")
	return slices.DeleteFunc(targets, func(b location.Binding) bool {
		return secure && !b.Flow.Transport.Secure() || f.device != nil && !f.device.Names(&b)
	})
}

// addBranch adds a branch to be sent. It returns nil when the fork is over, and
// for a further flow of a device that is being tried on another one: that is
// kept in case the other fails (RFC 5626 5.3).
func (f *fork) addBranch(flow sip.Flow, target *location.Binding) *branch {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over() {
		return nil
	}
	if target != nil && target.InstanceID != "" {
		for _, other := range f.branches {
			if !other.failed && other.callee == f.callee && other.target != nil && other.target.InstanceID == target.InstanceID {
				f.spare = append(f.spare, *target)
				return nil
			}
		}
	}
	b := f.newBranch()
	b.fork, b.flow, b.target, b.callee = f, flow, target, f.callee
	if f.record != nil {
		contact := ""
		if target != nil {
			contact = target.Contact
		} else {
			contact = hopURI(flow)
		}
		b.leg = f.live.addLeg(contact, time.Now())
	}
	f.branches = append(f.branches, b)
	f.pending++
	return b
}

// newBranch is the next branch's place. The caller holds mu.
func (f *fork) newBranch() *branch {
	if f.branches == nil {
		f.branches = f.firstOf[:0]
		return &f.first
	}
	return new(branch)
}

// useSpare brings a device's further flows into play. The caller holds mu.
func (f *fork) useSpare(failed *location.Binding) {
	kept := f.spare[:0]
	for _, s := range f.spare {
		if s.InstanceID == failed.InstanceID {
			f.targets = append([]location.Binding{s}, f.targets...)
		} else {
			kept = append(kept, s)
		}
	}
	f.spare = kept
}
