package trunk

import (
	"maps"
	"net/netip"
	"time"

	"onhook/internal/account"
)

// Spec asks for a trunk or for a change of one. Absent fields get their defaults
// or stay, null is none.
type Spec struct {
	Name            account.Optional[string] // not to be changed
	URI             account.Optional[string]
	Transport       account.Optional[string]
	Username        account.Optional[string] // null takes the password with it
	Password        account.Optional[string]
	Register        account.Optional[bool]
	RegisterExpires account.Optional[int] // seconds
	Prefixes        account.Optional[[]string]
	Strip           account.Optional[int]
	Prepend         account.Optional[string]
	CallerID        account.Optional[string]
	CallerIDIn      account.Optional[string]
	Priority        account.Optional[int]
	Weight          account.Optional[int]
	MaxCalls        account.Optional[int]
	Networks        account.Optional[[]string] // prefixes, or single addresses
	TLSName         account.Optional[string]

	Malformed map[string]string // as in account.EndpointSpec
}

// NumberSpec asks for a number or for a change of one. An endpoint takes the place
// of an application, and the reverse.
type NumberSpec struct {
	Number      account.Optional[string] // not to be changed
	Endpoint    account.Optional[string]
	Application account.Optional[string]

	Malformed map[string]string
}

// set puts what a spec has into a field.
func set[T any](field *T, o account.Optional[T]) {
	if o.Set {
		*field = o.Value
	}
}

// apply returns the trunk as the spec wants it, and every field that is wrong.
func (s *Spec) apply(t Trunk) (Trunk, map[string]string) {
	bad := newFaults(s.Malformed)
	for _, f := range []struct {
		field *string
		value account.Optional[string]
	}{
		{&t.Name, s.Name}, {&t.URI, s.URI}, {&t.Transport, s.Transport}, {&t.Username, s.Username}, {&t.Password, s.Password},
		{&t.Prepend, s.Prepend}, {&t.CallerID, s.CallerID}, {&t.CallerIDIn, s.CallerIDIn}, {&t.TLSName, s.TLSName},
	} {
		set(f.field, f.value)
	}
	for _, f := range []struct {
		field *int
		value account.Optional[int]
	}{{&t.Strip, s.Strip}, {&t.Priority, s.Priority}, {&t.Weight, s.Weight}, {&t.MaxCalls, s.MaxCalls}} {
		set(f.field, f.value)
	}
	set(&t.Register, s.Register)
	set(&t.Prefixes, s.Prefixes)
	if s.Username.Set && s.Username.Value == "" && !s.Password.Set {
		t.Password = ""
	}
	if s.RegisterExpires.Set {
		const most = 1_000_000 // beyond what is valid, and a Duration holds it
		t.RegisterExpires = time.Duration(max(min(s.RegisterExpires.Value, most), -most)) * time.Second
	}
	if s.Networks.Set {
		t.Networks = nil
		for _, text := range s.Networks.Value {
			p, ok := parseNetwork(text)
			if !ok {
				bad.add("networks", "Must be addresses and prefixes such as 192.0.2.7 and 192.0.2.0/28")
				break
			}
			t.Networks = append(t.Networks, p)
		}
	}
	bad.addAll(t.Validate())
	return t, bad
}

// parseNetwork reads a prefix, or an address, which is one of its own.
func parseNetwork(s string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), true
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, false
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), true
}

// apply returns the number as the spec wants it, and every field that is wrong.
func (s *NumberSpec) apply(n Number) (Number, map[string]string) {
	bad := newFaults(s.Malformed)
	if s.Endpoint.Value != "" && !s.Application.Set {
		n.Application = ""
	}
	if s.Application.Value != "" && !s.Endpoint.Set {
		n.Endpoint = ""
	}
	set(&n.Number, s.Number)
	set(&n.Endpoint, s.Endpoint)
	set(&n.Application, s.Application)
	bad.addAll(n.Validate())
	return n, bad
}

// faults are fields and what is wrong with each, the first thing of several.
type faults map[string]string

func newFaults(malformed map[string]string) faults {
	bad := faults{}
	maps.Copy(bad, malformed)
	return bad
}

func (f faults) add(field, sentence string) {
	if f[field] == "" {
		f[field] = sentence
	}
}

func (f faults) addAll(problems []Problem) {
	for _, p := range problems {
		f.add(p.Field, p.Message)
	}
}
