package registration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"onhook/test/devserver"
	"onhook/test/sippeer"
)

// question is a request of somebody who wants to know whether there is a user.
type question struct {
	name    string
	start   string // %s: the user
	from    string // %s: the user
	headers []string
}

var questions = []question{
	{"REGISTER", "REGISTER sip:$D SIP/2.0", "sip:%s@$D", nil},
	{"SUBSCRIBE to registrations", "SUBSCRIBE sip:%s@$D SIP/2.0", "sip:%s@$D", []string{"Event: reg", "Expires: 60"}},
	{"SUBSCRIBE to registrations from outside", "SUBSCRIBE sip:%s@$D SIP/2.0", "sip:eve@elsewhere.invalid", []string{"Event: reg", "Expires: 60"}},
	{"SUBSCRIBE to presence from outside", "SUBSCRIBE sip:%s@$D SIP/2.0", "sip:eve@elsewhere.invalid", []string{"Event: presence", "Expires: 60"}},
	{"INVITE from outside", "INVITE sip:%s@$D SIP/2.0", "sip:eve@elsewhere.invalid", nil},
	{"INVITE as the user", "INVITE sip:000@$D SIP/2.0", "sip:%s@$D", nil},
	{"MESSAGE from outside", "MESSAGE sip:%s@$D SIP/2.0", "sip:eve@elsewhere.invalid", nil},
	{"MESSAGE as the user", "MESSAGE sip:000@$D SIP/2.0", "sip:%s@$D", nil},
	{"OPTIONS from outside", "OPTIONS sip:%s@$D SIP/2.0", "sip:eve@elsewhere.invalid", nil},
	{"OPTIONS as the user", "OPTIONS sip:000@$D SIP/2.0", "sip:%s@$D", nil},
	{"NOTIFY from outside", "NOTIFY sip:%s@$D SIP/2.0", "sip:eve@elsewhere.invalid", []string{"Event: x"}},
}

func (q question) ask(t *testing.T, c *sippeer.Conn, domain, user, credentials string) *sippeer.Message {
	t.Helper()
	text := func(s string) string {
		if strings.Contains(s, "%s") {
			s = fmt.Sprintf(s, user)
		}
		return strings.ReplaceAll(s, "$D", domain)
	}
	m := &sippeer.Message{Start: text(q.start)}
	m.Add("Via", c.Via())
	m.Add("Max-Forwards", "70")
	m.Add("From", "<"+text(q.from)+">;tag="+sippeer.Token())
	to := m.URI()
	if m.Method() == "REGISTER" {
		to = "sip:" + user + "@" + domain
	}
	m.Add("To", "<"+to+">")
	m.Add("Call-ID", sippeer.Token())
	m.Add("CSeq", "1 "+m.Method())
	m.Add("Contact", sippeer.DefaultContact(c, "x"))
	for _, h := range q.headers {
		name, value, _ := strings.Cut(h, ": ")
		m.Add(name, value)
	}
	if name, value, ok := strings.Cut(credentials, ": "); ok {
		m.Add(name, value)
	}
	resp, err := c.Ask(m)
	if err != nil {
		t.Fatalf("%s: %v", q.name, err)
	}
	return resp
}

// guess answers a challenge with a password that is nobody's.
func guess(t *testing.T, challenge *sippeer.Message, q question, domain, user string) string {
	t.Helper()
	name := "Authorization"
	if challenge.Status() == 407 {
		name = "Proxy-Authorization"
	}
	method, rest, _ := strings.Cut(q.start, " ")
	uri := strings.ReplaceAll(strings.TrimSuffix(rest, " SIP/2.0"), "$D", domain)
	if strings.Contains(uri, "%s") {
		uri = fmt.Sprintf(uri, user)
	}
	value, err := sippeer.Credentials{Username: user, Password: "wrong horse 22"}.Answer(challenge.All401(), method, uri, 1)
	if err != nil {
		t.Fatal(err)
	}
	return name + ": " + value
}

// plain is a response without what differs between any two: only the names of
// the users may stand in it.
func plain(m *sippeer.Message, user string) string {
	lines := []string{m.Start}
	for _, h := range m.Headers {
		switch name := strings.ToLower(h.Name); {
		case strings.HasSuffix(name, "-authenticate"):
			c := sippeer.ParseChallenge(h.Value)
			lines = append(lines, fmt.Sprint(h.Name, c["realm"], c["algorithm"], c["stale"], c["qop"], len(c["nonce"])))
		case name == "via" || name == "from" || name == "to":
			value, _, _ := strings.Cut(h.Value, ";") // branch and tags are new each time
			lines = append(lines, h.Name+": "+strings.ReplaceAll(value, user, "USER"))
		case name == "call-id":
			lines = append(lines, h.Name)
		default:
			lines = append(lines, h.Name+": "+strings.ReplaceAll(h.Value, user, "USER"))
		}
	}
	return strings.Join(lines, "\n") + "\n" + strings.ReplaceAll(m.Body, user, "USER")
}

// Whatever a stranger asks, the answer about a user that is not there is the
// one about a user that is: without credentials and with wrong ones. How long
// the answers took is told, not tested.
func TestStrangersLearnNoNames(t *testing.T) {
	t.Parallel()
	s := devserver.Shared(t)
	known := s.CreateEndpoint(t, "known", nil).Username
	unknown := devserver.Name("nowhere")
	for _, transport := range []string{"udp", "tcp"} {
		c, err := sippeer.Dial(s.Target(), transport)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		for _, q := range questions {
			t.Run(transport+" "+q.name, func(t *testing.T) {
				a, b := q.ask(t, c, s.Domain, known, ""), q.ask(t, c, s.Domain, unknown, "")
				if plain(a, known) != plain(b, unknown) {
					t.Errorf("the answers differ:\n%s\n---\n%s", a, b)
				}
				if a.Status() != 401 && a.Status() != 407 {
					if a.Status() < 400 {
						t.Errorf("a stranger is answered\n%s", a)
					}
					return
				}
				wrong := q.ask(t, c, s.Domain, known, guess(t, a, q, s.Domain, known))
				if other := q.ask(t, c, s.Domain, unknown, guess(t, b, q, s.Domain, unknown)); plain(wrong, known) != plain(other, unknown) {
					t.Errorf("the answers to wrong credentials differ:\n%s\n---\n%s", wrong, other)
				}
			})
		}
		if t.Failed() {
			return
		}
		took := map[string][]time.Duration{}
		for range 300 {
			for _, user := range []string{known, unknown} {
				began := time.Now()
				questions[0].ask(t, c, s.Domain, user, "")
				took[user] = append(took[user], time.Since(began))
			}
		}
		for _, d := range took {
			slices.Sort(d)
		}
		t.Logf("%s: REGISTER, median of 300: known %v, unknown %v", transport, took[known][150], took[unknown][150])
	}
}
