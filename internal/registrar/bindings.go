package registrar

import (
	"math/rand/v2"
	"strings"
	"time"

	"onhook/internal/location"
	"onhook/internal/sip"
)

// Edit applies the request to the bindings: RFC 3261 10.3 step 7, all or
// nothing. It renders the 200 while request and bindings are at hand.
func (g *registration) Edit(s *location.Set) error {
	g.previous = false
	if g.r.cfg.Admit != nil {
		var ok bool
		if g.previous, ok = g.r.cfg.Admit(g.aor.Key, g.aor.Credentials); !ok {
			return errCredentials
		}
	}
	if g.outOfOrder(s) {
		return errOrder
	}
	if g.star {
		for len(s.Bindings) > 0 {
			s.Remove(len(s.Bindings)-1, location.Unregistered)
		}
	}
	for i := range g.contacts {
		if c := &g.contacts[i]; c.expires == 0 {
			g.unregister(s, c)
		} else {
			g.register(s, c)
		}
	}
	g.renderOK(s)
	return nil
}

// outOfOrder reports whether a binding that the request would touch was made by
// a later request of the same Call-ID, or by this very one: then the update is
// aborted (RFC 3261 10.3 steps 6 and 7).
func (g *registration) outOfOrder(s *location.Set) bool {
	for i := range s.Bindings {
		b := &s.Bindings[i]
		if b.CallID != g.req.CallID || b.CSeq < g.req.CSeq {
			continue
		}
		if g.star {
			return true
		}
		for j := range g.contacts {
			if g.match(&g.contacts[j], b) != unrelated {
				return true
			}
		}
	}
	return false
}

// relation is what a contact of the request is to a binding.
type relation int

const (
	unrelated  relation = iota
	same                // it is the binding's contact
	returned            // the device of a lost binding, back with another contact
	superseded          // the same device, whose old contact is void
)

// match compares a contact with a binding.
func (g *registration) match(c *contact, b *location.Binding) relation {
	var rel relation
	switch sameInstance := c.instance != "" && strings.EqualFold(c.instance, b.InstanceID); {
	case sameInstance && c.regID != 0 && c.regID == b.RegID:
		// RFC 5626 6: instance and reg-id name the binding, whatever its URI.
		if c.raw == b.Contact || equal(c, b) {
			return same
		}
		rel = superseded
	case c.regID != 0 && b.RegID != 0:
		return unrelated // RFC 5626 6: several flows may share one URI
	case c.raw == b.Contact || equal(c, b):
		return same // RFC 3261 10.3 step 7
	case sameInstance:
		rel = superseded // a device that came back with a new address
	case b.Lost() && c.instance == "" && b.InstanceID == "" && b.CallID == g.req.CallID:
		return returned // RFC 3261 10.2.4: a device keeps its Call-ID
	}
	if rel == superseded && b.Lost() {
		return returned
	}
	return rel
}

func equal(c *contact, b *location.Binding) bool {
	u, err := sip.ParseURI(b.Contact)
	return err == nil && c.uri.Equal(u)
}

func (g *registration) unregister(s *location.Set, c *contact) {
	for i := len(s.Bindings) - 1; i >= 0; i-- {
		b := &s.Bindings[i]
		rel := g.match(c, b)
		// A flow is named by instance and reg-id; otherwise only the contact
		// itself is removed, not the device's other ones.
		if rel == same || rel != unrelated && c.regID != 0 && c.regID == b.RegID {
			s.Remove(i, location.Unregistered)
		}
	}
}

// register makes or refreshes the contact's binding and ends those that it
// supersedes. A lost binding whose device is back goes on as if nothing had
// been.
func (g *registration) register(s *location.Set, c *contact) {
	fresh := g.binding(c, s.Now)
	fresh.GRUUs = g.gruus(s, c)
	target := -1
	for i := len(s.Bindings) - 1; i >= 0; i-- {
		b := &s.Bindings[i]
		rel := g.match(c, b)
		if rel == unrelated || rel != same && b.CallID == g.req.CallID && b.CSeq == g.req.CSeq {
			continue // the latter: another contact of this very request
		}
		if rel != superseded && target < 0 {
			target = i
			continue
		}
		s.Remove(i, location.Replaced)
		if target > i {
			target--
		}
	}
	if target >= 0 {
		s.Refresh(target, fresh)
		return
	}
	for len(s.Bindings) >= g.aor.MaxContacts {
		s.Remove(0, location.Replaced)
	}
	s.Add(fresh)
}

// gruus names the temporary GRUUs that hold for a device: those it was told since
// it registers with this Call-ID, as long as it has been registered all along
// (RFC 5627 3.1).
func (g *registration) gruus(s *location.Set, c *contact) uint32 {
	if c.instance == "" {
		return 0
	}
	for i := range s.Bindings {
		b := &s.Bindings[i]
		if b.GRUUs != 0 && b.CallID == g.req.CallID && strings.EqualFold(b.InstanceID, c.instance) {
			return b.GRUUs
		}
	}
	if !g.gruu {
		return 0
	}
	return max(1, rand.Uint32())
}

func (g *registration) binding(c *contact, now time.Time) location.Binding {
	return location.Binding{
		Contact:    c.raw,
		Params:     c.params,
		Q:          c.q,
		InstanceID: c.instance,
		RegID:      c.regID,
		CallID:     g.req.CallID,
		CSeq:       g.req.CSeq,
		Flow:       g.flow,
		FlowBound:  g.flowBound(c),
		BehindNAT:  g.behindNAT(c),
		Path:       g.path,
		UserAgent:  g.userAgent(),
		Previous:   g.previous,
		Expires:    now.Add(time.Duration(c.expires) * time.Second),
	}
}

// behindNAT reports whether a device over UDP can be reached by its flow only:
// its Contact is not the host it is seen at, or is a name. With a Path that is
// the edge proxy's business.
func (g *registration) behindNAT(c *contact) bool {
	if g.flow.Transport != sip.UDP || g.path != "" || !c.uri.IsSIP() {
		return false
	}
	addr, ok := c.uri.Addr()
	return !ok || addr.Unmap() != g.flow.Remote.Addr().Unmap().WithZone("")
}

// flowBound reports whether the contact can be reached on its connection only,
// so that both end together: outbound (RFC 5626), WebSocket (RFC 7118), or a
// Contact at which nobody listens, because it names the connection's own port
// or an address the device is not seen at.
func (g *registration) flowBound(c *contact) bool {
	if !g.flow.Transport.Reliable() || g.path != "" || !c.uri.IsSIP() {
		return false // with a Path the connection is the edge proxy's
	}
	if c.regID != 0 || g.flow.Transport.WebSocket() {
		return true
	}
	source := g.flow.Remote
	addr, ok := c.uri.Addr()
	if !ok || addr.Unmap() != source.Addr().Unmap().WithZone("") {
		return true
	}
	port := c.uri.Port
	if port == 0 {
		port = g.flow.Transport.DefaultPort()
	}
	return port == source.Port()
}
