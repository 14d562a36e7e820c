package sippeer

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// waitLimit bounds the wait for what must happen, however busy the machine is.
const waitLimit = 30 * time.Second

// Over UDP a request is repeated after T1, then after twice as long, and so on up
// to T2 (RFC 3261 17.1.2.2).
const t1, t2 = 500 * time.Millisecond, 4 * time.Second

// Phone is a device: a connection, an account and one registration.
type Phone struct {
	*Conn
	Credentials
	Domain    string
	UserAgent string
	Contact   string // what stands in Contact, with brackets and parameters

	callID    string
	fromTag   string
	cseq      int
	nc        int
	challenge []string // the latest, for the next request in advance
}

// NewPhone connects a device of username over a transport.
func NewPhone(target Target, transport, username, password string) (*Phone, error) {
	conn, err := Dial(target, transport)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", transport, err)
	}
	return &Phone{
		Conn:        conn,
		Credentials: Credentials{Username: username, Password: password},
		Domain:      target.Domain,
		UserAgent:   "sippeer/" + transport,
		Contact:     DefaultContact(conn, username),
		callID:      Token(), fromTag: Token(),
	}, nil
}

// DefaultContact is the Contact a device of its kind would register: browsers
// know no address of their own (RFC 7118 5).
func DefaultContact(c *Conn, username string) string {
	switch c.Transport {
	case "udp":
		return "<sip:" + username + "@" + c.Local() + ">"
	case "ws", "wss":
		return "<sip:" + username + "@" + Token() + ".invalid;transport=ws>"
	}
	return "<sip:" + username + "@" + c.Local() + ";transport=" + c.Transport + ">"
}

// Via returns a new Via value for a request over this connection.
func (c *Conn) Via() string {
	return "SIP/2.0/" + strings.ToUpper(c.Transport) + " " + c.sentBy() + ";branch=z9hG4bK" + Token() + ";rport"
}

func (c *Conn) sentBy() string {
	if strings.HasPrefix(c.Transport, "ws") {
		return "browser.invalid"
	}
	return c.Local()
}

// AOR returns the address-of-record.
func (p *Phone) AOR() string { return "sip:" + p.Username + "@" + p.Domain }

// Edit changes a request before it is sent (and before it is repeated with credentials).
type Edit func(*Message)

// Register asks for a binding of that many seconds (0 ends it) and answers a
// challenge once. It returns the final response.
func (p *Phone) Register(expires int, edits ...Edit) (*Message, error) {
	edits = append([]Edit{func(m *Message) { m.Set("Expires", fmt.Sprint(expires)) }}, edits...)
	req := p.registerRequest(edits)
	if len(p.challenge) > 0 {
		if err := p.authorize(req); err != nil {
			return nil, err
		}
	}
	resp, err := p.Ask(req)
	if err != nil || resp.Status() != 401 {
		return resp, err
	}
	// With a nonce used before, 401 means stale; a second refusal is an answer.
	p.challenge, p.nc = resp.All401(), 0
	req = p.registerRequest(edits)
	if err := p.authorize(req); err != nil {
		return nil, err
	}
	return p.Ask(req)
}

// RegisterOnce sends a REGISTER without credentials and returns the response.
func (p *Phone) RegisterOnce(edits ...Edit) (*Message, error) {
	return p.Ask(p.registerRequest(edits))
}

// All401 returns the challenges of a 401 or 407, which stand one per header
// field: a list splits them wrongly at the commas between their parameters.
func (m *Message) All401() []string {
	var out []string
	for _, h := range m.Headers {
		if strings.EqualFold(h.Name, "WWW-Authenticate") || strings.EqualFold(h.Name, "Proxy-Authenticate") {
			out = append(out, h.Value)
		}
	}
	return out
}

func (p *Phone) registerRequest(edits []Edit) *Message {
	p.cseq++
	m := &Message{Start: "REGISTER sip:" + p.Domain + " SIP/2.0"}
	m.Add("Via", p.Via())
	m.Add("Max-Forwards", "70")
	m.Add("From", "<"+p.AOR()+">;tag="+p.fromTag)
	m.Add("To", "<"+p.AOR()+">")
	m.Add("Call-ID", p.callID)
	m.Add("CSeq", fmt.Sprintf("%d REGISTER", p.cseq))
	m.Add("Contact", p.Contact)
	m.Add("User-Agent", p.UserAgent)
	for _, edit := range edits {
		edit(m)
	}
	return m
}

func (p *Phone) authorize(m *Message) error {
	p.nc++
	answer, err := p.Answer(p.challenge, m.Method(), m.URI(), p.nc)
	if err == nil {
		m.Set("Authorization", answer)
	}
	return err
}

// Forget drops what the phone knows of earlier challenges and its Call-ID, as a
// reboot does.
func (p *Phone) Forget() {
	p.challenge, p.nc = nil, 0
	p.callID, p.fromTag, p.cseq = Token(), Token(), 0
}

// Ask sends a request and returns its final response; over UDP it repeats the
// request as a client transaction does.
func (c *Conn) Ask(m *Message) (*Message, error) {
	branch := m.Branch()
	isFinal := func(r *Message) bool { return r.Status() >= 200 && r.Branch() == branch }
	deadline := time.Now().Add(waitLimit)
	wait := t1
	for {
		if err := c.Send(m); err != nil {
			return nil, err
		}
		if c.Transport != "udp" {
			wait = waitLimit
		}
		resp, err := c.Take(min(wait, time.Until(deadline)), isFinal)
		if err == nil {
			return resp, nil
		}
		if time.Now().After(deadline) || c.Transport != "udp" {
			return nil, fmt.Errorf("no answer to %s: %w", m.Start, err)
		}
		wait = min(2*wait, t2)
	}
}

// Ping proves that the server still serves this connection: an OPTIONS to the
// bare domain must be answered. What was sent before on a stream has been
// handled by then.
func (c *Conn) Ping(domain string) error {
	m := &Message{Start: "OPTIONS sip:" + domain + " SIP/2.0"}
	m.Add("Via", c.Via())
	m.Add("Max-Forwards", "70")
	m.Add("From", "<sip:ping@ping.invalid>;tag="+Token())
	m.Add("To", "<sip:"+domain+">")
	m.Add("Call-ID", Token())
	m.Add("CSeq", "1 OPTIONS")
	resp, err := c.Ask(m)
	if err != nil {
		return err
	}
	if resp.Status() != 200 {
		return fmt.Errorf("OPTIONS to the domain: %s", resp.Start)
	}
	return nil
}

// WaitClosed waits until the server has ended the connection.
func (c *Conn) WaitClosed() error {
	select {
	case <-c.done:
		return nil
	case <-time.After(waitLimit):
		return errors.New("the connection is still open after " + waitLimit.String())
	}
}
