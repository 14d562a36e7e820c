package flows

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"onhook/test/devserver"
	"onhook/test/sippeer"
)

// waitLimit bounds each wait for a message.
const waitLimit = 30 * time.Second

// API is what a flow needs of the REST API.
type API interface {
	CreateEndpoint(prefix string, fields map[string]any) (devserver.Endpoint, error)
	ChangeEndpoint(id string, fields map[string]any) error
	SetLimits(id string, limits map[string]any) error
	Registered(id string) (string, error)
	EndRegistrations(id string) error
	CanCall(id, to string, media []string) (map[string]any, error)
	CreateApplication(name string) (id string, err error)
	LastRecord(id string) (map[string]any, error)
	LastAttempt(id string) (map[string]any, error)
	EndCalls(id string) error
}

// peer is one device of a flow.
type peer struct {
	name     string
	host     string // domain of its address-of-record
	endpoint devserver.Endpoint
	phone    *sippeer.Phone
	conn     *sippeer.Conn
	contact  string
	dialogs  map[string]*dialog
	ignored  map[string]bool
	seen     map[string]bool  // requests and responses met before: retransmissions
	instance string           // what it registers as +sip.instance, "" for none
	edits    []sippeer.Edit   // of its REGISTER
	granted  *sippeer.Message // the last 200 to a REGISTER
	known    bool             // registered on its connection, so that no challenge is due there
	lastSent *sippeer.Message
}

func (p *peer) uri() string { return "sip:" + p.phone.Username + "@" + p.host }

// Setting is what a flow is played against.
type Setting struct {
	Target sippeer.Target
	API    API
	// Far returns where phones of another server's domain connect; nil: there is
	// no such server.
	Far func(domain string) sippeer.Target
}

// run is one flow being played.
type run struct {
	target sippeer.Target
	far    func(domain string) sippeer.Target
	api    API
	peers  map[string]*peer
	order  []*peer
	vars   map[string]string
}

// Play plays a flow against a server.
func Play(text string, s Setting) error {
	steps, err := ParseScript(text)
	if err != nil {
		return err
	}
	target := s.Target
	r := &run{target: target, far: s.Far, api: s.API, peers: map[string]*peer{}, vars: map[string]string{
		"domain": target.Domain, "server.udp": target.UDP, "server.tcp": target.TCP, "server.tls": target.TLS,
	}}
	defer r.close()
	for _, step := range steps {
		if err := r.step(step); err != nil {
			return fmt.Errorf("line %d: %s: %w%s", step.Line, step.Text, err, r.leftovers())
		}
	}
	for _, p := range r.order {
		if left := r.unread(p); len(left) > 0 {
			return fmt.Errorf("at the end %s has got what the flow does not expect:\n%s", p.name, left[0])
		}
	}
	return nil
}

// leftovers tells what the peers have got and not looked at, for a failure.
func (r *run) leftovers() string {
	var b strings.Builder
	for _, p := range r.order {
		for _, m := range r.unread(p) {
			fmt.Fprintf(&b, "\nunread at %s:\n%s", p.name, m)
		}
	}
	return b.String()
}

func (r *run) close() {
	for _, p := range r.order {
		p.conn.Close()
	}
}

func (r *run) step(s Step) error {
	switch s.Verb {
	case "phone", "stranger":
		return r.declare(s)
	case "far":
		return r.declareFar(s)
	case "set":
		return r.set(s)
	case "application":
		id, err := r.api.CreateApplication(s.Args[0])
		r.vars[s.Args[0]] = id
		return err
	}
	p := r.peers[s.Peer]
	if p == nil {
		return fmt.Errorf("no peer is called %s", s.Peer)
	}
	switch s.Verb {
	case ">":
		return r.send(p, s)
	case "<", "<*":
		return r.expect(p, s)
	case "resends":
		return p.conn.Send(p.lastSent)
	case "closes":
		p.conn.Close()
		return nil
	case "registers", "unregisters":
		expires := 600
		if s.Verb == "unregisters" {
			expires = 0
		}
		return r.register(p, expires)
	case "loses":
		return r.api.EndRegistrations(p.endpoint.ID)
	case "ignores":
		for _, method := range s.Args {
			p.ignored[method] = true
		}
		return nil
	case "quiet":
		return r.quiet(p)
	case "asks":
		return r.ask(p, s)
	case "changes", "limits":
		return r.change(p, s)
	case "recorded":
		return r.becomes(p, s, r.api.LastRecord)
	case "traced":
		return r.becomes(p, s, r.api.LastAttempt)
	case "ends":
		return r.api.EndCalls(p.endpoint.ID)
	case "is":
		return r.is(p, strings.Join(s.Args, " "))
	}
	return fmt.Errorf("the verb %s is not known", s.Verb)
}

