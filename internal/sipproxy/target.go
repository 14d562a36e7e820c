package sipproxy

import (
	"errors"
	"net/netip"
	"strings"

	"onhook/internal/location"
	"onhook/internal/sip"
)

var (
	errFlowGone = errors.New("the device's connection is gone")
	errNotSIP   = errors.New("the contact is no SIP address")
)

// deviceFlow is the way to a registered device: down the connection it
// registered on (RFC 5626 5.3), or to its Contact where that is an address of
// its own on which it listens.
func (p *Proxy) deviceFlow(b *location.Binding) (sip.Flow, error) {
	flow := b.Flow
	if u, err := sip.ParseURI(b.Contact); err != nil || !u.IsSIP() {
		return sip.Flow{}, errNotSIP // a registered tel: or mailto: address is for people to see
	}
	if flow.Transport == sip.UDP {
		if addr, ok := p.listensAt(b); ok {
			flow.Remote = addr
		}
		return flow, nil
	}
	if p.Transport.Alive(flow) {
		return flow, nil
	}
	if b.FlowBound {
		return sip.Flow{}, errFlowGone
	}
	addr, ok := p.listensAt(b)
	if !ok {
		return sip.Flow{}, errFlowGone
	}
	return p.Transport.Dial(flow.Transport, addr, "")
}

// listensAt returns where the device listens, or the proxy in front of it that
// its Path names first (RFC 3327 5.3).
func (p *Proxy) listensAt(b *location.Binding) (netip.AddrPort, bool) {
	if b.Path == "" {
		return p.ownAddress(b.Contact, b.Flow)
	}
	end := strings.IndexByte(b.Path, '>') // of the first value
	na, err := sip.ParseNameAddr(b.Path[:end+1])
	if err != nil {
		return netip.AddrPort{}, false
	}
	return p.ownAddress(na.URI, b.Flow)
}

// ownAddress returns a URI's address where it is the very host at the other end
// of the flow: then nothing between us translates addresses, and the URI's port
// holds. Any other one is private to somebody else's network and is never
// dialled.
func (p *Proxy) ownAddress(uri string, flow sip.Flow) (netip.AddrPort, bool) {
	u, err := sip.ParseURI(uri)
	if err != nil {
		return netip.AddrPort{}, false
	}
	addr, ok := u.Addr()
	if !ok || addr.Unmap() != flow.Remote.Addr().Unmap() {
		return netip.AddrPort{}, false
	}
	port := u.Port
	if port == 0 {
		port = flow.Transport.DefaultPort()
	}
	if p.Ours(u.Host, port) {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(flow.Remote.Addr(), port), true
}

// deviceOf is what a device is known by when its flow has changed: its instance,
// or else the Call-ID of its registration, which stays while it runs (RFC 3261
// 10.2.4).
func deviceOf(b *location.Binding) [8]byte {
	if b.InstanceID != "" {
		return hash8(b.InstanceID)
	}
	return hash8(b.CallID)
}

// callerSide is the way back to the caller for requests within the dialog: the
// flow it came on, or over UDP the Contact where that is the very host.
func (p *Proxy) callerSide(req *sip.Message, source sip.Flow, caller Caller) side {
	endpoint := caller.Endpoint
	s := side{Endpoint: endpoint, Flow: source}
	if caller.Trunk != nil {
		s.Trunk = caller.Trunk.ID
	}
	c := req.Values(sip.RecordRoute) // RFC 3261 12.1.1: the first Route of the other side, else the remote target
	if !c.Next() {
		c = req.Values(sip.Contact)
		c.Next()
	}
	if c.Value != "" {
		if na, err := sip.ParseNameAddr(c.Value); err == nil {
			if endpoint == 0 && !source.Transport.WebSocket() {
				s.Host = hostName(na.URI)
			}
			if addr, ok := p.ownAddress(na.URI, source); ok && source.Transport == sip.UDP {
				s.Flow.Remote = addr
			} else if ok && !source.Transport.WebSocket() {
				s.Port = addr.Port()
			}
		}
	}
	if endpoint != 0 {
		bindings := p.Bindings.Lookup(location.Key(endpoint), nil)
		for i := range bindings {
			if bindings[i].Flow == source {
				s.Device = deviceOf(&bindings[i])
			}
		}
	}
	return s
}

// deviceURI is the Request-URI for a side of a call: where the other side
// knows it by a GRUU of ours, the Contact that this stands for (RFC 5627 6.1).
func (p *Proxy) deviceURI(uri string, s side) string {
	if p.GRUUs == nil || s.Endpoint == 0 || !strings.Contains(uri, ";gr") {
		return uri
	}
	u, err := sip.ParseURI(uri)
	if err != nil || !p.Ours(u.Host, u.Port) {
		return uri
	}
	device, ok := p.GRUUs.Read(u)
	if !ok {
		return uri
	}
	bindings := p.Bindings.Lookup(location.Key(s.Endpoint), nil)
	for i := range bindings {
		// A temporary one holds within its call, whatever the device registered since.
		if b := &bindings[i]; device.Names(b) || device.Temporary && s.Device != [8]byte{} && s.Device == deviceOf(b) {
			return b.Contact
		}
	}
	return uri
}

// hostName is the name in a URI by which a server is found, "" for an address
// and for what can be nobody's (RFC 2606 2).
func hostName(uri string) string {
	u, err := sip.ParseURI(uri)
	if _, numeric := u.Addr(); err != nil || numeric || len(u.Host) > maxSealedHost {
		return ""
	}
	if host := strings.ToLower(u.Host); !strings.HasSuffix(host, ".invalid") {
		return host
	}
	return ""
}

// flowOf finds the way to a side of a call as it is now: its own flow while it
// lasts, else the present flow of the same device.
func (p *Proxy) flowOf(s side) (sip.Flow, error) {
	stream := s.Flow.Transport.Reliable()
	if stream && p.Transport.Alive(s.Flow) {
		return s.Flow, nil
	}
	var bindings []location.Binding
	if s.Endpoint != 0 {
		bindings = p.Bindings.Lookup(location.Key(s.Endpoint), nil)
	}
	for i := range bindings {
		if b := &bindings[i]; !stream && b.Flow.Transport == sip.UDP {
			if flow, err := p.deviceFlow(b); err == nil && flow == s.Flow {
				return flow, nil
			}
		}
	}
	for i := range bindings {
		if b := &bindings[i]; s.Device != [8]byte{} && deviceOf(b) == s.Device {
			if flow, err := p.deviceFlow(b); err == nil {
				return flow, nil
			}
		}
	}
	if !stream {
		return s.Flow, nil
	}
	if len(bindings) == 1 { // another registration, but the endpoint's only device
		if flow, err := p.deviceFlow(&bindings[0]); err == nil {
			return flow, nil
		}
	}
	if s.Port != 0 {
		return p.Transport.Dial(s.Flow.Transport, netip.AddrPortFrom(s.Flow.Remote.Addr(), s.Port), s.Host)
	}
	return sip.Flow{}, errFlowGone
}
