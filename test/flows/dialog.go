package flows

import (
	"fmt"
	"slices"
	"strings"

	"onhook/test/sippeer"
)

// dialog is one side's view of a dialog or of a lone request (RFC 3261 12).
type dialog struct {
	callID              string
	localTag, remoteTag string
	localURI, remoteURI string // what stands in From and To, without tag
	target              string // remote target
	routes              []string
	cseq                int
	sent                *sippeer.Message // the last request sent, but for ACK and CANCEL
	invite              *sippeer.Message // the last INVITE sent
	requests            map[string]*sippeer.Message
	final               *sippeer.Message // the last final response to our INVITE
	challenge           []string
	credentials         string // the header field that answers it
	rack                string // RSeq CSeq of the last reliable provisional (RFC 3262)
	nc                  int
}

func (d *dialog) inside() bool { return d.remoteTag != "" }

// learn takes what a received message tells about the dialog.
func (d *dialog) learn(m *sippeer.Message) {
	if m.Status() == 0 {
		d.learnRequest(m)
		return
	}
	if m.Method() == "INVITE" && m.Status() >= 200 {
		d.final = m
	}
	if m.Status() == 401 || m.Status() == 407 {
		d.challenge, d.nc, d.credentials = m.All401(), 0, "Proxy-Authorization"
		if m.Status() == 401 {
			d.credentials = "Authorization"
		}
	}
	if rseq := m.Get("RSeq"); rseq != "" {
		d.rack = rseq + " " + m.Get("CSeq")
	}
	method := m.Method()
	opens := method == "INVITE" || method == "SUBSCRIBE" || method == "REFER"
	tag := sippeer.Param(m.Get("To"), "tag")
	if !opens || m.Status() < 101 || m.Status() >= 300 || tag == "" {
		return
	}
	if contact := m.Get("Contact"); contact != "" {
		d.target = sippeer.Address(contact)
	}
	// RFC 3261 12.1.2: the route set is the Record-Route in reverse, and stays.
	if d.remoteTag != tag {
		d.routes = m.All("Record-Route")
		slices.Reverse(d.routes)
		d.remoteTag = tag
	}
}

func (d *dialog) learnRequest(m *sippeer.Message) {
	d.requests[m.Method()] = m
	if contact := m.Get("Contact"); contact != "" {
		d.target = sippeer.Address(contact)
	}
	if d.callID == "" {
		d.callID = m.Get("Call-ID")
		d.remoteTag = sippeer.Param(m.Get("From"), "tag")
		d.remoteURI = withoutTag(m.Get("From"))
		d.localURI = withoutTag(m.Get("To"))
		d.routes = m.All("Record-Route") // RFC 3261 12.1.1: in order
	}
}

func withoutTag(value string) string {
	if i := strings.LastIndexByte(value, '>'); i >= 0 {
		return value[:i+1]
	}
	uri, _, _ := strings.Cut(value, ";")
	return "<" + uri + ">"
}

// request makes a request: inside the dialog when uri is "", else a new one to uri.
func (d *dialog) request(p *peer, method, uri string) (*sippeer.Message, error) {
	if method == "CANCEL" || method == "ACK" && d.final != nil && d.final.Status() >= 300 {
		return d.hopRequest(method)
	}
	if uri == "" && d.target == "" {
		return nil, fmt.Errorf("%s without a target, and there is no dialog", method)
	}
	if uri != "" && !d.inside() && d.callID == "" {
		d.callID, d.localTag = sippeer.Token(), sippeer.Token()
		d.localURI, d.remoteURI = "<"+p.uri()+">", "<"+uri+">"
	}
	if uri == "" {
		uri = d.target
	}
	m := &sippeer.Message{Start: method + " " + uri + " SIP/2.0"}
	m.Add("Via", p.conn.Via())
	m.Add("Max-Forwards", "70")
	for _, route := range d.routes {
		m.Add("Route", route)
	}
	m.Add("From", d.localURI+";tag="+d.localTag)
	to := d.remoteURI
	if d.remoteTag != "" {
		to += ";tag=" + d.remoteTag
	}
	m.Add("To", to)
	m.Add("Call-ID", d.callID)
	if method == "ACK" && d.invite != nil {
		number, _, _ := strings.Cut(d.invite.Get("CSeq"), " ")
		m.Add("CSeq", number+" ACK")
		return m, nil
	}
	d.cseq++
	m.Add("CSeq", fmt.Sprintf("%d %s", d.cseq, method))
	if method == "PRACK" {
		m.Add("RAck", d.rack)
	}
	if method == "INVITE" || method == "UPDATE" || method == "SUBSCRIBE" || method == "REFER" || method == "NOTIFY" {
		m.Add("Contact", p.contact)
	}
	m.Add("User-Agent", "flow-"+p.name)
	return m, nil
}