// declare handles «phone NAME TRANSPORT [of OTHER] [unregistered] [contact=…]
// [path=…] [instance=…] [reg_id=…] [supported=…] [field=value…]».
func (r *run) declare(s Step) error {
	p := &peer{name: s.Args[0], host: r.target.Domain, dialogs: map[string]*dialog{}, ignored: map[string]bool{}, seen: map[string]bool{}}
	fields, contact, params, registered := map[string]any{}, "", "", s.Verb == "phone"
	for i := 2; i < len(s.Args); i++ {
		key, value, isField := strings.Cut(s.Args[i], "=")
		switch {
		case s.Args[i] == "unregistered":
			registered = false
		case s.Args[i] == "of" && i+1 < len(s.Args):
			i++
			other := r.peers[s.Args[i]]
			if other == nil {
				return fmt.Errorf("no peer is called %s", s.Args[i])
			}
			p.endpoint = other.endpoint
		case isField && key == "contact":
			contact = value
		case isField && key == "path":
			path, err := expand(value, r.lookup)
			if err != nil {
				return err
			}
			p.edits = append(p.edits, func(m *sippeer.Message) { m.Set("Path", path) })
		case isField && key == "instance":
			p.instance = "urn:uuid:" + value
			params += `;+sip.instance="<` + p.instance + `>"`
		case isField && key == "reg_id":
			params += ";reg-id=" + value
		case isField && key == "q":
			params += ";q=" + value
		case isField && key == "supported":
			p.edits = append(p.edits, func(m *sippeer.Message) { m.Set("Supported", value) })
		case isField:
			fields[key] = value
		default:
			return fmt.Errorf("what is %q?", s.Args[i])
		}
	}
	if err := r.connect(p, s, fields); err != nil {
		return err
	}
	if contact != "" {
		contact, err := expand(contact, r.lookup)
		if err != nil {
			return err
		}
		p.phone.Contact = "<" + contact + ">"
		p.contact = p.phone.Contact
	}
	p.phone.Contact += params
	if registered {
		return r.register(p, 600)
	}
	return nil
}

// declareFar handles «far NAME TRANSPORT DOMAIN [user=…]»: a phone that registers,
// without a password, with the server of another domain.
func (r *run) declareFar(s Step) error {
	if len(s.Args) < 3 || r.far == nil {
		return fmt.Errorf("want «far name transport domain», and a server of that domain")
	}
	p := &peer{name: s.Args[0], host: s.Args[2], dialogs: map[string]*dialog{}, ignored: map[string]bool{}, seen: map[string]bool{}, known: true}
	username := devserver.Name(p.name)
	if len(s.Args) > 3 {
		username = strings.TrimPrefix(s.Args[3], "user=")
	}
	var err error
	if p.phone, err = sippeer.NewPhone(r.far(p.host), s.Args[1], username, ""); err != nil {
		return err
	}
	p.conn, p.contact = p.phone.Conn, p.phone.Contact
	r.peers[p.name] = p
	r.order = append(r.order, p)
	return r.register(p, 600)
}

// connect gives the peer its endpoint, unless it is a stranger or shares one,
// and its connection.
func (r *run) connect(p *peer, s Step, fields map[string]any) (err error) {
	username := p.name
	if s.Verb == "stranger" {
		p.host = "elsewhere.invalid"
	} else {
		if p.endpoint.ID == "" {
			if p.endpoint, err = r.api.CreateEndpoint(p.name, fields); err != nil {
				return err
			}
		}
		username = p.endpoint.Username
	}
	p.phone, err = sippeer.NewPhone(r.target, s.Args[1], username, p.endpoint.Password)
	if err != nil {
		return err
	}
	p.conn, p.contact = p.phone.Conn, p.phone.Contact
	r.peers[p.name] = p
	r.order = append(r.order, p)
	return nil
}

