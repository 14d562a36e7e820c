package flows

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"onhook/test/sippeer"
)

// send handles «alice > INVITE bob [auth]», «alice > BYE» and «bob > 200 [INVITE]».
func (r *run) send(p *peer, s Step) error {
	d := p.dialog(s.Dialog)
	what, args := s.Args[0], s.Args[1:]
	if what[0] >= '1' && what[0] <= '6' {
		method := "INVITE"
		if len(args) > 0 {
			method = args[0]
		}
		m, err := d.response(p, what, method)
		if err != nil {
			return err
		}
		return r.transmit(p, d, m, s, false)
	}
	uri, auth := "", false
	for _, arg := range args {
		switch {
		case arg == "auth":
			auth = true
		case r.peers[arg] != nil:
			uri = r.peers[arg].uri()
		default:
			expanded, err := expand(arg, r.lookup)
			if err != nil {
				return err
			}
			uri = expanded
		}
	}
	m, err := d.request(p, what, uri)
	if err != nil {
		return err
	}
	if err := r.transmit(p, d, m, s, false); err != nil || !auth || p.known {
		return err
	}
	return r.authenticate(p, d, what, uri, s)
}

// authenticate answers the 407 (or the 401, to what is for the server itself) to
// the request just sent, which is due unless the endpoint is registered on this
// very connection.
func (r *run) authenticate(p *peer, d *dialog, method, uri string, s Step) error {
	branch := d.sent.Branch()
	resp, err := p.conn.Take(waitLimit, func(m *sippeer.Message) bool { return m.Status() > 100 && m.Branch() == branch })
	if err != nil {
		return err
	}
	if resp.Status() != 407 && resp.Status() != 401 {
		return fmt.Errorf("instead of a challenge there came\n%s", resp)
	}
	p.seen[identity(resp)] = true
	d.learn(resp)
	if method == "INVITE" {
		ack, err := d.hopRequest("ACK")
		if err != nil {
			return err
		}
		if err := p.conn.Send(ack); err != nil {
			return err
		}
		d.final = nil
	}
	m, err := d.request(p, method, uri)
	if err != nil {
		return err
	}
	return r.transmit(p, d, m, s, true)
}

// transmit applies the indented lines and sends.
func (r *run) transmit(p *peer, d *dialog, m *sippeer.Message, s Step, credentials bool) error {
	if m.Method() == "INVITE" && m.Status() < 300 && m.Status() != 100 && m.Status() != 180 {
		m.Body = sdp(false)
	}
	replaced := map[string]bool{}
	for _, detail := range s.Details {
		if err := r.edit(p, d, m, detail.Text, replaced); err != nil {
			return fmt.Errorf("line %d: %w", detail.Line, err)
		}
	}
	if credentials {
		d.nc++
		answer, err := p.phone.Answer(d.challenge, m.Method(), m.URI(), d.nc)
		if err != nil {
			return err
		}
		m.Set(d.credentials, answer)
	}
	if m.Body != "" && m.Get("Content-Type") == "" && m.Get("c") == "" {
		m.Set("Content-Type", "application/sdp")
	}
	if method := m.Method(); m.Status() == 0 && method != "ACK" && method != "CANCEL" {
		d.sent = m
		if method == "INVITE" {
			d.invite, d.final = m, nil
		}
	}
	p.lastSent = m
	return p.conn.Send(m)
}

// edit applies one indented line of a message to be sent: «Name: value» (the
// first one of a name replaces ours, further ones are added), «-Name»,
// «uri: …», «body: …», «body none», «body video», «body file NAME», «credentials» (answers the
// last challenge seen in this dialog).
func (r *run) edit(p *peer, d *dialog, m *sippeer.Message, line string, replaced map[string]bool) error {
	line, err := expand(line, r.lookup)
	if err != nil {
		return err
	}
	switch line {
	case "body none":
		m.Body = ""
		return nil
	case "body audio", "body video":
		m.Body = sdp(line == "body video")
		return nil
	case "credentials":
		d.nc++
		answer, err := p.phone.Answer(d.challenge, m.Method(), m.URI(), d.nc)
		if err == nil {
			m.Set(d.credentials, answer)
		}
		return err
	}
	if name, ok := strings.CutPrefix(line, "body file "); ok {
		text, err := os.ReadFile(filepath.Join("bodies", name))
		m.Body = strings.ReplaceAll(string(text), "\n", "\r\n")
		return err
	}
	if name, ok := strings.CutPrefix(line, "-"); ok {
		m.Del(name)
		return nil
	}
	name, value, ok := strings.Cut(line, ":")
	if !ok {
		return fmt.Errorf("%q: want «Name: value»", line)
	}
	value = strings.TrimSpace(value)
	switch {
	case name == "uri":
		m.Start = m.Method() + " " + value + " SIP/2.0"
	case name == "body":
		m.Body = strings.NewReplacer(`\r`, "\r", `\n`, "\n").Replace(value)
	case !replaced[name]:
		m.Set(name, value)
		replaced[name] = true
	default:
		m.Add(name, value)
	}
	return nil
}