// hopRequest makes the CANCEL of our INVITE or the ACK of its refusal: same
// Request-URI, Via, Route and CSeq number (RFC 3261 9.1, 17.1.1.3).
func (d *dialog) hopRequest(method string) (*sippeer.Message, error) {
	if d.invite == nil {
		return nil, fmt.Errorf("%s without an INVITE", method)
	}
	m := &sippeer.Message{Start: method + " " + d.invite.URI() + " SIP/2.0"}
	m.Add("Via", d.invite.Get("Via"))
	m.Add("Max-Forwards", "70")
	for _, route := range d.invite.All("Route") {
		m.Add("Route", route)
	}
	m.Add("From", d.invite.Get("From"))
	if method == "ACK" {
		m.Add("To", d.final.Get("To"))
	} else {
		m.Add("To", d.invite.Get("To"))
	}
	m.Add("Call-ID", d.invite.Get("Call-ID"))
	number, _, _ := strings.Cut(d.invite.Get("CSeq"), " ")
	m.Add("CSeq", number+" "+method)
	return m, nil
}

var phrases = map[string]string{
	"100": "Trying", "180": "Ringing", "183": "Session Progress", "200": "OK", "202": "Accepted", "302": "Moved Temporarily",
	"404": "Not Found", "480": "Temporarily Unavailable", "481": "Call/Transaction Does Not Exist", "486": "Busy Here",
	"487": "Request Terminated", "488": "Not Acceptable Here", "491": "Request Pending", "500": "Server Internal Error",
	"503": "Service Unavailable", "600": "Busy Everywhere", "603": "Decline",
}

// response answers the request of that method received last.
func (d *dialog) response(p *peer, status, method string) (*sippeer.Message, error) {
	req := d.requests[method]
	if req == nil {
		return nil, fmt.Errorf("no %s was received", method)
	}
	phrase := phrases[status]
	if phrase == "" {
		phrase = "Answer"
	}
	m := &sippeer.Message{Start: "SIP/2.0 " + status + " " + phrase}
	for _, via := range req.All("Via") {
		m.Add("Via", via)
	}
	for _, route := range req.All("Record-Route") {
		m.Add("Record-Route", route)
	}
	m.Add("From", req.Get("From"))
	to := req.Get("To")
	if sippeer.Param(to, "tag") == "" && status != "100" {
		if d.localTag == "" {
			d.localTag = sippeer.Token()
		}
		to += ";tag=" + d.localTag
	}
	m.Add("To", to)
	m.Add("Call-ID", req.Get("Call-ID"))
	m.Add("CSeq", req.Get("CSeq"))
	if status[0] < '3' && (method == "INVITE" || method == "SUBSCRIBE" || method == "UPDATE" || method == "REFER") {
		m.Add("Contact", p.contact)
	}
	return m, nil
}

// sdp is a body with one audio stream at that address; nothing listens there.
func sdp(video bool) string {
	body := "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n" +
		"m=audio 40000 RTP/AVP 0 8\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=sendrecv\r\n"
	if video {
		body += "m=video 40002 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\na=sendrecv\r\n"
	}
	return body
}
