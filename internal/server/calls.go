package server

import (
	"onhook/internal/callrecord"
	"onhook/internal/sipproxy"
)

// liveCalls shows the API the calls in progress, and ends them for it
// (api.Calls).
type liveCalls struct{ proxy *sipproxy.Proxy }

func (c liveCalls) Live(authID string) []*callrecord.Record { return c.proxy.Live(authID) }

func (c liveCalls) LiveCall(id callrecord.ID) []*callrecord.Record { return c.proxy.LiveCall(id) }

func (c liveCalls) End(id callrecord.ID) bool { return c.proxy.End(id, sipproxy.EndByAPI) }
