// Package trunk knows the ways to the telephone network: which trunks there are,
// which of them take a number and in what form, which addresses speak for one,
// and whose number is whose. It sends nothing and looks nothing up.
package trunk

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"onhook/internal/sip"
)

// Trunk is one way to the telephone network, as configured. Written as JSON it
// has no password.
type Trunk struct {
	Name            string         `yaml:"name" json:"name"`
	URI             string         `yaml:"uri" json:"uri"`             // where it is: sip:host[:port] or sips:
	Transport       string         `yaml:"transport" json:"transport"` // udp, tcp or tls; "": as URI and DNS say
	Username        string         `yaml:"username" json:"username"`   // with which its challenges are answered; "": not at all
	Password        string         `yaml:"password" json:"-"`
	Register        bool           `yaml:"register" json:"register"`                 // we REGISTER to it
	RegisterExpires time.Duration  `yaml:"register_expires" json:"register_expires"` // that we ask for; 0 means DefaultExpires
	Prefixes        []string       `yaml:"prefixes" json:"prefixes"`                 // beginnings of the numbers it takes; empty: every number
	Strip           int            `yaml:"strip" json:"strip"`                       // characters taken off the front of a number, the + included
	Prepend         string         `yaml:"prepend" json:"prepend"`                   // put there instead
	CallerID        string         `yaml:"caller_id" json:"caller_id"`               // number of callers who have none of their own
	CallerIDIn      string         `yaml:"caller_id_in" json:"caller_id_in"`         // AssertedIdentity or FromHeader; "" is the former
	Priority        int            `yaml:"priority" json:"priority"`                 // the lowest first
	Weight          int            `yaml:"weight" json:"weight"`                     // share among those of one priority; all 0: in their order
	MaxCalls        int            `yaml:"max_calls" json:"max_calls"`               // at the same time, both ways together; 0 for any number
	Networks        []netip.Prefix `yaml:"networks" json:"networks"`                 // what may send to us as this trunk
	TLSName         string         `yaml:"tls_name" json:"tls_name,omitempty"`       // in its certificate, see Line.Identity; AnyName: none is asked for
	Fixed           bool           `yaml:"-" json:"-"`                               // stands in the configuration: nobody changes it at run time
}

// AnyName is the value of Trunk.TLSName by which its addresses are enough.
const AnyName = "*"

// The values of Trunk.CallerIDIn.
const (
	AssertedIdentity = "asserted" // P-Asserted-Identity alone
	FromHeader       = "from"     // From too
)

// Number is a number of ours and whom it rings: an endpoint or an application.
type Number struct {
	Number      string `yaml:"number"`      // in E.164, such as +4930123456
	Endpoint    string `yaml:"endpoint"`    // username, or username@domain; without a domain the first one is meant
	Application string `yaml:"application"` // app_id
	Fixed       bool   `yaml:"-"`           // as a Trunk's
}

// Problem is one thing wrong with a field.
type Problem struct{ Field, Message string }

// Error is what a trunk or number is refused with.
type Error struct {
	Name     string
	Problems []Problem
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "trunk %s:", e.Name)
	for i, p := range e.Problems {
		if i > 0 {
			b.WriteByte(';')
		}
		fmt.Fprintf(&b, " %s %s", p.Field, p.Message)
	}
	return b.String()
}