// expect handles «bob < INVITE», «alice < 200 [INVITE]», «alice < 200|481 CANCEL»
// and the same with «<*», which looks behind other messages too, or with «again»
// at the end, which waits for a repetition.
func (r *run) expect(p *peer, s Step) error {
	again := s.Args[len(s.Args)-1] == "again"
	if again {
		s.Args = s.Args[:len(s.Args)-1]
	}
	wanted := func(m *sippeer.Message) bool {
		if len(s.Args) > 1 && m.Method() != s.Args[1] {
			return false
		}
		if m.Status() == 0 {
			return m.Method() == s.Args[0]
		}
		for _, status := range strings.Split(s.Args[0], "|") {
			if fmt.Sprint(m.Status()) == status {
				return true
			}
		}
		return false
	}
	asked100 := s.Args[0] == "100"
	var m *sippeer.Message
	deadline := time.Now().Add(waitLimit)
	for {
		var err error
		m, err = p.conn.Take(time.Until(deadline), func(m *sippeer.Message) bool {
			return s.Verb == "<" || wanted(m) && p.seen[identity(m)] == again
		})
		if err != nil {
			return err
		}
		if wanted(m) && (asked100 || p.seen[identity(m)] == again) {
			break
		}
		if !p.skips(m) {
			return fmt.Errorf("instead there came\n%s", m)
		}
	}
	p.seen[identity(m)] = true
	d := p.dialog(s.Dialog)
	d.learn(m)
	for _, detail := range s.Details {
		if err := r.check(m, detail.Text); err != nil {
			return fmt.Errorf("line %d: %w in\n%s", detail.Line, err, m)
		}
	}
	return nil
}

var capture = regexp.MustCompile(`^\$([A-Za-z0-9_]+) = ([A-Za-z-]+)(?: /(.*)/)?$`)

// check applies one indented line of an expected message: «Name: pattern» (one
// of the values of that name matches), «!Name» (absent), «!Name: pattern» (none
// matches), «Name #2» (so many values), «uri: pattern», «body: pattern»,
// «$x = Name» and «$x = Name /regexp(part)/» (captures).
func (r *run) check(m *sippeer.Message, line string) error {
	if found := capture.FindStringSubmatch(line); found != nil {
		return r.capture(m, found[1], found[2], found[3])
	}
	line, err := expand(line, r.lookup)
	if err != nil {
		return err
	}
	line, negative := strings.CutPrefix(line, "!")
	name, pattern, hasPattern := strings.Cut(line, ":")
	pattern = strings.TrimSpace(pattern)
	if !hasPattern {
		if name, count, ok := strings.Cut(line, " #"); ok {
			if got := len(m.All(name)); fmt.Sprint(got) != count {
				return fmt.Errorf("%d values of %s, want %s", got, name, count)
			}
			return nil
		}
		if present := m.Get(name) != ""; present == negative {
			return fmt.Errorf("%s: present is %v", name, present)
		}
		return nil
	}
	values := m.All(name)
	switch name {
	case "uri":
		values = []string{m.URI()}
	case "body":
		values = []string{m.Body}
	}
	values = append(values, whole(m, name)...)
	for _, value := range values {
		ok, err := matches(pattern, value)
		if err != nil {
			return err
		}
		if ok {
			if negative {
				return fmt.Errorf("%s is %q, which it must not be", name, value)
			}
			return nil
		}
	}
	if negative {
		return nil
	}
	return fmt.Errorf("%s is %q, want %q", name, values, pattern)
}

// whole returns the header lines of that name as they are, for headers whose
// commas separate no list.
func whole(m *sippeer.Message, name string) []string {
	var out []string
	for _, h := range m.Headers {
		if strings.EqualFold(h.Name, name) {
			out = append(out, h.Value)
		}
	}
	return out
}

func (r *run) capture(m *sippeer.Message, variable, name, pattern string) error {
	value := m.Get(name)
	if name == "uri" {
		value = m.URI()
	}
	if pattern != "" {
		re, err := regexp.Compile(pattern)
		if err != nil {
			return err
		}
		found := re.FindStringSubmatch(value)
		for _, other := range m.All(name) { // the first value that matches
			if len(found) < 2 {
				found = re.FindStringSubmatch(other)
			}
		}
		if len(found) < 2 {
			return fmt.Errorf("%s is %q, which /%s/ does not match with one group", name, value, pattern)
		}
		value = found[1]
	}
	r.vars[variable] = value
	return nil
}