func (r *run) register(p *peer, expires int) error {
	resp, err := p.phone.Register(expires, p.edits...)
	if err != nil {
		return err
	}
	if resp.Status() != 200 {
		return fmt.Errorf("REGISTER is answered with\n%s", resp)
	}
	p.granted = resp
	p.known = p.known && p.endpoint.ID == "" || expires > 0 && p.conn.Transport != "udp"
	return nil
}

// set handles «set NAME = VALUE» and «set NAME = VALUE s/REGEXP/REPLACEMENT/».
func (r *run) set(s Step) error {
	if len(s.Args) != 3 || s.Args[1] != "=" {
		return fmt.Errorf("want «set name = value»")
	}
	value, edit := s.Args[2], ""
	if i := strings.LastIndex(value, " s/"); i >= 0 {
		value, edit = value[:i], value[i+3:]
	}
	value, err := expand(strings.TrimSpace(value), r.lookup)
	if err != nil {
		return err
	}
	if edit != "" {
		parts := strings.Split(edit, "/")
		if len(parts) != 3 {
			return fmt.Errorf("want s/regexp/replacement/")
		}
		re, err := regexp.Compile(parts[0])
		if err != nil {
			return err
		}
		if !re.MatchString(value) {
			return fmt.Errorf("%q does not match %q", parts[0], value)
		}
		value = re.ReplaceAllString(value, parts[1])
	}
	r.vars[s.Args[0]] = value
	return nil
}

// lookup finds captured values and facts about peers, which README.md lists.
func (r *run) lookup(name string) (string, bool) {
	if value, ok := r.vars[name]; ok {
		return value, true
	}
	peerName, fact, _ := strings.Cut(name, ".")
	p := r.peers[peerName]
	if p == nil {
		return "", false
	}
	switch fact {
	case "uri":
		return p.uri(), true
	case "user":
		return p.phone.Username, true
	case "addr":
		return p.conn.Local(), true
	case "contact":
		return sippeer.Address(p.contact), true
	case "tag":
		return p.dialog("").localTag, true
	case "callid":
		return p.dialog("").callID, true
	case "instance":
		return p.instance, p.instance != ""
	case "service_route":
		return p.said("Service-Route", "")
	case "gruu":
		return p.said("Contact", "pub-gruu")
	case "temp_gruu":
		return p.said("Contact", "temp-gruu")
	}
	return "", false
}

// said returns what the last 200 to a REGISTER said: a header field, or the
// parameter of this device's Contact.
func (p *peer) said(header, param string) (string, bool) {
	if p.granted == nil {
		return "", false
	}
	for _, value := range p.granted.All(header) {
		if param == "" {
			return value, true
		}
		if sippeer.Address(value) == sippeer.Address(p.phone.Contact) {
			found := strings.Trim(sippeer.Param(value, param), `"`)
			return found, found != ""
		}
	}
	return "", false
}

func (p *peer) dialog(name string) *dialog {
	d := p.dialogs[name]
	if d == nil {
		d = &dialog{requests: map[string]*sippeer.Message{}}
		p.dialogs[name] = d
	}
	return d
}

// quiet proves that nothing has come: a round trip to the server is made, and
// the mailbox is looked at after it.
func (r *run) quiet(p *peer) error {
	domain := r.target.Domain
	if r.far != nil && p.endpoint.ID == "" {
		domain = p.phone.Domain // a far phone's own
	}
	if err := p.conn.Ping(domain); err != nil {
		return err
	}
	if left := r.unread(p); len(left) > 0 {
		return fmt.Errorf("it is not quiet:\n%s", left[0])
	}
	return nil
}

// unread lists what has come and is neither expected nor a repetition.
func (r *run) unread(p *peer) []*sippeer.Message {
	var left []*sippeer.Message
	for _, m := range p.conn.Mailbox() {
		if !p.skips(m) {
			left = append(left, m)
		}
	}
	return left
}

// skips reports what a flow never has to mention: 100 Trying, repetitions, and
// what the peer was told to ignore.
func (p *peer) skips(m *sippeer.Message) bool {
	return m.Status() == 100 || p.seen[identity(m)] || p.ignored[m.Method()]
}

func identity(m *sippeer.Message) string {
	return strings.Join([]string{m.Start, m.Branch(), m.Get("CSeq"), m.Get("Call-ID"), m.Get("To"), m.Get("RSeq")}, "|")
}