var (
	validName   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)
	validPrefix = regexp.MustCompile(`^\+?[0-9]{1,20}$|^\+$`)
	validDigits = regexp.MustCompile(`^\+?[0-9*#]{0,20}$`)
	validE164   = regexp.MustCompile(`^\+[1-9][0-9]{2,14}$`)
	validHost   = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.:-]{0,252}[A-Za-z0-9])?$`)
	validAppID  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
)

const (
	maxExpires = 24 * time.Hour // of the registration that is asked for
	maxName    = 128            // bytes of a username or password
	maxList    = 1000           // prefixes or networks of one trunk
)

// Validate lists everything wrong with a trunk.
func (t Trunk) Validate() []Problem {
	var p []Problem
	wrong := func(field, format string, args ...any) { p = append(p, Problem{field, fmt.Sprintf(format, args...)}) }
	if !validName.MatchString(t.Name) {
		wrong("name", "%q is not 1 to 64 letters, digits, dots, dashes and underscores", t.Name)
	}
	u, err := sip.ParseURI(t.URI)
	switch {
	case err != nil || !u.IsSIP() || u.HasUser || u.Headers != "":
		wrong("uri", "%q is not sip:host or sips:host, with a port and parameters at most", t.URI)
	case t.Transport != "" && t.Transport != "udp" && t.Transport != "tcp" && t.Transport != "tls":
		wrong("transport", "%q is not udp, tcp or tls", t.Transport)
	case u.Is("sips") && t.Transport != "" && t.Transport != "tls":
		wrong("transport", "%s contradicts sips", t.Transport)
	}
	if (t.Username == "") != (t.Password == "") {
		wrong("password", "goes together with username")
	}
	if strings.ContainsAny(t.Username, "\"\\<>@:;") || strings.ContainsFunc(t.Username, notGraphic) || !utf8.ValidString(t.Username) || len(t.Username) > maxName {
		wrong("username", "holds a character that cannot stand in a SIP address, or more than %d", maxName)
	}
	if len(t.Password) > maxName {
		wrong("password", "is longer than %d bytes", maxName)
	}
	if t.Register && t.Username == "" {
		wrong("register", "needs username and password")
	}
	if t.RegisterExpires != 0 && (t.RegisterExpires < time.Minute || t.RegisterExpires > maxExpires) {
		wrong("register_expires", "%s is not between 1m and 24h", t.RegisterExpires)
	}
	for _, prefix := range t.Prefixes {
		if !validPrefix.MatchString(prefix) {
			wrong("prefixes", "%q is not the beginning of a number", prefix)
		}
	}
	if t.Strip < 0 || t.Strip > 20 {
		wrong("strip", "%d is not between 0 and 20", t.Strip)
	}
	if !validDigits.MatchString(t.Prepend) {
		wrong("prepend", "%q is not digits", t.Prepend)
	}
	if t.CallerID != "" && !validDigits.MatchString(t.CallerID) {
		wrong("caller_id", "%q is not a number", t.CallerID)
	}
	if t.TLSName != "" && t.TLSName != AnyName && !validHost.MatchString(t.TLSName) {
		wrong("tls_name", "%q is not a host name, or * for any", t.TLSName)
	}
	if len(t.Prefixes) > maxList {
		wrong("prefixes", "are more than %d", maxList)
	}
	if len(t.Networks) > maxList {
		wrong("networks", "are more than %d", maxList)
	}
	if t.CallerIDIn != "" && t.CallerIDIn != AssertedIdentity && t.CallerIDIn != FromHeader {
		wrong("caller_id_in", "%q is not asserted or from", t.CallerIDIn)
	}
	for _, n := range []struct {
		field string
		value int
	}{{"priority", t.Priority}, {"weight", t.Weight}, {"max_calls", t.MaxCalls}} {
		if n.value < 0 || n.value > 1_000_000 {
			wrong(n.field, "%d is not between 0 and 1000000", n.value)
		}
	}
	return p
}

func notGraphic(r rune) bool { return r <= ' ' || r == 0x7f }

// Validate lists everything wrong with a number.
func (n Number) Validate() []Problem {
	var p []Problem
	if !validE164.MatchString(n.Number) {
		p = append(p, Problem{"number", fmt.Sprintf("%q is not a number in E.164, such as +4930123456", n.Number)})
	}
	user, _, _ := strings.Cut(n.Endpoint, "@")
	switch {
	case n.Endpoint != "" && n.Application != "":
		p = append(p, Problem{"application", "contradicts endpoint: a number rings one of them"})
	case n.Application != "" && !validAppID.MatchString(n.Application):
		p = append(p, Problem{"application", fmt.Sprintf("%q is not an app_id", n.Application)})
	case n.Application == "" && (user == "" || len(n.Endpoint) > 4*maxName || !utf8.ValidString(n.Endpoint) || strings.ContainsFunc(n.Endpoint, notGraphic)):
		p = append(p, Problem{"endpoint", "must name an endpoint: username or username@domain"})
	}
	return p
}
