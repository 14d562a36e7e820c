package trunk

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/nyaruka/phonenumbers"

	"onhook/internal/sip"
)

// Table is the trunks and numbers as they are now. Looking something up takes no
// lock.
type Table struct {
	region string // two letters, for numbers without a country; "": such are taken as dialled
	domain string // of numbers' endpoints that name none
	mu     sync.Mutex
	now    atomic.Pointer[contents]
	rand   func(n int) int
}

type contents struct {
	lines    []*Line
	byID     map[ID]*Line
	byNumber map[string]Number
	numbers  map[string]string // by endpoint, user@domain in lower case
	all      []Number
}

// ErrRegion is what an unknown region comes back with.
var ErrRegion = errors.New("not a region of two letters, such as DE or US")

// NewTable makes an empty Table. region is a country of two letters, whose
// national numbers need no prefix; domain is that of endpoints named without one.
func NewTable(region, domain string) (*Table, error) {
	region = strings.ToUpper(region)
	if region != "" && !phonenumbers.GetSupportedRegions()[region] {
		return nil, fmt.Errorf("%q: %w", region, ErrRegion)
	}
	t := &Table{region: region, domain: strings.ToLower(domain), rand: rand.IntN}
	t.now.Store(&contents{})
	return t, nil
}

// ValidRegion reports whether NewTable takes a region.
func ValidRegion(region string) bool {
	_, err := NewTable(region, "")
	return err == nil
}

// Set replaces all trunks and numbers. What is under way on a trunk that stays
// under its name goes on being counted. An error leaves the old ones.
func (t *Table) Set(trunks []Trunk, numbers []Number) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.now.Load()
	c := &contents{byID: map[ID]*Line{}, byNumber: map[string]Number{}, numbers: map[string]string{}}
	for _, one := range trunks {
		if problems := one.Validate(); len(problems) > 0 {
			return &Error{one.Name, problems}
		}
		var u *use
		if before := old.byID[idOf(one.Name)]; before != nil && before.Name == one.Name {
			u = before.use
		}
		l := newLine(one, u)
		if other := c.byID[l.ID]; other != nil {
			return &Error{one.Name, []Problem{{"name", "is that of another trunk, or too much like " + other.Name}}}
		}
		c.byID[l.ID] = l
		c.lines = append(c.lines, l)
	}
	for _, n := range numbers {
		if problems := n.Validate(); len(problems) > 0 {
			return &Error{n.Number, problems}
		}
		if _, twice := c.byNumber[n.Number]; twice {
			return &Error{n.Number, []Problem{{"number", "is there twice"}}}
		}
		if n.Application == "" {
			n.Endpoint = t.aor(n)
			if c.numbers[n.Endpoint] == "" {
				c.numbers[n.Endpoint] = n.Number // the first of several is the one shown
			}
		}
		c.byNumber[n.Number] = n
		c.all = append(c.all, n)
	}
	t.now.Store(c)
	return nil
}

// aor names the endpoint of a number as user@domain, in lower case.
func (t *Table) aor(n Number) string {
	user, domain, _ := strings.Cut(strings.ToLower(n.Endpoint), "@")
	if domain == "" {
		domain = t.domain
	}
	return user + "@" + domain
}

// Lines are the trunks in their order.
func (t *Table) Lines() []*Line { return t.now.Load().lines }

// Numbers are the numbers in their order, their endpoints as username@domain in
// lower case.
func (t *Table) Numbers() []Number { return t.now.Load().all }

// Line finds a trunk by its ID; nil when there is none.
func (t *Table) Line(id ID) *Line { return t.now.Load().byID[id] }

// Named finds a trunk by its name; nil when there is none.
func (t *Table) Named(name string) *Line {
	if l := t.Line(idOf(name)); l != nil && l.Name == name {
		return l
	}
	return nil
}

// Number finds a number of ours, written in E.164.
func (t *Table) Number(number string) (n Number, ok bool) {
	n, ok = t.now.Load().byNumber[number]
	return n, ok
}

