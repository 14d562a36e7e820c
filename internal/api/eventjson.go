package api

import (
	"net/netip"
	"strconv"

	"onhook/internal/account"
	"onhook/internal/event"
	"onhook/internal/location"
)

// AppendEndpointEvent appends the data of an endpoint's event as JSON: the
// endpoint as slimEndpointJSON and either the binding that changed, as
// bindingJSON, or the names of changed fields. app is the endpoint's
// application, nil for none. Every registration is such an event: nothing is
// allocated unless a string needs escapes.
func AppendEndpointEvent(dst []byte, e *account.Endpoint, app *account.Application, isRegistered bool, b *location.Binding, changed []string) []byte {
	dst = appendField(dst, `{"alias":`, e.Alias)
	dst = append(dst, `,"application":`...)
	if app == nil {
		dst = append(dst, "null"...)
	} else {
		dst = event.AppendString(dst, "/v1/Account/", app.Owner, "/Application/", app.ID, "/")
	}
	var digits [20]byte
	id := string(strconv.AppendUint(digits[:0], uint64(e.ID), 10))
	dst = appendField(dst, `,"endpoint_id":`, id)
	dst = appendField(dst, `,"resource_uri":`, "/v1/Account/", e.Owner, "/Endpoint/", id, "/")
	dst = appendField(dst, `,"sip_registered":`, registered(isRegistered))
	dst = appendField(dst, `,"sip_uri":`, "sip:", e.Username, "@", e.Domain)
	sub := ""
	if e.Owner != e.Main {
		sub = e.Owner
	}
	dst = appendOrNull(dst, `,"sub_account":`, sub)
	dst = appendField(dst, `,"username":`, e.Username)
	if b != nil {
		dst = appendBinding(append(dst, `,"binding":`...), b)
	}
	for i, field := range changed {
		key := ","
		if i == 0 {
			key = `,"changed":[`
		}
		dst = appendField(dst, key, field)
	}
	if len(changed) > 0 {
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

// appendBinding appends what newBindingJSON shows.
func appendBinding(dst []byte, b *location.Binding) []byte {
	dst = appendField(dst, `{"binding_id":`, b.ID)
	dst = appendField(dst, `,"contact":`, b.Contact)
	dst = append(dst, `,"received":"`...)
	if remote := b.Flow.Remote; remote.IsValid() {
		dst = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port()).AppendTo(dst)
	} else {
		dst = append(dst, b.Received()...)
	}
	dst = appendField(dst, `","transport":`, b.Flow.Transport.Param())
	dst = appendOrNull(dst, `,"path":`, b.Path)
	dst = appendOrNull(dst, `,"user_agent":`, b.UserAgent)
	dst = appendOrNull(dst, `,"instance_id":`, b.InstanceID)
	dst = append(dst, `,"reg_id":`...)
	if b.RegID == 0 {
		dst = append(dst, "null"...)
	} else {
		dst = strconv.AppendUint(dst, uint64(b.RegID), 10)
	}
	dst = event.AppendTime(append(dst, `,"registered_at":`...), b.RegisteredAt)
	dst = event.AppendTime(append(dst, `,"expires":`...), b.Expires)
	dst = event.AppendTime(append(dst, `,"last_seen":`...), b.LastSeen)
	dst = appendField(dst, `,"state":`, b.State.String())
	dst = appendField(dst, `,"secret":`, secretOf(b))
	return append(dst, '}')
}

func appendField(dst []byte, key string, value ...string) []byte {
	return event.AppendString(append(dst, key...), value...)
}

func appendOrNull(dst []byte, key, value string) []byte {
	if value == "" {
		return append(append(dst, key...), "null"...)
	}
	return appendField(dst, key, value)
}
