package trunk

import (
	"hash/fnv"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"

	"onhook/internal/sip"
)

// ID names a trunk in what outlives a restart, such as the cookie of a call: it
// depends on the name alone. 0 is no trunk.
type ID uint32

func idOf(name string) ID {
	h := fnv.New32a()
	h.Write([]byte(name))
	return ID(max(h.Sum32(), 1))
}

// Line is a trunk in use.
type Line struct {
	Trunk
	ID    ID
	Where sip.URI // where requests go
	use   *use
}

// use is what stays with a trunk while its configuration changes.
type use struct {
	calls        atomic.Int64
	refused      atomic.Uint64
	registration atomic.Pointer[Registration]
}

func newLine(t Trunk, u *use) *Line {
	if u == nil {
		u = &use{}
	}
	l := &Line{Trunk: t, ID: idOf(t.Name), use: u}
	text := t.URI
	if t.Transport != "" {
		at, _ := sip.ParseURI(text)
		if _, given := at.Param("transport"); !given {
			text += ";transport=" + t.Transport
		}
	}
	l.Where, _ = sip.ParseURI(text) // Validate has read it
	return l
}

// Take counts one more call, either way, unless there are as many as the trunk
// may carry and it is not to be counted anyway.
func (l *Line) Take(anyway bool) bool {
	if n := l.use.calls.Add(1); !anyway && l.MaxCalls > 0 && n > int64(l.MaxCalls) {
		l.use.calls.Add(-1)
		l.use.refused.Add(1)
		return false
	}
	return true
}

// Leave takes back one Take.
func (l *Line) Leave() { l.use.calls.Add(-1) }

// Calls are those under way.
func (l *Line) Calls() int { return int(l.use.calls.Load()) }

// Refused is how often Take had no room.
func (l *Line) Refused() uint64 { return l.use.refused.Load() }

// Registration is how ours with the trunk stands.
func (l *Line) Registration() Registration {
	r := l.use.registration.Load()
	switch {
	case !l.Register:
		return Registration{State: Off}
	case r == nil:
		return Registration{State: Trying}
	}
	return *r
}

// SetRegistration tells how it stands, nil: not yet or no longer. What comes from
// where we are registered is the trunk's.
func (l *Line) SetRegistration(r *Registration) { l.use.registration.Store(r) }

// RegistersAs reports whether a registration of the one is one of the other, too.
func (l *Line) RegistersAs(o *Line) bool {
	return l.use == o.use && l.URI == o.URI && l.Transport == o.Transport && l.Username == o.Username && l.Password == o.Password &&
		l.RegisterExpires == o.RegisterExpires
}

// SpeaksFor reports whether what comes from an address is the trunk's.
func (l *Line) SpeaksFor(addr netip.Addr) bool {
	addr = addr.Unmap()
	for _, n := range l.Networks {
		if n.Contains(addr) {
			return true
		}
	}
	r := l.use.registration.Load()
	return r != nil && r.State == Registered && r.Address.Addr().Unmap() == addr
}

// Identity is the name that must stand in the certificate of what comes as the
// trunk's, "" where the address is enough: that of a trunk reached over TLS,
// unless it is told otherwise.
func (l *Line) Identity() string {
	transport, _ := l.Where.Param("transport")
	switch {
	case l.TLSName == AnyName:
		return ""
	case l.TLSName != "":
		return l.TLSName
	case !l.Where.Is("sips") && !strings.EqualFold(transport, "tls"):
		return ""
	}
	if addr, ok := l.Where.Addr(); ok {
		return addr.Unmap().String()
	}
	return strings.TrimSuffix(l.Where.Host, ".")
}

// takes returns the length of the longest prefix that a number begins with; ok is
// false when the trunk does not take it.
func (l *Line) takes(number string) (n int, ok bool) {
	for _, prefix := range l.Prefixes {
		if strings.HasPrefix(number, prefix) && len(prefix) > n {
			n, ok = len(prefix), true
		}
	}
	return n, ok || len(l.Prefixes) == 0
}

// form is a number as the trunk wants it.
func (l *Line) form(number string) string {
	return l.Prepend + number[min(l.Strip, len(number)):]
}

// Address is the address of a number at the trunk; of the trunk itself for "".
func (l *Line) Address(number string) string {
	uri := strings.ToLower(l.Where.Scheme) + ":"
	if number != "" {
		uri += number + "@"
	}
	uri += l.Where.Host
	if l.Where.Port != 0 {
		uri += ":" + strconv.Itoa(int(l.Where.Port))
	}
	return uri
}

// Caller is the address that the trunk shows for a caller with this number, ""
// for none; "" when there is nothing to show.
func (l *Line) Caller(number string) string {
	if number == "" {
		number = l.CallerID
	}
	if number == "" {
		return ""
	}
	return l.Address(number)
}