// Networks are the addresses of all trunks: those that are configured, and those
// we are registered with.
func (t *Table) Networks() (all []netip.Prefix) {
	for _, l := range t.Lines() {
		all = append(all, l.Networks...)
		if a := l.Registration().Address.Addr().Unmap(); a.IsValid() {
			all = append(all, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return all
}

// Peers knows who is at the other end of a connection.
type Peers interface {
	// Certified reports whether the peer has shown a certificate for this SIP
	// domain (RFC 5922).
	Certified(flow sip.Flow, domain string) bool
}

// From finds the trunk that a message is from: by its source address and, where
// the trunk has an Identity, by the certificate too. It is nil for none.
func (t *Table) From(flow sip.Flow, peers Peers) *Line {
	for _, l := range t.now.Load().lines {
		if l.SpeaksFor(flow.Remote.Addr()) && (l.Identity() == "" || peers.Certified(flow, l.Identity())) {
			return l
		}
	}
	return nil
}

// Identifies reports whether one who connects from an address may be a trunk that
// is known by its certificate.
func (t *Table) Identifies(addr netip.Addr) bool {
	return slices.ContainsFunc(t.now.Load().lines, func(l *Line) bool { return l.Identity() != "" && l.SpeaksFor(addr) })
}

// Callee is whom a number rings: an endpoint, or an application.
type Callee struct {
	User, Domain string
	Application  string // app_id; "": the endpoint
}

// Callee returns whom a number rings.
func (t *Table) Callee(dialled string) (c Callee, ok bool) {
	n, ok := t.now.Load().byNumber[t.Normal(dialled)]
	if !ok || n.Application != "" {
		return Callee{Application: n.Application}, ok
	}
	c.User, c.Domain, _ = strings.Cut(n.Endpoint, "@")
	return c, true
}

// NumberOf returns the number of an endpoint, "" when it has none.
func (t *Table) NumberOf(user, domain string) string {
	c := t.now.Load()
	if len(c.numbers) == 0 {
		return ""
	}
	return c.numbers[strings.ToLower(user)+"@"+strings.ToLower(domain)]
}

// Candidate is a trunk that takes a number, and the number in its form.
type Candidate struct {
	Line   *Line
	Number string
}

// maxCandidates bounds how many trunks are tried for one call.
const maxCandidates = 8

// Candidates are the trunks for a number, in the order to try: those with the
// longest prefix of it first, among these by priority, then by weight.
func (t *Table) Candidates(dialled string) []Candidate {
	lines := t.now.Load().lines
	if len(lines) == 0 {
		return nil
	}
	number := t.Normal(dialled)
	type match struct {
		line   *Line
		prefix int
	}
	var found []match
	for _, l := range lines {
		if n, ok := l.takes(number); ok {
			found = append(found, match{l, n})
		}
	}
	rank := func(a, b match) int {
		return cmp.Or(cmp.Compare(b.prefix, a.prefix), cmp.Compare(a.line.Priority, b.line.Priority))
	}
	slices.SortStableFunc(found, rank)
	var out []Candidate
	for len(found) > 0 && len(out) < maxCandidates {
		n, sum := 0, 0
		for n < len(found) && rank(found[n], found[0]) == 0 {
			sum += found[n].line.Weight
			n++
		}
		pick := 0
		if sum > 0 {
			for left := t.rand(sum); left >= found[pick].line.Weight; pick++ {
				left -= found[pick].line.Weight
			}
		}
		l := found[pick].line
		out = append(out, Candidate{l, l.form(number)})
		found = slices.Delete(found, pick, pick+1)
	}
	return out
}

// Normal writes a number in E.164 where it is one: with its country, or a
// national one of the default region. Anything else, such as a short code, is
// left as dialled, without visual separators (RFC 3966 5.1.1).
func (t *Table) Normal(dialled string) string {
	plain := strings.Map(func(c rune) rune {
		switch c {
		case '-', '.', '(', ')', ' ':
			return -1
		}
		return c
	}, dialled)
	if !strings.HasPrefix(plain, "+") && t.region == "" {
		return plain
	}
	n, err := phonenumbers.Parse(plain, t.region)
	if err != nil || !phonenumbers.IsPossibleNumber(n) {
		return plain
	}
	if plain[0] != '+' && phonenumbers.IsValidShortNumberForRegion(n, t.region) {
		return plain // 110, 911: of one country, and none of its numbers
	}
	return phonenumbers.Format(n, phonenumbers.E164)
}
