package sipproxy

import (
	"errors"
	"net/netip"

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

// listensAt returns the Contact's address where it is the very host the
// REGISTER came from: then nothing between us translates addresses, and the
// Contact's port holds. Any other Contact is private to somebody else's network
// and is never dialled.
func (p *Proxy) listensAt(b *location.Binding) (netip.AddrPort, bool) {
	u, err := sip.ParseURI(b.Contact)
	if err != nil {
		return netip.AddrPort{}, false
	}
	addr, ok := u.Addr()
	if !ok || addr.Unmap() != b.Flow.Remote.Addr().Unmap() {
		return netip.AddrPort{}, false
	}
	port := u.Port
	if port == 0 {
		port = b.Flow.Transport.DefaultPort()
	}
	if p.Ours(u.Host, port) {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(b.Flow.Remote.Addr(), port), true
}
